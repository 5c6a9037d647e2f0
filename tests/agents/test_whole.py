"""The real agents on a whole Pandar: they stop at a gate, wait, and go on after a decision."""

from __future__ import annotations

import signal

import pytest

from events.task import Json
from pandar_daemon.adapters.process.guardian import EXECUTION_TAG
from pandar_daemon.adapters.process.tree import tagged
from tests.agents.conftest import Running
from tests.support.api import Person
from tests.support.up import Up, eventually, is_ready

PUSH = "git push origin main || echo pushed >> pushed.log"
PROMPT = f"[[say:I will push it. ]][[run:{PUSH}]][[done:All finished.]]"
ENDS = ("task.completed", "task.failed", "task.cancelled")
ASKED = "task.confirmation_requested"

agents = pytest.mark.parametrize("agent", ["claude", "codex", "codex by app-server", "gemini"])
resumable = pytest.mark.parametrize("agent", ["claude", "codex", "codex by app-server"])


async def _file(owner: Person, agent: str, prompt: str = PROMPT, **metadata: object) -> int:
    name = agent.partition(" by ")[0]
    body = {
        "name": "push",
        "prompt": prompt,
        "project_id": 1,
        "metadata": {"agent": name, **metadata},
    }
    return int((await owner.post("/tasks", body))["id"])


async def _until(owner: Person, task: int, *types: str) -> list[Json]:
    """Return the events of a task up to the first of these types."""
    seen: list[Json] = []
    async with owner.stream(f"/tasks/{task}/stream") as stream:
        while not seen or seen[-1]["type"] not in types:
            data = (await stream.next()).data
            seen += [data] if "type" in data else []
    return seen


def _pushed(pandar: Up, task: int) -> int:
    """Return how often it was pushed."""
    file = pandar.data / "workspaces" / f"task-{task}" / "pushed.log"
    return len(file.read_text().splitlines()) if file.exists() else 0


def _types(events: list[Json]) -> list[str]:
    return [event["type"] for event in events]


@agents
async def test_it_does_what_was_approved(running: Running, agent: str) -> None:
    """Once; what it consumed is told, and counted."""
    async with running(agent) as pandar, pandar.owner() as owner:
        task = await _file(owner, agent)
        asked = (await _until(owner, task, ASKED, *ENDS))[-1]
        assert asked["type"] == ASKED, asked["data"]
        assert asked["data"]["gate"] == "git_push_protected"
        assert asked["data"]["card"]["command"] == PUSH
        await owner.post(f"/tasks/{task}/confirm", {})
        end = (await _until(owner, task, *ENDS))[-1]
        assert end["type"] == "task.completed", end["data"]
        assert end["data"]["usage"]["output_tokens"] > 0
        assert _pushed(pandar, task) == 1


@agents
async def test_what_was_denied_is_not_done(running: Running, agent: str) -> None:
    """The agent hears why, and goes on without it."""
    async with running(agent) as pandar, pandar.owner() as owner:
        task = await _file(owner, agent)
        await _until(owner, task, ASKED)
        denial = {"decision": "deny", "reason": "[[done:I use a branch.]]"}
        await owner.post(f"/tasks/{task}/confirm", denial)
        events = await _until(owner, task, *ENDS)
        assert events[-1]["type"] == "task.completed", events[-1]["data"]
        assert _types(events).count(ASKED) == 1
        assert _pushed(pandar, task) == 0


@resumable
async def test_it_is_parked_and_goes_on(running: Running, agent: str) -> None:
    """Another process does, in the same conversation, exactly what was approved, unasked."""
    async with running(agent) as pandar, pandar.owner() as owner:
        task = await _file(owner, agent, park_after_sec=1)
        parked = (await _until(owner, task, "task.parked"))[-1]
        assert tagged(f"{EXECUTION_TAG}={parked['data']['execution_id']}") == []
        await owner.post(f"/tasks/{task}/confirm", {})
        events = await _until(owner, task, *ENDS)
        assert events[-1]["type"] == "task.completed", events[-1]["data"]
        assert _types(events).count(ASKED) == 1
        assert _types(events).count("task.resumed") == 1
        assert _pushed(pandar, task) == 1


@resumable
async def test_a_decision_outlives_everything(running: Running, agent: str) -> None:
    """Daemon, servers and agent are killed while it waits; then somebody approves."""
    async with running(agent) as pandar:
        async with pandar.owner() as owner:
            task = await _file(owner, agent)
            await _until(owner, task, ASKED)
        await pandar.stop(signal.SIGKILL)
        await pandar.start()
        async with pandar.owner() as owner:
            await eventually(lambda: is_ready(owner))
            await owner.post(f"/tasks/{task}/confirm", {})
            events = await _until(owner, task, *ENDS)
        assert events[-1]["type"] == "task.completed", events[-1]["data"]
        assert _pushed(pandar, task) == 1


@agents
async def test_it_is_cancelled_while_it_waits(running: Running, agent: str) -> None:
    """Nothing was done, and nothing of it is left."""
    async with running(agent) as pandar, pandar.owner() as owner:
        task = await _file(owner, agent)
        asked = (await _until(owner, task, ASKED))[-1]
        await owner.post(f"/tasks/{task}/cancel", {})
        assert (await _until(owner, task, *ENDS))[-1]["type"] == "task.cancelled"
        assert tagged(f"{EXECUTION_TAG}={asked['data']['execution_id']}") == []
        assert _pushed(pandar, task) == 0


@pytest.mark.parametrize("agent", ["claude", "codex", "gemini"])
async def test_a_model_that_fails_is_no_success(running: Running, agent: str) -> None:
    """However the agent calls the end of its turn; and another agent takes over."""
    async with running(agent) as pandar, pandar.owner() as owner:
        task = await _file(owner, agent, prompt="[[status:529]]", proxy_agent="demo")
        events = await _until(owner, task, "task.completed", "task.cancelled", ASKED)
        failed = next(e["data"] for e in events if e["type"] == "task.failed")
        assert failed["kind"] == "model", failed
        assert "task.agent_switched" in _types(events)
