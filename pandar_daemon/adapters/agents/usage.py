"""What an agent consumed, in the terms of `Usage`, from what each protocol tells of a turn."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import asdict, replace

from events.task import Usage
from pandar_daemon.adapters.agents.jsonrpc import Params
from pandar_daemon.adapters.agents.shapes import count, mapping, text

_INPUT = ("inputTokens", "input_tokens", "input")
_OUTPUT = ("outputTokens", "output_tokens", "output")
_CACHED = ("cachedReadTokens", "cachedInputTokens")
_WRITTEN = ("cachedWriteTokens", "cacheWriteInputTokens")
_THOUGHT = ("thoughtTokens", "reasoningOutputTokens")


def turn_usage(result: Params, *, includes_cached: bool = False) -> Usage | None:
    """Return what the answer to a prompt says the turn consumed, ``None`` when it does not.

    Claude and Codex state ``usage``; Gemini states ``_meta.quota.token_count`` alone.
    ``includes_cached``: the agent counts tokens read from a cache as input, too.
    """
    quota = mapping(mapping(result.get("_meta")).get("quota"))
    told = mapping(result.get("usage")) or mapping(quota.get("token_count"))
    return tokens(told, includes_cached=includes_cached)


def tokens(told: Params, *, includes_cached: bool) -> Usage | None:
    """Return the tokens of one record, ``None`` when it names neither input nor output."""
    taken, given = _first(told, _INPUT), _first(told, _OUTPUT)
    if taken is None and given is None:
        return None
    cached = _first(told, _CACHED)
    if includes_cached and taken is not None:
        taken = max(0, taken - (cached or 0))
    elif taken is not None and _written_apart(told, taken, given or 0, cached or 0):
        taken += _first(told, _WRITTEN) or 0
    return Usage(
        input_tokens=taken,
        output_tokens=given,
        cached_tokens=cached,
        thought_tokens=_first(told, _THOUGHT),
    )


def _written_apart(told: Params, taken: int, given: int, cached: int) -> bool:
    """Whether tokens written to a cache, input too, are counted beside the others."""
    written = _first(told, _WRITTEN) or 0
    return count(told.get("totalTokens")) == taken + given + cached + written


def _first(told: Params, names: Sequence[str]) -> int | None:
    return next((found for name in names if (found := count(told.get(name))) is not None), None)


def cost_usd(update: Params) -> float | None:
    """Return the cost of the session so far a ``usage_update`` tells, if it does so in dollars."""
    cost = mapping(update.get("cost"))
    amount = cost.get("amount")
    if text(cost.get("currency")) != "USD" or isinstance(amount, bool):
        return None
    return float(amount) if isinstance(amount, int | float) and 0 <= amount < 1e9 else None  # noqa: PLR2004


_TOKENS = ("input_tokens", "output_tokens", "cached_tokens", "thought_tokens")


def less(total: Usage, before: Usage) -> Usage:
    """Return what came after ``before``; never less than nothing."""
    ours, theirs = asdict(total), asdict(before)
    known = [name for name in _TOKENS if ours[name] is not None]
    return replace(total, **{name: max(0, ours[name] - (theirs[name] or 0)) for name in known})


def added(total: Usage, turn: Usage) -> Usage:
    """Return the tokens of both; what neither tells stays unknown. The cost stays ``total``'s."""
    ours, theirs = asdict(total), asdict(turn)
    known = [name for name in _TOKENS if (ours[name], theirs[name]) != (None, None)]
    return replace(total, **{name: (ours[name] or 0) + (theirs[name] or 0) for name in known})
