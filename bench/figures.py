"""What was measured, and what it should be."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from msgspec import Struct


class Goal(Struct, frozen=True):
    """A bound a figure should keep."""

    bound: float
    at_most: bool

    def is_met(self, value: float) -> bool:
        """Tell whether a value keeps it; ``nan`` does not."""
        return value <= self.bound if self.at_most else value >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {number(self.bound)}"


def at_most(bound: float) -> Goal:
    """Return the goal not to exceed a bound."""
    return Goal(bound, at_most=True)


def at_least(bound: float) -> Goal:
    """Return the goal to reach a bound."""
    return Goal(bound, at_most=False)


class Figure(Struct, frozen=True, kw_only=True):
    """One line of the results; ``goal`` is in the same unit."""

    part: str
    what: str
    value: float
    unit: str = ""
    goal: Goal | None = None
    note: str = ""

    @property
    def is_missed(self) -> bool:
        """Whether there is a goal, and it is not met."""
        return self.goal is not None and not self.goal.is_met(self.value)

    def cells(self) -> tuple[str, ...]:
        """Return it as the cells of `HEADINGS`."""
        goal = "" if self.goal is None else f"{self.goal} {'missed' if self.is_missed else 'met'}"
        return self.part, self.what, number(self.value), self.unit, goal, self.note


def unmeasured(part: str, why: str) -> Figure:
    """Return the line that stands for a part that could not be measured."""
    return Figure(part=part, what="not measured", value=math.nan, note=why)


HEADINGS = ("part", "figure", "value", "unit", "goal", "note")


def number(value: float) -> str:
    """Return a number with three digits that count, thousands set apart."""
    if not math.isfinite(value):
        return str(value)
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    digits = 2 - math.floor(math.log10(abs(value)))
    text = f"{value:.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def ratio(value: float, other: float) -> float:
    """Return ``value / other``, ``nan`` when there is no other."""
    return value / other if other else math.nan


def typical(figures: Sequence[float]) -> float:
    """Return the median, which one bad round does not move."""
    return statistics.median(figures)
