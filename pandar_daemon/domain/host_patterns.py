"""Patterns of hosts that may be called: what two lists of them have in common."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pandar_daemon.domain.egress import PORTS, Pattern, patterns_of


def common(mine: Iterable[str], wanted: Iterable[str]) -> tuple[list[str], list[str]]:
    """Return patterns for whom both lists mean, and those wanted that mean nobody of mine.

    What means nothing to `pandar_daemon.domain.egress` allows nobody, here as there.
    """
    own = [each for pattern in patterns_of(mine) for each in _by_port(pattern)]
    left: dict[Pattern, None] = {}
    foreign = []
    for text in wanted:
        asked = [each for pattern in patterns_of([text]) for each in _by_port(pattern)]
        shared = [found for a in own for b in asked for found in _shared(a, b)]
        left.update(dict.fromkeys(shared))
        if not shared:
            foreign.append(text)
    return _written(left), foreign


def _by_port(pattern: Pattern) -> Iterator[Pattern]:
    for port in sorted(PORTS) if pattern.port is None else (pattern.port,):
        yield Pattern(host=pattern.host, port=port, below=pattern.below)


def _shared(one: Pattern, other: Pattern) -> list[Pattern]:
    if _within(one, other):
        return [one]
    return [other] if _within(other, one) else []


def _within(one: Pattern, other: Pattern) -> bool:
    """Return whether whoever fits the one fits the other, both having a port."""
    if one.port != other.port:
        return False
    if one.below == other.below and one.host == other.host:
        return True
    return other.below and one.host.endswith(f".{other.host}")


def _written(patterns: dict[Pattern, None]) -> list[str]:
    """Return patterns as people write them: no port where it means all of the web's."""
    texts = dict[str, None]()
    for each in patterns:
        every = {Pattern(host=each.host, port=port, below=each.below) for port in PORTS}
        whole = each.port in PORTS and every <= patterns.keys()
        host = f"[{each.host}]" if ":" in each.host else each.host
        name = f"*.{host}" if each.below else host
        texts[name if whole else f"{name}:{each.port}"] = None
    return list(texts)
