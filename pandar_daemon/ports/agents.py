"""Agents: how each is started, and what is said to it. Drivers do no I/O."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from events.calls import Verdict
from events.running import Assignment
from pandar_daemon.domain.hearing import Heard
from pandar_daemon.ports.sandbox import Upstream


class Driver(Protocol):
    """One conversation with one agent process, as bytes of its standard input and output.

    Sans-I/O: each method returns the bytes to write. Nothing here raises for what an agent
    wrote, however wrong: that is a `Broken`, and then nothing more is heard.
    """

    def open(self, cwd: str, session_id: str = "") -> bytes:
        """Begin; go on in an earlier session if one is named and the agent can: `Ready` tells."""
        ...

    def prompt(self, text: str) -> bytes:
        """Say this; the turn lasts until `TurnEnded`."""
        ...

    def answer(self, request_id: str, verdict: Verdict, text: str = "") -> bytes:
        """Answer what was `Asked` or `Questioned`, once; for a request that is over, nothing.

        ``ALLOW`` is for this one call, ``DENY`` passes ``text`` on where the protocol can,
        ``ASK`` means that nobody answers any more (the turn was cancelled).
        """
        ...

    def cancel(self) -> bytes:
        """End the turn: every open request is answered first."""
        ...

    def receive(self, data: bytes) -> tuple[Sequence[Heard], bytes]:
        """Take what it wrote, cut anywhere; empty ``data`` means it will write no more."""
        ...


class Launch(Struct, frozen=True, kw_only=True):
    """How to start an agent: ``environment`` is complete; ``files`` are written to its HOME first.

    The paths of ``files`` are relative to HOME. ``tells_usage``: a turn that succeeded without
    usage did not succeed. ``denies_softly``: after a denial the turn goes on; else it is over, and
    the reason is passed on with the next prompt. ``hears_reasons``: the text of a denial reaches it
    within the turn.

    For a box: ``models`` are the servers its proxy leads to by name, with the keys that are in none
    of the rest; ``hosts`` whom it calls besides; ``readable`` are the folders and files of its
    programs that no system has.
    """

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    files: Mapping[str, str] = {}
    tells_usage: bool = True
    denies_softly: bool = True
    hears_reasons: bool = False
    model: str = ""
    models: Mapping[str, Upstream] = {}
    readable: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()


class Agents(Protocol):
    """The agents this runner can start."""

    @property
    def names(self) -> Collection[str]:
        """The names a task may ask for."""
        ...

    def launch(
        self, name: str, assignment: Assignment, home: Path, *, boxed: bool = False
    ) -> Launch:
        """Return how to start it; ``boxed`` without its key, for a door leads to its model.

        Raises ``OSError`` that says what is missing and what to do.
        """
        ...

    def driver(self, name: str, *, boxed: bool = False) -> Driver:
        """Return a new driver for it, as it was launched."""
        ...
