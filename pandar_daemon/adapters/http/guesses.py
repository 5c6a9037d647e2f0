"""Who asks for approval links that are not there: a guess costs an address its next minute.

A text of 256 random bits is not found by guessing; this keeps those who try from costing more than
they do. An address that guessed too often is refused before anything is looked up, whatever it
asks for.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import Final

from aiohttp import web
from msgspec import Struct

from pandar_daemon.ports import Clock

GUESSES_MAX: Final = 30
"""How many unknown links one address may ask for in `WINDOW_SEC`."""
WINDOW_SEC: Final = 60.0
ADDRESSES_MAX: Final = 10_000
"""How many addresses are remembered; who guessed last longest ago is forgotten first."""
_NETWORK: Final = 64
"""Bits of an IPv6 address that belong to one customer of a provider."""


class _Count(Struct):
    until: float
    guesses: int = 0


class Guesses:
    """Counts guesses by address."""

    def __init__(self, clock: Clock) -> None:
        """Tell the time by ``clock``."""
        self._clock = clock
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def wait_sec(self, address: str) -> float:
        """Return for how long an address is refused, 0 for one that is not."""
        count = self._counts.get(address)
        if count is None or count.guesses < GUESSES_MAX:
            return 0.0
        return max(0.0, count.until - self._clock.boottime())

    def note(self, address: str) -> None:
        """Count a guess."""
        now = self._clock.boottime()
        count = self._counts.get(address)
        if count is None or count.until <= now:
            self._counts[address] = count = _Count(until=now + WINDOW_SEC)
        count.guesses += 1
        self._counts.move_to_end(address)
        if len(self._counts) > ADDRESSES_MAX:
            self._counts.popitem(last=False)


def address_of(request: web.Request) -> str:
    """Return who asks: the peer, or for a proxy on this machine whom it says it asks for.

    A proxy puts the address it was asked from last into ``X-Forwarded-For``.
    """
    peer = _network(request.remote or "")
    if peer != _THIS_MACHINE:
        return peer
    said = ",".join(request.headers.getall("X-Forwarded-For", [])).rpartition(",")[2]
    return _network(said.strip()) or peer


_THIS_MACHINE: Final = "loopback"


def _network(text: str) -> str:
    """Return an address as guesses are counted by it; empty for what is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    if address.is_loopback:
        return _THIS_MACHINE
    if address.version == 4:  # noqa: PLR2004 - of the protocol
        return str(address)
    return str(ipaddress.ip_network((int(address), _NETWORK), strict=False))
