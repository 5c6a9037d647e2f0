"""What a task may cost: sums over executions, limits, and more of them."""

from __future__ import annotations

import pytest

from events.task import Usage
from pandar_daemon.domain.budget import Budget


def tokens(taken: int, given: int = 0, *, thought: int = 0, cached: int = 0) -> Usage:
    """Return a consumption of tokens."""
    return Usage(
        input_tokens=taken, output_tokens=given, thought_tokens=thought, cached_tokens=cached
    )


def spent(usage: Usage, *, cost: float | None = None, limit: int | None = None) -> Budget:
    """Return a budget of which so much is spent by this execution."""
    budget = Budget(Usage(), cost, limit)
    budget.note(usage)
    return budget


def test_without_limits_nothing_is_too_much() -> None:
    """However much it is."""
    budget = spent(Usage(cost_usd=1e6, input_tokens=10**12))
    assert (budget.is_exceeded, budget.why) == (False, "")
    assert budget.limits == {"max_cost_usd": None, "max_tokens": None}


def test_what_is_told_counts_instead_of_what_was_told_before() -> None:
    """An agent tells what its session consumed so far."""
    budget = spent(Usage(cost_usd=0.4), cost=1.0)
    budget.note(Usage(cost_usd=0.6))
    assert (budget.used.cost_usd, budget.is_exceeded) == (0.6, False)


def test_all_executions_count() -> None:
    """Those before, and this one."""
    budget = Budget(Usage(cost_usd=0.6, input_tokens=5), 1.0, None)
    budget.note(Usage(cost_usd=0.4, input_tokens=6))
    assert (budget.spent.input_tokens, budget.used.input_tokens) == (11, 6)
    assert budget.why == "it has cost 1.00 USD of 1"


@pytest.mark.parametrize(
    ("usage", "why"),
    [
        (tokens(99), ""),
        (tokens(100), "it has used 100 tokens of 100"),
        (tokens(60, 40), "it has used 100 tokens of 100"),
        (tokens(60, 30, thought=10), "it has used 100 tokens of 100"),
        (tokens(60, 30, cached=10_000), ""),
        (Usage(output_tokens=100), "it has used 100 tokens of 100"),
        (Usage(cost_usd=50.0), ""),
        (Usage(), ""),
    ],
)
def test_tokens(usage: Usage, why: str) -> None:
    """All but those from a cache count; what is not told counts nothing."""
    assert spent(usage, limit=100).why == why


def test_one_limit_is_enough() -> None:
    """Whichever is passed first is named."""
    both = Usage(cost_usd=2.0, input_tokens=200)
    assert spent(both, cost=1.0, limit=100).why == "it has cost 2.00 USD of 1"
    assert spent(both, cost=3.0, limit=100).why == "it has used 200 tokens of 100"


def test_more_is_as_much_again() -> None:
    """Beyond what is spent, which may be more than there was."""
    budget = spent(Usage(cost_usd=1.5, input_tokens=30), cost=1.0, limit=100)
    budget.extend()
    assert budget.limits == {"max_cost_usd": 2.5, "max_tokens": 130}
    assert not budget.is_exceeded
    budget.note(Usage(cost_usd=2.5))
    budget.extend()
    assert budget.limits == {"max_cost_usd": 3.5, "max_tokens": 100}


def test_no_limit_stays_none() -> None:
    """There is nothing to extend."""
    budget = spent(Usage(cost_usd=1.5, input_tokens=30))
    budget.extend()
    assert budget.limits == {"max_cost_usd": None, "max_tokens": None}
