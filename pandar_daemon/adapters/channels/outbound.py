"""Requests to addresses that users name: none of them may reach what only this machine can.

A host is resolved once, each address it has is judged, and one of those is dialled, not the name
again: a name server that answers differently the next time gains nothing. Refused are all addresses
that are not of the public internet: this machine, its networks, link-local ones (where clouds serve
credentials), multicast, reserved ones, and IPv6 addresses that stand for such an IPv4 address.
Hosts that configuration allows may be anywhere.

Redirects are not followed, proxies of the environment not used, answers read up to a limit.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from msgspec import Struct

from pandar_daemon.adapters.resolving import Resolve, resolved
from pandar_daemon.domain.addresses import is_public

ANSWER_MAX: Final = 65_536
"""Bytes of an answer that are read."""
TIMEOUT: Final = aiohttp.ClientTimeout(total=20, sock_connect=5)
RESOLVE_SEC: Final = 5.0


class Blocked(Exception):
    """The address must not be called; the message names the host, not the URL."""


class Answer(Struct, frozen=True):
    """What the other side answered; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Guard:
    """Lets requests out."""

    def __init__(self, allowed: Collection[str] = (), resolve: Resolve = resolved) -> None:
        """Let them out to public addresses, and to ``allowed`` hosts (names, or addresses)."""
        self._allowed = frozenset(host.lower().strip("[]") for host in allowed)
        self._resolve = resolve

    def allows(self, host: str) -> bool:
        """Return whether configuration allows a host, wherever it is."""
        return host.lower().strip("[]") in self._allowed

    async def addresses(self, host: str, port: int) -> Sequence[str]:
        """Return the addresses of a host that may be dialled.

        Raises `Blocked` when there is none, ``OSError`` when it cannot be resolved.
        """
        async with asyncio.timeout(RESOLVE_SEC):
            found = await self._resolve(host, port)
        if self.allows(host):
            return found
        public = [address for address in found if is_public(address)]
        if not public:
            raise Blocked(f"{host} is not on the public internet, and not allowed by configuration")
        return public

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Return what an ``http`` or ``https`` URL answers to a POST.

        Raises `Blocked`, ``OSError`` or `aiohttp.ClientError`.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if parts.scheme != "https" and not self.allows(host):
            raise Blocked(f"plain http to {host} is not allowed by configuration")
        addresses = await self.addresses(host, port)
        connector = aiohttp.TCPConnector(
            resolver=_Pinned(addresses), use_dns_cache=False, force_close=True
        )
        async with (
            aiohttp.ClientSession(
                connector=connector,
                timeout=TIMEOUT,
                auto_decompress=False,
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=False,
            ) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as response,
        ):
            names = {name.lower(): value for name, value in response.headers.items()}
            return Answer(response.status, names, await _beginning(response.content))


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    body = b""
    while len(body) < ANSWER_MAX and (more := await content.read(ANSWER_MAX - len(body))):
        body += more
    return body


class _Pinned(AbstractResolver):
    """Answers with addresses that were judged, whatever is asked. Literals are not asked for."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
            if family in {socket.AF_UNSPEC, socket.AF_INET6 if ":" in address else socket.AF_INET}
        ]

    async def close(self) -> None:
        """Nothing is open."""
