"""What a guardian is asked to run arrives as it was sent, however it is cut on the way."""

from __future__ import annotations

import math
import socket
import threading

from hypothesis import given
from hypothesis import strategies as st

from pandar_daemon.adapters.process.request import Request

TEXT = st.binary(max_size=20).filter(lambda text: b"\0" not in text)
NAME = TEXT.filter(lambda text: bool(text) and b"=" not in text)


@given(
    argv=st.lists(TEXT, min_size=1),
    direct=st.lists(TEXT),
    environment=st.dictionaries(NAME, TEXT),
    cwd=TEXT,
    until=st.floats(allow_nan=False),
    cuts=st.lists(st.integers(0, 200)),
)
def test_it_arrives_as_it_was_sent(
    argv: list[bytes],
    direct: list[bytes],
    environment: dict[bytes, bytes],
    cwd: bytes,
    until: float,
    cuts: list[int],
) -> None:
    """Whatever the pieces; and what follows it is left for the next reader."""
    request = Request(argv, environment, cwd=cwd, until=until, grace_sec=0.5, direct=direct)
    data = request.pack() + b"kill\n"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = threading.Thread(target=_send, args=(ours, data, sorted(cuts)))
        sender.start()
        got = Request.read(theirs.fileno())
        sender.join()
        assert got is not None
        assert (got.argv, got.environment, got.cwd) == (argv, environment, cwd)
        assert (got.direct, got.until, got.grace_sec) == (direct, until, 0.5)
        assert theirs.recv(100) == b"kill\n"


def _send(link: socket.socket, data: bytes, cuts: list[int]) -> None:
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        link.sendall(data[start:end])


@given(st.integers(0, 200))
def test_half_a_request_is_none(size: int) -> None:
    """When the other side goes away in the middle, nothing is to be run."""
    data = Request([b"true"], {b"A": b"b"}, cwd=b"/", until=math.inf, grace_sec=5.0).pack()
    ours, theirs = socket.socketpair()
    with theirs:
        with ours:
            ours.sendall(data[: min(size, len(data) - 1)])
        assert Request.read(theirs.fileno()) is None
