"""What tokens cost, and when that is not known."""

from __future__ import annotations

import msgspec
import pytest

from events.task import Usage
from pandar_daemon.domain.money import MILLION, Price, cost_usd, priced

PRICE = Price(input=3.0, output=15.0, cached=0.3)
USED = Usage(input_tokens=1_000, output_tokens=200, cached_tokens=10_000)


def test_every_kind_of_token_has_its_price() -> None:
    """Input, output and what came from a cache are paid by the million."""
    assert cost_usd(USED, PRICE) == pytest.approx(0.003 + 0.003 + 0.003)


def test_what_the_agent_says_it_cost_stands() -> None:
    """Who was billed knows better than a list, also that it was nothing."""
    told = msgspec.structs.replace(USED, cost_usd=0.0)
    assert cost_usd(told, PRICE) == 0.0
    assert cost_usd(told, None) == 0.0


@pytest.mark.parametrize(
    ("usage", "price"),
    [
        (USED, None),
        (USED, Price(input=3.0, output=15.0)),
        (Usage(), PRICE),
        (Usage(input_tokens=5), PRICE),
        (Usage(output_tokens=5), PRICE),
    ],
    ids=["no price", "no price of a cache", "no tokens", "no output", "no input"],
)
def test_it_is_never_guessed(usage: Usage, price: Price | None) -> None:
    """Where tokens or a price are missing the cost is not known."""
    assert cost_usd(usage, price) is None


def test_without_a_cache_its_price_is_not_needed() -> None:
    """Who read nothing from it pays nothing for it."""
    usage = Usage(input_tokens=MILLION, output_tokens=0, cached_tokens=0)
    assert cost_usd(usage, Price(input=3.0, output=15.0)) == 3.0


def test_thoughts_are_part_of_the_output_unless_they_have_a_price() -> None:
    """They are not paid for twice."""
    usage = Usage(input_tokens=0, output_tokens=MILLION, thought_tokens=MILLION)
    assert cost_usd(usage, PRICE) == 15.0
    assert cost_usd(usage, Price(input=3.0, output=15.0, thought=10.0)) == 25.0


def test_priced_changes_the_cost_alone() -> None:
    """What was consumed stays as it was told."""
    assert priced(USED, PRICE) == msgspec.structs.replace(USED, cost_usd=cost_usd(USED, PRICE))
    assert priced(USED, None) == USED


@pytest.mark.parametrize("wrong", [{"input": -1.0, "output": 1.0}, {"input": 1.0}, {"a": 1}])
def test_a_price_is_complete_and_not_negative(wrong: dict[str, float]) -> None:
    """A list with a slip in it is refused, not half read."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(wrong, Price)
