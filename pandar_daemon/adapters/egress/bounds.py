"""What one box may take up of the proxy, and how long anything may last."""

from __future__ import annotations

from typing import Final

from msgspec import Struct


class Bounds(Struct, frozen=True, kw_only=True):
    """Limits of one box; bytes of bodies and tunnels have none.

    ``header_sec`` is for all of a request's head, and for what a TLS client says first;
    ``keep_sec`` for the next request of a connection; ``idle_sec`` for silence of both sides of a
    tunnel, or of a server that owes an answer: models think for minutes. ``questions`` are hosts
    that people are asked about. Nothing but TLS goes to ``tls_ports``.
    """

    connections: int = 128
    header_bytes: int = 65_536
    header_sec: float = 20.0
    keep_sec: float = 60.0
    idle_sec: float = 900.0
    resolve_sec: float = 5.0
    connect_sec: float = 10.0
    linger_sec: float = 2.0
    questions: int = 50
    tls_ports: frozenset[int] = frozenset({443})


CHUNK: Final = 262_144
"""Bytes that are read at a time."""
READ_AHEAD: Final = 65_536
"""Bytes of one side that are held while the other does not take them, twice over."""
