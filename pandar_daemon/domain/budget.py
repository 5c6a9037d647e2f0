"""What a task may cost, over all its executions."""

from __future__ import annotations

from collections.abc import Mapping

from events.task import Usage
from pandar_daemon.domain.money import Price, priced
from pandar_daemon.domain.sums import added


class Budget:
    """Counts what is spent against limits; ``None`` is no limit. Tokens from a cache are free."""

    def __init__(
        self,
        spent: Usage,
        max_cost_usd: float | None,
        max_tokens: int | None,
        price: Price | None = None,
    ) -> None:
        """Reckon with a price where the agent tells no cost."""
        self._price = price
        self.used = Usage()
        """By this execution."""
        self._before = spent
        self._steps = (max_cost_usd, max_tokens)
        self._limits = (max_cost_usd, max_tokens)

    @property
    def spent(self) -> Usage:
        """Return what all executions consumed together."""
        return added(self._before, self.used)

    @property
    def limits(self) -> Mapping[str, float | int | None]:
        """Return what may be consumed, by the names of the task's metadata."""
        cost, tokens = self._limits
        return {"max_cost_usd": cost, "max_tokens": tokens}

    def note(self, used: Usage) -> None:
        """Take this as what the execution consumed so far."""
        self.used = priced(used, self._price)

    def extend(self) -> None:
        """Let as much again be consumed, beyond what is."""
        cost, tokens = self._steps
        self._limits = (
            None if cost is None else (self.spent.cost_usd or 0.0) + cost,
            None if tokens is None else _tokens(self.spent) + tokens,
        )

    @property
    def is_exceeded(self) -> bool:
        """Return whether more was consumed than may be."""
        return bool(self.why)

    @property
    def why(self) -> str:
        """Return which limit was passed, empty while none was."""
        cost, tokens = self._limits
        spent = self.spent
        if cost is not None and (spent.cost_usd or 0.0) >= cost:
            return f"it has cost {spent.cost_usd:.2f} USD of {cost:g}"
        if tokens is not None and _tokens(spent) >= tokens:
            return f"it has used {_tokens(spent)} tokens of {tokens}"
        return ""


def _tokens(usage: Usage) -> int:
    return (usage.input_tokens or 0) + (usage.output_tokens or 0) + (usage.thought_tokens or 0)
