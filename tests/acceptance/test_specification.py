"""The specification's two examples, as they stand there, run to their end on a whole Pandar."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import nats
import pytest

from events import subjects
from tests.support.api import Json
from tests.support.sse import Message
from tests.support.up import ENDS, Up, up

pytestmark = [
    pytest.mark.servers,
    pytest.mark.skipif(shutil.which("curl") is None, reason="this machine has no curl"),
]

PATIENCE_SEC = 30.0

TASKS_AND_AGENT_AUTOMATION = r"""
curl -X POST http://localhost:8000/api/v1/tasks \
  -H "Authorization: Bearer <JWT>" -H "Content-Type: application/json" \
  -d '{
    "name":"Nightly audit",
    "description":"audit + open PRs",
    "command":"codex audit --fix --create-pr",
    "project_id":1,
    "priority":"medium",
    "metadata":{ "agent":"codex", "proxy_agent":"claude" }
  }'
"""
TASKS_AND_UNATTENDED_AUTOMATION = r"""
curl -X POST http://localhost:8000/api/v1/tasks \
  -H "Authorization: Bearer <JWT>" -H "Content-Type: application/json" \
  -d '{
    "name":"Nightly audit",
    "command":"codex audit --fix --create-pr",
    "project_id":1,
    "priority":"medium",
    "metadata":{
      "agent":"codex",
      "proxy_agent":"claude",
      "approval_policy":"auto_with_gates",
      "gates":["git_push_protected"],
      "notify":["webhook:https://hooks.example.com/builds"]
    }
  }'
"""
CODEX = """#!/bin/sh
echo "codex got: $*"
until [ -e {go} ]; do sleep 0.02; done
echo "nothing to fix"
"""
ORDER = ["task.created", "task.start_requested", "task.started", "task.completed"]


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """Return the file that lets the agent go on."""
    return tmp_path / "bin" / "go"


@pytest.fixture
async def running(tmp_path: Path, go: Path) -> AsyncIterator[Up]:
    """Run a Pandar whose tasks find a ``codex`` that waits."""
    folder = tmp_path / "bin"
    folder.mkdir()
    codex = folder / "codex"
    codex.write_text(CODEX.format(go=go))
    codex.chmod(0o755)
    async with up(PANDAR_TASK_PATH=f"{folder}:/usr/local/bin:/usr/bin:/bin") as one:
        yield one


async def run_in_shell(text: str, running: Up) -> Json:
    """Return what a command prints as JSON, with only address and token filled in."""
    command = text.replace("localhost:8000", running.base_url.removeprefix("http://"))
    shell = await asyncio.create_subprocess_shell(
        command.replace("<JWT>", running.token), stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await shell.communicate()
    assert shell.returncode == 0
    return json.loads(printed)


async def types_on_bus(running: Up, task: int) -> list[str]:
    """Return the types of a task's events on the bus, up to its end."""
    types: list[str] = []
    client = await nats.connect(running.nats_url)
    try:
        subject = subjects.events_of_task(1, task)
        stream = await client.jetstream().subscribe(subject, ordered_consumer=True)
        while not types or types[-1] not in ENDS:
            message = await stream.next_msg(timeout=PATIENCE_SEC)
            assert message.headers is not None
            types.append(message.headers["ce-type"].removeprefix("dev.pandar.").partition(".v")[0])
    finally:
        await client.close()
    return types


def without_details(types: list[str]) -> list[str]:
    """Return the types that every run has, in order."""
    return [type_ for type_ in types if type_ not in {"output", "task.progressed"}]


@pytest.mark.parametrize(
    "example", [TASKS_AND_AGENT_AUTOMATION, TASKS_AND_UNATTENDED_AUTOMATION], ids=["agent", "gates"]
)
async def test_the_example_runs_to_its_end(running: Up, go: Path, example: str) -> None:
    """Filed by curl, it runs, is seen live, and is complete on every way it can be read."""
    row = await run_in_shell(example, running)
    assert (row["name"], row["project_id"], row["priority"]) == ("Nightly audit", 1, "medium")
    task = int(row["id"])
    async with running.owner() as owner:
        async with owner.stream(f"/tasks/{task}/stream") as stream:
            live = await stream.until("output")
            assert "codex got: audit --fix --create-pr" in text_of(live)
            await asyncio.to_thread(go.touch)
            seen = live + await stream.until("task.completed")
        assert without_details([message.name for message in seen]) == ORDER
        assert "nothing to fix" in text_of(seen)
        owner.position = seen[-1].data["position"]
        ended = await owner.get(f"/tasks/{task}")
        assert (ended["status"], ended["exit_code"]) == ("completed", 0)
        lines = ["codex got: audit --fix --create-pr", "nothing to fix"]
        assert ended["output"].splitlines() == lines
        assert (await owner.get(f"/tasks/{task}/output"))["output"].splitlines() == lines
    assert without_details(await types_on_bus(running, task)) == ORDER


def text_of(messages: list[Message]) -> str:
    """Return the output among what a stream said."""
    return "".join(str(message.data) for message in messages if message.name == "output")
