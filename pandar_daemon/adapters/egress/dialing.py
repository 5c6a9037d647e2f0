"""Connections to the outside: a name is looked up once, judged, and that very address is dialled.

A name server that answers differently the next time gains nothing.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus

from pandar_daemon.adapters.egress.bounds import READ_AHEAD, Bounds
from pandar_daemon.adapters.egress.refused import Refused, late, unreachable
from pandar_daemon.adapters.resolving import Resolve
from pandar_daemon.domain.addresses import OWN, Kind, kind_of
from pandar_daemon.domain.egress import Host

_LOOKUPS = ThreadPoolExecutor(8, "egress-lookup")
"""Of all boxes, and of nobody else: slow name servers keep only boxes waiting."""


async def looked_up(host: str, port: int) -> Sequence[str]:
    """Return the addresses the system knows for a host; raises ``OSError``."""

    def look_up() -> Sequence[str]:
        infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return list(dict.fromkeys(str(info[4][0]) for info in infos))

    return await asyncio.get_running_loop().run_in_executor(_LOOKUPS, look_up)


class Dialer:
    """Opens connections."""

    def __init__(self, resolve: Resolve, tls: ssl.SSLContext, bounds: Bounds) -> None:
        """Look names up with ``resolve``, and trust whom ``tls`` trusts."""
        self._resolve, self._tls, self._bounds = resolve, tls, bounds

    async def addresses(self, called: Host) -> Sequence[str]:
        """Return what a name leads to; raises `Refused` when that cannot be told."""
        try:
            async with asyncio.timeout(self._bounds.resolve_sec):
                return await self._resolve(called.host, called.port)
        except TimeoutError:
            raise late(f"no name server knew {called.host} in time") from None
        except (OSError, UnicodeError) as error:
            raise unreachable(f"{called.host} cannot be looked up: {error}") from error

    async def connect(
        self, called: Host, addresses: Sequence[str], *, encrypted: bool = False
    ) -> tuple[StreamReader, StreamWriter]:
        """Return a connection to the first address that takes it; raises `Refused`."""
        last: Refused = unreachable(f"{called} leads nowhere")
        for address in addresses:
            try:
                async with asyncio.timeout(self._bounds.connect_sec):
                    return await asyncio.open_connection(
                        address,
                        called.port,
                        limit=READ_AHEAD,
                        ssl=self._tls if encrypted else None,
                        server_hostname=called.host if encrypted else None,
                    )
            except TimeoutError:
                last = late(f"{called} did not answer within {self._bounds.connect_sec:g} s")
            except ssl.SSLCertVerificationError as error:
                last = unreachable(f"{called} could not prove who it is: {error.verify_message}")
            except OSError as error:
                last = unreachable(f"{called} cannot be reached: {error.strerror or error}")
        raise last


def allowed(called: Host, addresses: Sequence[str], *, private: bool) -> Sequence[str]:
    """Return the addresses of a host that may be dialled; raises `Refused` when none may.

    Public ones, and with ``private`` those of the owner's networks and of this machine.
    """
    kinds = {address: kind_of(address) for address in addresses}
    good = {Kind.PUBLIC, *(OWN if private else ())}
    found = [address for address, kind in kinds.items() if kind in good]
    if addresses and not found:
        told = ", ".join(sorted(set(kinds.values())))
        text = f"{called.host} leads to no public address ({told})"
        if OWN & set(kinds.values()):
            text += "; the owner can name it in private_hosts of [sandbox] in pandar.toml"
        raise Refused(HTTPStatus.FORBIDDEN, "address", text)
    return found
