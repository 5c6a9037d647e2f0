"""What an agent's tokens cost, by the price list of whoever pays."""

from __future__ import annotations

from typing import Annotated, Final

from msgspec import Meta, Struct, structs

from events.task import Usage

MILLION: Final = 1_000_000

Usd = Annotated[float, Meta(ge=0, le=MILLION)]


class Price(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model costs, in USD for a million tokens of each kind.

    Without ``cached``, whoever read from a cache used something whose price is not known.
    ``thought`` is for thoughts that an agent tells beside its output: nothing where they are part
    of it, as with Codex.
    """

    input: Usd
    output: Usd
    cached: Usd | None = None
    thought: Usd = 0.0


def cost_usd(usage: Usage, price: Price | None) -> float | None:
    """Return what the agent says it cost, else what its tokens cost by a price; never a guess.

    ``None`` where it tells neither a cost nor both input and output, and where a price is missing.
    """
    if usage.cost_usd is not None:
        return usage.cost_usd
    if price is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    cached = usage.cached_tokens or 0
    if cached and price.cached is None:
        return None
    cost = usage.input_tokens * price.input + usage.output_tokens * price.output
    cost += cached * (price.cached or 0.0) + (usage.thought_tokens or 0) * price.thought
    return cost / MILLION


def priced(usage: Usage, price: Price | None) -> Usage:
    """Return what was consumed, with its cost where that can be known."""
    return structs.replace(usage, cost_usd=cost_usd(usage, price))
