"""A task in its box moves nothing on the remote that nobody allowed it to."""

from __future__ import annotations

import pytest

from tests.isolation.grounds import Grounds, filed
from tests.support.agent_tasks import ASKED, ENDS
from tests.support.api import Person
from tests.support.repositories import git
from tests.support.waiting import until

pytestmark = [
    pytest.mark.servers,
    pytest.mark.xdist_group("promises"),
    pytest.mark.timeout(180),
]


async def test_no_spelling_of_a_push_moves_main(grounds: Grounds, owner: Person) -> None:
    """Those that reach the door are asked about; denied, the agent hears why."""
    before = grounds.refs()
    script = "[[run:python3 hostile.py pushes]] [[say:over]]"
    gates = ["git_push_protected"]
    asked = []
    async with filed(grounds, owner, script, agent="demo", gates=gates) as task:
        while (event := await task.next())["type"] not in ENDS:
            assert grounds.refs() == before
            if event["type"] == ASKED:
                asked.append(event["data"])
                await task.decide("deny", reason="not by night")
        assert event["type"] == "task.completed", event
        pushed = grounds.found(task, "pushes")
        assert len(pushed) >= 20
        assert {spelling: told for spelling, told in pushed.items() if told[0] == 0} == {}
        heard = [told for _, told in pushed.values() if "not by night" in told]
        assert len(heard) >= 10, pushed
        assert "not by night" in pushed["git push --force origin HEAD:main"][1]
        assert len(asked) >= len(heard)
        assert not [each for each in task.types if each == "pushed"]
    assert grounds.refs() == before


async def test_what_was_approved_is_what_moves(grounds: Grounds, owner: Person) -> None:
    """The task's own branch unasked; main after approval, to the very commit that was shown."""
    command = (
        "python3 hostile.py commit && git push -u origin HEAD && git rev-parse HEAD > first.json;"
        "(git push origin HEAD:main; echo it said $?) & python3 hostile.py wait commit;"
        "git checkout -q -B main; git rev-parse HEAD > later.json; touch moved; wait"
    )
    async with filed(grounds, owner, command, gates=["git_push_protected"]) as task:
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
