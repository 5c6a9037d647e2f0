"""Patterns of hosts that may be called: what two lists of them have in common.

``name``, ``name:port`` or ``*.name``, which is whatever is below it; the ports of the web where
none is stated.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

WEB: Final = ("80", "443")


class _Ways(Struct, frozen=True):
    """One pattern with one port."""

    host: str
    port: str

    def within(self, other: _Ways) -> bool:
        """Return whether whoever fits this one fits the other."""
        if self.port != other.port:
            return False
        below = other.host.startswith("*.") and self.host.endswith(other.host[1:])
        return self.host == other.host or (below and self.host != other.host[1:])


def common(mine: Iterable[str], wanted: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return the patterns for whom both lists mean, and those wanted that mean nobody of mine."""
    mine = list(mine)
    left: dict[_Ways, None] = {}
    foreign = []
    for each in wanted:
        shared = [found for own in mine for found in _shared(own, each)]
        left.update(dict.fromkeys(shared))
        if not shared:
            foreign.append(each)
    return _written(left), foreign


def _shared(one: str, other: str) -> list[_Ways]:
    pairs = [(a, b) for a in _ways(one) for b in _ways(other)]
    return [a if a.within(b) else b for a, b in pairs if a.within(b) or b.within(a)]


def _ways(pattern: str) -> list[_Ways]:
    """Return a pattern for each of its ports; an address of IPv6 stands in brackets."""
    text = pattern.strip().lower()
    host, colon, port = text.rpartition(":")
    if (
        not colon
        or (text.startswith("[") and text.endswith("]"))
        or (":" in host and "[" not in host)
    ):
        return [_Ways(text, each) for each in WEB]
    return [_Ways(host, port)]


def _written(ways: dict[_Ways, None]) -> list[str]:
    """Return patterns as people write them: no port where it means both of the web."""
    whole = {each.host for each in ways if all(_Ways(each.host, port) in ways for port in WEB)}
    texts = (
        each.host if each.host in whole and each.port in WEB else f"{each.host}:{each.port}"
        for each in ways
    )
    return list(dict.fromkeys(texts))
