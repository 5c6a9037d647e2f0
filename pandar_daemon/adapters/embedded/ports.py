"""Which local port a server of ours listens on."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable

from pandar_daemon.adapters.embedded.data import DataDirectory
from pandar_daemon.adapters.embedded.errors import CannotStart

LOOPBACK = "127.0.0.1"
_TRIES = 3


class Port:
    """The port of one server: chosen at its first start, the same at every later one.

    ``asked`` is the value of ``variable``, if it is set.
    """

    def __init__(
        self, data: DataDirectory, server: str, variable: str, *, asked: int | None, usual: int
    ) -> None:
        self._data = data
        self._server = server
        self._variable = variable
        self._asked = asked
        self._usual = usual
        self._settled = False
        self.number = 0

    async def listen(self, start: Callable[[int], Awaitable[None]]) -> None:
        """Start a server on the port and remember it for the next run.

        Chooses again when someone else takes a port between our choice and the start. Raises what
        ``start`` raises, and `CannotStart` when the port that was asked for is taken.
        """
        for left in reversed(range(_TRIES)):
            if not self._settled:
                last = self._data.port(self._server)
                self.number = choose(self._variable, self._asked, last, self._usual)
            try:
                await start(self.number)
            except CannotStart:
                if self._settled or self._asked or not left or is_free(self.number):
                    raise
            else:
                self._settled = True
                self._data.remember_port(self._server, self.number)
                return


def choose(variable: str, asked: int | None, last: int | None, usual: int) -> int:
    """Return a port nobody listens on: the one asked for, else the last, the usual, any.

    ``asked`` 0 means any. Raises `CannotStart`, naming the variable, when the one asked for is
    taken. Whoever binds it first after this call has it: be ready to choose again.
    """
    if asked:
        if is_free(asked):
            return asked
        msg = (
            f"{variable}={asked}: another program listens on port {asked}; stop it, give"
            f" {variable} a free port, or unset {variable} to let Pandar choose"
        )
        raise CannotStart(msg)
    if asked is None:
        for port in (last, usual):
            if port and is_free(port):
                return port
    return _any()


def is_free(port: int) -> bool:
    """Tell whether a server could listen on a port of the loopback address now."""
    with socket.socket() as probe:
        # As the servers do: a port that merely waits out its last connections is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _any() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port
