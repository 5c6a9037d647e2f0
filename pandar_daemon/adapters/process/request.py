"""What a guardian is asked to run, as it travels: a length, then texts separated by NUL bytes.

Standard library only, for the nursery's sake. Neither a program's arguments nor its environment
can hold a NUL byte, so nothing needs escaping, and it may be as long as the kernel lets them be.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping, Sequence

_LENGTH_BYTES = 8
PIPES = 2
"""Descriptors of a command that talks through pipes: its standard input, its standard output."""
EXTRAS_MAX = 8
"""Descriptors that a box may be given beside these."""
EXTRAS_FROM = 100
"""The number of the first of them, in the order in which they came; the lifeline is the last."""


class Request:
    """One command, and the terms on which it runs. All texts are as the kernel wants them."""

    __slots__ = (
        *("argv", "cwd", "direct", "environment", "extras", "grace_sec"),
        *("is_boxed", "is_piped", "pipes", "until"),
    )

    def __init__(
        self,
        argv: list[bytes],
        environment: Mapping[bytes, bytes],
        *,
        cwd: bytes,
        until: float,
        grace_sec: float,
        is_piped: bool = False,
        is_boxed: bool = False,
        direct: Sequence[bytes] = (),
    ) -> None:
        self.argv, self.environment, self.cwd = argv, environment, cwd
        self.direct = list(direct)
        """What to start instead, if it can be; perhaps nothing."""
        self.until, self.grace_sec = until, grace_sec
        self.is_piped, self.is_boxed = is_piped, is_boxed
        self.pipes: list[int] = []
        """What came with it: the command's standard input and output, unless on the terminal."""
        self.extras: list[int] = []
        """What came with it for a box."""

    def pack(self) -> bytes:
        """Return it as bytes; raises ``ValueError`` for what no program can be started with."""
        pairs = [name + b"=" + value for name, value in self.environment.items()]
        if any(not name or b"=" in name for name in self.environment):
            raise ValueError("illegal environment variable name")
        terms = [self.cwd, repr(self.until).encode(), repr(self.grace_sec).encode()]
        terms += [b"%d" % self.is_piped, b"%d" % self.is_boxed]
        counts = b"%d" % len(self.argv), b"%d" % len(self.direct)
        texts = [*terms, *counts, *self.argv, *self.direct, *pairs]
        if any(b"\0" in text for text in texts):
            raise ValueError("embedded null byte")
        body = b"\0".join(texts)
        return len(body).to_bytes(_LENGTH_BYTES, "big") + body

    @classmethod
    def read(cls, descriptor: int) -> Request | None:
        """Wait for one, and read not a byte more; ``None`` when the other side is gone."""
        head, came = _read_head(descriptor)
        length = int.from_bytes(head, "big")
        body = _read(descriptor, length)
        if not length or len(body) < length:
            close(came)
            return None
        cwd, until, grace_sec, is_piped, is_boxed, words, direct, *texts = body.split(b"\0")
        direct_from, pairs_from = int(words), int(words) + int(direct)
        pairs = (text.partition(b"=") for text in texts[pairs_from:])
        request = cls(
            texts[:direct_from],
            {name: value for name, _, value in pairs},
            cwd=cwd,
            until=float(until),
            grace_sec=float(grace_sec),
            is_piped=is_piped == b"1",
            is_boxed=is_boxed == b"1",
            direct=texts[direct_from:pairs_from],
        )
        standard = PIPES if request.is_piped else 0
        request.pipes, request.extras = came[:standard], came[standard:]
        return request


def _read_head(descriptor: int) -> tuple[bytes, list[int]]:
    """Return the length of what comes, and the descriptors that came with it."""
    head, pipes = b"", list[int]()
    with socket.socket(fileno=os.dup(descriptor)) as link:
        while len(head) < _LENGTH_BYTES:
            try:
                wanted = _LENGTH_BYTES - len(head)
                data, more, *_ = socket.recv_fds(link, wanted, PIPES + EXTRAS_MAX)
            except ConnectionResetError:
                break
            pipes += more
            if not data:
                break
            head += data
    for pipe in pipes:
        os.set_inheritable(pipe, False)  # noqa: FBT003 - the library's own signature
    return head, pipes


def close(descriptors: list[int]) -> None:
    """Close these, and forget them."""
    while descriptors:
        os.close(descriptors.pop())


def _read(descriptor: int, size: int) -> bytes:
    """Return so many bytes, fewer only when no more can come."""
    data = b""
    while len(data) < size and (more := receive(descriptor, size - len(data))):
        data += more
    return data


def receive(descriptor: int, size: int) -> bytes:
    """Return what the other side said; empty once it is gone, also when it never heard us."""
    try:
        return os.read(descriptor, size)
    except ConnectionResetError:
        return b""
