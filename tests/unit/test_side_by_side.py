"""Works beside each other: the first to fail ends the others, and says why it did."""

from __future__ import annotations

import asyncio

import pytest

from pandar_daemon.services.stepping import side_by_side


async def fail() -> None:
    """Fail as an adapter does: by an error of ours, with the one that caused it."""
    raise ConnectionError("the database is away") from OSError("too many clients")


async def test_they_give_what_each_gives() -> None:
    """Results come in the order of the works."""

    async def number(n: int) -> int:
        await asyncio.sleep(0)
        return n

    assert await side_by_side([number(1), number(2)]) == [1, 2]


async def test_the_cause_of_the_first_failure_is_told() -> None:
    """Who reads the log learns what an outage was."""
    with pytest.raises(ConnectionError) as failed:
        await side_by_side([fail(), asyncio.Event().wait()])
    assert str(failed.value.__cause__) == "too many clients"
