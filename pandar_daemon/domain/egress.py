"""Whom a box may call: how hosts are named, and what stands for a host in a request.

A pattern is a host, ``host:port``, ``*.host`` or ``*.host:port``; ``*.host`` is every name below
the host, not the host itself. Where a pattern names no port, 80 and 443 are meant. Hosts are names
or addresses in their usual form, IPv6 ones in brackets. What resolvers read as an address and
people do not (``127.1``, ``0x7f.1``, ``2130706433``) is no host at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final

from msgspec import Struct

HOST_MAX: Final = 253
"""Characters of a host name, as the DNS has it."""
PORTS: Final = frozenset({80, 443})
"""Meant where none is named."""

_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
"""A last label that makes resolvers take a name for an address."""
_PORT: Final = re.compile(r"[0-9]{1,5}")
_AMBIGUOUS: Final = frozenset("ßςẞ\u200c\u200d")
"""Letters that two editions of the standard for international names encode differently."""
_SHARED: Final = frozenset({"ac", "co", "com", "edu", "gov", "go", "ne", "net", "or", "org"})
"""With a country behind it, a level under which anybody has a name."""


class Host(Struct, frozen=True, order=True):
    """A host and port to call; the host in its one usual form."""

    host: str
    port: int

    def __str__(self) -> str:
        """Return it as a URL has it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Pattern(Struct, frozen=True):
    """Whom a text of configuration is about; ``below``: the names under the host."""

    host: str
    port: int | None = None
    below: bool = False

    def fits(self, called: Host) -> bool:
        """Return whether a host and port are meant."""
        if called.port not in (PORTS if self.port is None else {self.port}):
            return False
        if self.below:
            return called.host.endswith(f".{self.host}")
        return called.host == self.host


def pattern_of(text: str) -> Pattern:
    """Return what a text of configuration means; raises ``ValueError`` that says what is wrong."""
    below = text.startswith("*.")
    name, port = _split(text.removeprefix("*."))
    host = host_of(_encoded(name))
    if below and _is_wide(host):
        raise ValueError(f"{text} means too many: name at least a domain, as in *.example.com")
    return Pattern(host=host, port=None if port is None else port_of(port), below=below)


def fault_of(text: str) -> str | None:
    """Return what is wrong with a pattern, ``None`` when nothing is."""
    try:
        pattern_of(text)
    except ValueError as error:
        return str(error)
    return None


def patterns_of(texts: Iterable[str]) -> tuple[Pattern, ...]:
    """Return what texts mean; one that means nothing is left out, and so allows nobody."""
    return tuple(pattern_of(text) for text in texts if fault_of(text) is None)


def called(authority: str, port: int | None = None) -> Host:
    """Return whom a request names: ``host``, ``host:port`` or ``[address]:port``.

    ``port`` is meant where it names none. Raises ``ValueError`` that says what is wrong.
    """
    if "@" in authority:
        raise ValueError("a user before the host is not allowed")
    name, stated = _split(authority)
    host = host_of(name)
    if stated is None and port is None:
        raise ValueError("a port is needed")
    return Host(host, port_of(stated) if stated is not None else port or 0)


def host_of(text: str) -> str:
    """Return a host in its usual form; raises ``ValueError`` that says what is wrong."""
    if text.startswith("[") or ":" in text:
        return _ipv6(text)
    name = text.lower().removesuffix(".")
    labels = name.split(".")
    if not name or len(name) > HOST_MAX or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError(f"{text[:60]!r} is no name of a host")
    if _NUMERIC.fullmatch(labels[-1]):
        return _ipv4(name)
    return name


def port_of(text: str) -> int:
    """Return a port; raises ``ValueError`` that says what is wrong."""
    if not _PORT.fullmatch(text) or not 1 <= int(text) <= 65_535:  # noqa: PLR2004 - of TCP
        raise ValueError(f"{text[:20]!r} is no port")
    return int(text)


def is_local(host: str) -> bool:
    """Return whether a name can mean nothing but the machine that looks it up."""
    return host == "localhost" or host.endswith(".localhost")


def proxy_variables(url: str) -> dict[str, str]:
    """Return what sends the programs of a box through its proxy.

    What a box serves itself, on its own loopback, is called directly; so is the proxy's own side,
    where models are.
    """
    here = "127.0.0.1,localhost,::1"
    names = ("http_proxy", "https_proxy", "all_proxy")
    both = (name for lower in names for name in (lower, lower.upper()))
    return {
        **dict.fromkeys(both, url),
        "no_proxy": here,
        "NO_PROXY": here,
        "NODE_USE_ENV_PROXY": "1",  # Node.js 22.21 and later honour the rest only then
    }


def _split(text: str) -> tuple[str, str | None]:
    """Return host and port of a text as they stand there."""
    if text.startswith("["):
        host, bracket, rest = text.partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(f"{text[:60]!r} is no address in brackets")
        return host + bracket, rest[1:] if rest else None
    if text.count(":") > 1:
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _ipv4(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except AddressValueError:
        raise ValueError(f"{text[:60]!r} is no usual form of an address") from None


def _ipv6(text: str) -> str:
    inner = text[1:-1] if text.startswith("[") else text
    if "%" in inner:
        raise ValueError("an address with a zone leads nowhere from here")
    try:
        address = IPv6Address(inner)
    except AddressValueError:
        raise ValueError(f"{text[:60]!r} is no address") from None
    return str(address.ipv4_mapped or address)


def _encoded(name: str) -> str:
    """Return a name as the DNS has it."""
    if name.isascii():
        return name
    if _AMBIGUOUS & set(name):
        raise ValueError(f"{name!r} can be read in two ways: write it as xn--…")
    try:
        return name.encode("idna").decode()
    except UnicodeError:
        raise ValueError(f"{name[:60]!r} is no name of a host") from None


def _is_wide(host: str) -> bool:
    """Return whether names below a host belong to anybody."""
    *_, last = labels = host.split(".")
    country = len(last) == 2  # noqa: PLR2004 - as all countries have it
    shared = len(labels) == 2 and country and labels[0] in _SHARED  # noqa: PLR2004 - co.uk
    return len(labels) == 1 or shared or _NUMERIC.fullmatch(last) is not None or ":" in host
