"""Tokens and money as people read them: ``12.3k``, ``0.42 USD``."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Final

from events.task import Usage
from pandar_daemon.domain.sums import added
from projections.usage import has_unknown_cost

_UNITS: Final = (("G", 10**9), ("M", 10**6), ("k", 10**3))
_WHOLE_MAX: Final = 10_000
_CENT: Final = 0.01
_LEAST: Final = 0.0001


def many(number: int) -> str:
    """Return a number in at most six characters: ``678``, ``9,999``, ``12.3k``, ``4.5M``."""
    if number < _WHOLE_MAX:
        return f"{number:,}"
    unit, size = next(one for one in _UNITS if number >= one[1])
    return f"{number * 10 // size / 10:.1f}{unit}"  # rounded, 999,999 would be 1000.0k


def dollars(amount: float) -> str:
    """Return an amount of USD, its unit left out: ``12.34``, ``0.0042``, ``<0.0001``."""
    if 0 < amount < _LEAST:
        return f"<{_LEAST}"
    return f"{amount:.4f}" if 0 < amount < _CENT else f"{amount:,.2f}"


def used(usages: Iterable[Usage]) -> str:
    """Return tokens and cost of several executions in a line; ``""`` when they had none."""
    told = list(usages)
    total = reduce(added, told, Usage())
    tokens = {
        "in": total.input_tokens,
        "cached": total.cached_tokens,
        "out": total.output_tokens,
    }
    parts = [f"{many(number)} {word}" for word, number in tokens.items() if number]
    cost = _cost(total.cost_usd, complete=not any(map(has_unknown_cost, told)))
    shown = [f"tokens {', '.join(parts)}"] if parts else []
    return "; ".join([*shown, *([cost] if cost else [])])


def _cost(amount: float | None, *, complete: bool) -> str:
    if amount is None:
        return "" if complete else "nobody told the cost"
    return f"{'' if complete else 'at least '}{dollars(amount)} USD"
