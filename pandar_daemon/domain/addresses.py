"""Which addresses belong to somebody on the public internet, and what the others are.

An IPv6 address that stands for an IPv4 one is whatever that one is, too.
"""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address


class Kind(StrEnum):
    """What an address is; all but `PUBLIC` lead to this machine, its networks, or nobody."""

    PUBLIC = "public"
    LOOPBACK = "loopback"
    PRIVATE = "private"  # of a network of one's own, a provider's inner one included
    LINK_LOCAL = "link-local"
    METADATA = "metadata"  # where clouds serve credentials to their machines
    MULTICAST = "multicast"
    UNSPECIFIED = "unspecified"
    RESERVED = "reserved"
    NONE = "no address"


OWN: Final = frozenset({Kind.LOOPBACK, Kind.PRIVATE})
"""What the owner may allow by name: there can be a server of the owner's."""

_METADATA: Final = frozenset(
    map(
        ip_address,
        (
            *("169.254.169.254", "169.254.170.2", "169.254.170.23", "fd00:ec2::254"),
            *("fd00:ec2::23", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
        ),
    )
)
"""Of AWS, its containers, Google, Alibaba, Azure (a public address!) and Oracle."""
_TRANSLATED: Final = ip_network("64:ff9b::/96")
"""NAT64: the last 32 bits are the IPv4 address that is meant."""
_COMPATIBLE: Final = ip_network("::/96")
_PRIVATE: Final = [
    ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
]
_LOOPBACK: Final = [ip_network("127.0.0.0/8"), ip_network("::1/128")]
_RELAYS: Final = ip_network("192.88.99.0/24")
_LOCAL_TRANSLATED: Final = ip_network("64:ff9b:1::/48")


def kind_of(text: str) -> Kind:
    """Return what an address is; `Kind.NONE` for a text that is none."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return Kind.NONE
    found = [_kind(each) for each in _embedded(address)]
    if address not in _TRANSLATED:
        found.append(_kind(address))
    return next((kind for kind in found if kind is not Kind.PUBLIC), Kind.PUBLIC)


def is_public(text: str) -> bool:
    """Return whether an IP address belongs to somebody on the public internet."""
    return kind_of(text) is Kind.PUBLIC


def _kind(address: Address) -> Kind:
    found = {
        Kind.METADATA: address in _METADATA,
        Kind.UNSPECIFIED: address.is_unspecified,
        Kind.LOOPBACK: any(address in network for network in _LOOPBACK),
        Kind.LINK_LOCAL: address.is_link_local,
        Kind.PRIVATE: any(address in network for network in _PRIVATE),
        Kind.MULTICAST: address.is_multicast,
        Kind.RESERVED: not _is_anybodys(address),
    }
    return next((kind for kind, holds in found.items() if holds), Kind.PUBLIC)


def _is_anybodys(address: Address) -> bool:
    return (
        address.is_global
        and not address.is_reserved
        and not (isinstance(address, IPv6Address) and address.is_site_local)
        and not (isinstance(address, IPv6Address) and address.ipv4_mapped)
        and address not in _RELAYS
        and address not in _LOCAL_TRANSLATED
    )


def _embedded(address: Address) -> list[Address]:
    """Return the IPv4 addresses an IPv6 address stands for."""
    if isinstance(address, IPv4Address):
        return []
    found: list[Address | None] = [address.ipv4_mapped, address.sixtofour]
    found += address.teredo or ()
    if (address in _COMPATIBLE and int(address) > 1) or address in _TRANSLATED:
        found.append(IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in found if one is not None]
