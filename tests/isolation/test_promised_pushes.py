"""A task in its box moves nothing on the remote that nobody allowed it to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import aiohttp
import pytest

from events.task import Json
from tests.isolation.grounds import Grounds, filed
from tests.support.agent_tasks import ASKED, ENDS, AgentTask
from tests.support.api import Person
from tests.support.repositories import git
from tests.support.waiting import until

pytestmark = [
    pytest.mark.servers,
    pytest.mark.xdist_group("promises"),
    pytest.mark.timeout(300),
]
PUSHES = "[[run:python3 hostile.py pushes]] [[say:over]]"
GATES = ["git_push_protected"]


async def denied(task: AgentTask, refs: Callable[[], dict[str, str]]) -> list[Json]:
    """Return what people were asked until the end; they deny it all, and nothing moves."""
    before, asked = refs(), []
    while (event := await task.next())["type"] not in ENDS:
        assert refs() == before
        if event["type"] == ASKED:
            asked.append(event["data"])
            await task.decide("deny", reason="not by night")
    assert event["type"] == "task.completed", event
    assert "pushed" not in task.types
    assert refs() == before
    return asked


async def test_no_spelling_of_a_push_moves_main(grounds: Grounds, owner: Person) -> None:
    """Those that reach the door are asked about; denied, who pushed hears why.

    One half by an agent, the other by a command.
    """
    async with (
        aiohttp.ClientSession() as session,
        filed(grounds, owner, PUSHES, agent="demo", gates=GATES) as agent,
        filed(
            grounds,
            Person(session, owner.base_url, owner.token),
            "python3 hostile.py other_pushes",
            gates=GATES,
        ) as command,
    ):
        asked = await asyncio.gather(denied(agent, grounds.refs), denied(command, grounds.refs))
        pushed = grounds.found(agent, "pushes") | grounds.found(command, "other_pushes")
        assert len(pushed) >= 20
        assert {spelling: told for spelling, told in pushed.items() if told[0] == 0} == {}
        for tried, questions in zip(
            (grounds.found(agent, "pushes"), grounds.found(command, "other_pushes")),
            asked,
            strict=True,
        ):
            heard = [told for _, told in tried.values() if "not by night" in told]
            assert len(questions) >= len(heard) >= 5, tried


async def test_no_order_runs_a_program_outside(grounds: Grounds, owner: Person) -> None:
    """Words that would, at the control door itself: refused, or left to the box."""
    command = "python3 hostile.py commit orders"
    async with filed(grounds, owner, command, gates=GATES) as task:
        await denied(task, grounds.refs)
        found = grounds.found(task, "orders")
        assert len(found) >= 15
        assert [order for order, end in found if end == "exit 0"] == []
        assert {end for _, end in found} >= {"exit 1", "exit 126"}, found
    assert list(grounds.canary.iterdir()) == []


async def test_what_was_approved_is_what_moves(grounds: Grounds, owner: Person) -> None:
    """The task's own branch unasked; main after approval, to the very commit that was shown."""
    command = (
        "python3 hostile.py commit && git push -u origin HEAD && git rev-parse HEAD > first.json;"
        "(git push origin HEAD:main; echo it said $?) & python3 hostile.py wait commit;"
        "git checkout -q -B main; git rev-parse HEAD > later.json; touch moved; wait"
    )
    async with filed(grounds, owner, command, gates=GATES) as task:
        card = (await task.asked())["card"]
        (task.workspace / "go").touch()
        await until((task.workspace / "moved").exists)
        assert card["rule"] == "git_push_protected.branch"
        first = (task.workspace / "first.json").read_text().strip()
        assert grounds.refs()[f"pandar/{task.number}-t"] == first
        assert grounds.refs()["main"] != first
        await task.decide()
        await task.end()
        assert "it said 0" in await task.output()
        assert grounds.refs()["main"] == first
        assert (task.workspace / "later.json").read_text().strip() != first
    assert git(grounds.bare, "fsck", "--strict") == ""
