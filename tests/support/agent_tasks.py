"""Tasks of agents on a running Pandar, as their owner sees them, and what they leave behind."""

from __future__ import annotations

import shlex
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from events.task import Json
from tests.support.api import Person
from tests.support.sse import Stream
from tests.support.trees import running_in

DEMO = f"{shlex.quote(sys.executable)} -P -m pandar_daemon.adapters.agents.demo"
SPENDER = f"{shlex.quote(sys.executable)} -P {Path(__file__).with_name('spender.py')}"
HEARD = "heard.jsonl"
"""What a taped agent was told, in its workspace."""
AGENTS = {
    "PANDAR_AGENT_MUTE_COMMAND": f"{DEMO} --mute",
    "PANDAR_AGENT_GONE_COMMAND": f"{DEMO} --exit",
    "PANDAR_AGENT_MISSING_COMMAND": "/nowhere/agent",
    "PANDAR_AGENT_SPENDER_COMMAND": SPENDER,
    "PANDAR_AGENT_TAPED_COMMAND": f"/bin/sh -c 'tee -a {HEARD} | {DEMO}'",
}
"""Settings of agents beside the demo: one never answers, one is gone before it says hello, one is
not there, one spends a dollar a turn, and of one it is kept what it is told."""
PUSH = "git push origin main"
ASKED = "task.confirmation_requested"
ENDS = frozenset({"task.completed", "task.failed", "task.cancelled"})


class AgentTask:
    """One task, followed live from its filing on. ``events`` is all that happened so far."""

    def __init__(self, person: Person, number: int, stream: Stream, data: Path) -> None:
        self.person, self.number = person, number
        self.workspace = data.resolve() / "workspaces" / f"task-{number}"
        self.events: list[Json] = []
        self._stream = stream

    @property
    def types(self) -> list[str]:
        """Return what happened so far, without ``task.``."""
        return [event["type"].removeprefix("task.") for event in self.events]

    async def next(self) -> Json:
        """Return the next event."""
        while True:
            message = await self._stream.next()
            if message.name.startswith("task."):
                event: Json = message.data
                self.events.append(event)
                self.person.position = event["position"]
                return event

    async def until(self, *types: str) -> Json:
        """Return the data of the next event of one of these types; fails when it ends before."""
        while (event := await self.next())["type"] not in types:
            ended = event["type"] in ENDS and not event["data"].get("will_retry")
            assert not ended, (self.types, event["data"])
        data: Json = event["data"]
        return data

    async def asked(self) -> Json:
        """Return what people are asked next."""
        return await self.until(ASKED)

    async def end(self, *types: str) -> Json:
        """Return how it ends: completed, unless these say otherwise."""
        return await self.until(*(types or ["task.completed"]))

    async def decide(self, decision: str = "approve", **fields: object) -> None:
        """Decide what waits."""
        await self._post("confirm", {"decision": decision, **fields})

    async def cancel(self) -> None:
        """Want it to end."""
        await self._post("cancel", {})

    async def _post(self, action: str, body: Json) -> None:
        await self.person.post(f"/tasks/{self.number}/{action}", body)

    async def row(self) -> Json:
        """Return it as the API shows it now."""
        row: Json = await self.person.get(f"/tasks/{self.number}")
        return row

    async def output(self) -> str:
        """Return what its last execution showed."""
        _, text = await self.person.call("GET", f"/tasks/{self.number}/output?follow=true")
        return str(text)

    # --- what it did ---

    @property
    def pushed(self) -> list[str]:
        """Return what the demo agent did that it had asked for."""
        return self._lines("pushed.log")

    @property
    def heard(self) -> str:
        """Return what a taped agent was told."""
        return "\n".join(self._lines(HEARD))

    @property
    def processes(self) -> list[int]:
        """Return the processes in its workspace."""
        return running_in(self.workspace)

    def _lines(self, name: str) -> list[str]:
        file = self.workspace / name
        return file.read_text().splitlines() if file.exists() else []

    def used(self) -> list[Json]:
        """Return what was recorded about calls with an approval."""
        calls = [each["data"] for each in self.events if each["type"] == "task.call_decided"]
        return [call for call in calls if call["confirmation_id"] is not None]


@asynccontextmanager
async def following(person: Person, number: int, data: Path) -> AsyncIterator[AgentTask]:
    """Yield a task that was filed, followed from its beginning."""
    async with person.stream(f"/tasks/{number}/stream") as stream:
        yield AgentTask(person, number, stream, data)


@asynccontextmanager
async def at_work(
    person: Person, data: Path, prompt: str, **metadata: object
) -> AsyncIterator[AgentTask]:
    """Yield a new task of the demo agent, or the one its metadata names."""
    body = {
        "name": "t",
        "prompt": prompt,
        "project_id": 1,
        "metadata": {"agent": "demo", **metadata},
    }
    number = int((await person.post("/tasks", body))["id"])
    async with following(person, number, data) as task:
        yield task
