"""A task in its box neither reads nor writes what is others', and sets no trap for Pandar."""

from __future__ import annotations

import pytest

from tests.isolation.grounds import Grounds, filed
from tests.support.agent_tasks import AgentTask
from tests.support.api import Person
from tests.support.waiting import until

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("promises")]


async def begun(task: AgentTask) -> None:
    """Return once its program waits."""
    await until((task.workspace / "ready").exists)


async def test_what_is_others_is_out_of_reach(grounds: Grounds, owner: Person) -> None:
    """Another task, the mirrors, keys, shims and repositories: not read, and as they were."""
    async with (
        filed(grounds, owner, "python3 hostile.py wait") as other,
        filed(grounds, owner, "python3 hostile.py wait neighbours") as task,
    ):
        await begun(other)
        await begun(task)
        (other.workspace / "work.txt").write_text("made-up work")
        before = grounds.fingerprint()
        (task.workspace / "go").touch()
        await task.end()
        assert grounds.fingerprint() == before
        found = grounds.found(task, "neighbours")
        own = (str(task.workspace), str(grounds.data / "homes" / task.workspace.name))
        assert [path for path in found["visible"] if not path.startswith(own)] == []
        names = {name for _, listed in found["read"] for name in listed}
        assert other.workspace.name not in names
        assert [each for each in found["read"] if isinstance(each[1], str)] == []
        assert (other.workspace / "work.txt").read_text() == "made-up work"
        (other.workspace / "go").touch()
        await other.end()


async def test_what_is_planted_runs_in_the_box_alone(grounds: Grounds, owner: Person) -> None:
    """Hooks, filters and settings: not when its work is kept, shown, pushed or tried again."""
    command = "python3 hostile.py plant; git push -u origin HEAD; test -e again || exit 3"
    async with filed(grounds, owner, command, gates=["git_push_protected"]) as task:
        await task.end("task.failed")
        assert grounds.found(task, "plant"), "what was planted never ran at all"
        number = task.number
        diff = await owner.get(f"/tasks/{number}/diff?format=json")
        assert diff["count"] >= 1
        (task.workspace / "again").touch()
        await owner.post(f"/tasks/{number}/retry", {})
        await task.end()
    assert list(grounds.canary.iterdir()) == []


async def test_a_repository_cannot_widen(grounds: Grounds, owner: Person) -> None:
    """Its own rules may only be stricter: what it would open stays closed, and that is told."""
    before = grounds.refs(grounds.wide)
    command = (
        "python3 hostile.py network commit;"
        "git push --force origin HEAD:main; git push origin HEAD:main; echo over"
    )
    project, gates = grounds.wide_project, ["git_push_protected"]
    async with filed(grounds, owner, command, project=project, gates=gates) as task:
        assert (await task.asked())["gate"] == "git_push_protected"
        await task.decide("deny", reason="not by night")
        await task.asked()
        await task.decide("deny", reason="not by night")
        await task.end()
        found = grounds.found(task, "network")
        assert set(found["proxy"].values()) <= {400, 403}
        assert "task.policy_narrowed" in [each["type"] for each in task.events]
        assert "not by night" in await task.output()
    assert grounds.refs(grounds.wide) == before
    assert grounds.closed.came == []
