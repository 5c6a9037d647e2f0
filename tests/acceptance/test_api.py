"""The HTTP API of a whole running Pandar: real commands, run by its own runner."""

from __future__ import annotations

import asyncio
import json
import shlex
import shutil
from collections.abc import AsyncIterator

import aiohttp
import pytest

from pandar_daemon.config import Settings
from pandar_daemon.wiring import mint_token
from tests.acceptance.conftest import Pandar
from tests.support.api import Json, Person

CURL = """
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
UNATTENDED = """
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


@pytest.fixture
async def owner(pandar: Pandar) -> AsyncIterator[Person]:
    """Return the owner of the installation."""
    async with aiohttp.ClientSession() as session:
        yield Person(session, pandar.base_url, pandar.token)


def _somebody(pandar: Pandar, owner: Person, user: str, *roles: str) -> Person:
    token = mint_token(Settings(data=pandar.data), user, roles or ["user"], 600.0)
    return Person(owner.session, pandar.base_url, token)


async def _ended(person: Person, task: int) -> Json:
    """Return the row of a task once it has ended, having watched it."""
    ends = {"task.completed", "task.cancelled", "task.failed"}
    async with person.stream(f"/tasks/{task}/stream") as stream:
        while True:
            message = await stream.next()
            if message.name in ends and not message.data["data"].get("will_retry"):
                break
    person.position = message.data["position"]
    return await person.get(f"/tasks/{task}")


async def _run(person: Person, command: str, **fields: object) -> Json:
    task = await person.task(1, command=command, auto_start=True, **fields)
    return await _ended(person, task)


@pytest.mark.skipif(shutil.which("curl") is None, reason="this machine has no curl")
@pytest.mark.parametrize("example", [CURL, UNATTENDED])
async def test_the_specifications_curl_works_word_for_word(pandar: Pandar, example: str) -> None:
    """The examples of the specification file a task, with only address and token filled in."""
    text = example.replace("http://localhost:8000", pandar.base_url).replace("<JWT>", pandar.token)
    program, *arguments = shlex.split(text)
    running = await asyncio.create_subprocess_exec(
        program, "-sS", *arguments, stdout=asyncio.subprocess.PIPE
    )
    row = json.loads((await running.communicate())[0])
    assert (row["name"], row["status"], row["project_id"]) == ("Nightly audit", "pending", 1)
    assert row["metadata"]["proxy_agent"] == "claude"


async def test_a_task_runs_and_completes_with_its_output(owner: Person) -> None:
    """Filed, run, seen live in order, and complete in every read afterwards."""
    task = await owner.task(1, command="echo one; echo two", auto_start=True)
    async with owner.stream(f"/tasks/{task}/stream") as stream:
        seen = await stream.until("task.completed")
    names = [m.name for m in seen if m.name not in {"output", "task.progressed"}]
    assert names == ["task.created", "task.start_requested", "task.started", "task.completed"]
    owner.position = seen[-1].data["position"]
    row = await owner.get(f"/tasks/{task}")
    assert (row["status"], row["exit_code"], row["progress"]) == ("completed", 0, 100)
    assert row["output"].split() == ["one", "two"]
    assert row["duration"] >= 0
    output = await owner.get(f"/tasks/{task}/output")
    assert (output["output"].split(), output["is_complete"]) == (["one", "two"], True)
    (execution,) = (await owner.get(f"/tasks/{task}/executions"))["items"]
    assert (execution["attempt"], execution["status"]) == (1, "completed")
    timeline = (await owner.get(f"/tasks/{task}/timeline"))["items"]
    assert [entry["type"] for entry in timeline if entry["type"] != "task.progressed"] == names
    messages = [line["message"] for line in (await owner.get(f"/tasks/{task}/logs"))["logs"]]
    assert messages.index("one") < messages.index("two")


async def test_output_is_followed_while_it_is_written(owner: Person) -> None:
    """Follow ends by itself with everything, though begun before the task was."""
    task = await owner.task(1, command="for i in 1 2 3; do echo $i; sleep 0.1; done")
    following = asyncio.create_task(owner.call("GET", f"/tasks/{task}/output?follow=true"))
    await owner.post(f"/tasks/{task}/execute")
    _, text = await asyncio.wait_for(following, 60)
    assert text.split() == ["1", "2", "3"]


async def test_a_started_task_runs(owner: Person) -> None:
    """A task filed without auto_start runs after the start action (the origin's never did)."""
    task = await owner.task(1, command="echo ran")
    await owner.post(f"/tasks/{task}/action", {"action": "start"})
    assert (await _ended(owner, task))["output"].split() == ["ran"]


async def test_a_failure_says_how(owner: Person) -> None:
    """Exit code and output of a failed command are kept."""
    row = await _run(owner, "echo before; exit 3")
    assert (row["status"], row["exit_code"], row["output"].split()) == ("failed", 3, ["before"])


async def test_a_timeout_ends_the_task(owner: Person) -> None:
    """``timeout_sec`` is read and kept (the origin never read it)."""
    row = await _run(owner, "sleep 60", metadata={"timeout_sec": 1})
    assert (row["status"], row["status_reason"]) == ("failed", "timeout")


async def test_cancel_ends_a_running_task(owner: Person) -> None:
    """Cancel of a running task ends as cancelled, with its reason in the history."""
    task = await owner.task(1, command="sleep 600", auto_start=True)
    async with owner.stream(f"/tasks/{task}/stream") as stream:
        await stream.until("task.started")
    await owner.post(f"/tasks/{task}/cancel?reason=enough")
    assert (await _ended(owner, task))["status"] == "cancelled"
    timeline = (await owner.get(f"/tasks/{task}/timeline"))["items"]
    assert any("enough" in entry["summary"] for entry in timeline)


async def test_retry_runs_again_and_keeps_history(owner: Person) -> None:
    """The second attempt has its own output; the first one's can still be read."""
    row = await _run(owner, "echo attempt; exit 1")
    task = row["id"]
    again = await owner.post(f"/tasks/{task}/retry", {"reason": "try again"})
    assert again["status"] == "pending"
    async with owner.stream(f"/tasks/{task}/stream", str(row["position"])) as stream:
        await stream.until("task.failed")
    for attempt in (1, 2):
        shown = await owner.get(f"/tasks/{task}/output?attempt={attempt}")
        assert shown["output"].split() == ["attempt"]


async def test_concurrency_key_runs_one_at_a_time(owner: Person) -> None:
    """Two tasks with one key never run at once."""
    metadata = {"concurrency_key": "acceptance"}
    fields = {"command": "sleep 0.3", "auto_start": True, "metadata": metadata}
    tasks = [await owner.task(1, **fields) for _ in range(2)]
    first, second = sorted(
        await asyncio.gather(*(_ended(owner, task) for task in tasks)),
        key=lambda row: str(row["started_at"]),
    )
    assert first["completed_at"] <= second["started_at"]


async def test_events_are_resumed_over_a_whole_run(owner: Person) -> None:
    """Breaking off after every event loses and repeats none of them."""
    begin = (await owner.get("/tasks?limit=1"))["items"]
    last = str(begin[0]["position"]) if begin else "0"
    row = await _run(owner, "echo x")
    seen: list[int] = []
    while int(last) < row["position"]:
        async with owner.stream("/events", last) as stream:
            last = (await stream.next()).id
        seen.append(int(last))
    assert seen == sorted(set(seen))
    assert seen == list(range(seen[0], seen[-1] + 1))


async def test_an_idempotency_key_is_kept_through_a_run(owner: Person) -> None:
    """Repeating a filing after the task has run answers as the first time and runs nothing."""
    body = {"name": "once", "command": "echo once", "project_id": 1}
    key = {"Idempotency-Key": "acceptance-once"}
    _, first = await owner.call("POST", "/tasks", json=body, headers=key)
    await _ended(owner, first["id"])
    _, again = await owner.call("POST", "/tasks", json=body, headers=key)
    assert (again["id"], again["status"]) == (first["id"], "pending")
    executions = await owner.get(f"/tasks/{first['id']}/executions")
    assert executions["total"] == 1


async def test_etags_guard_changes(owner: Person) -> None:
    """A change based on an old version is refused and changes nothing."""
    task = await owner.task(1)
    reply, _ = await owner.call("PUT", f"/tasks/{task}", json={"name": "mine"})
    stale = {"If-Match": '"1"'}
    await owner.refused("PUT", f"/tasks/{task}", 412, json={"name": "theirs"}, headers=stale)
    present = {"If-Match": reply.headers["ETag"]}
    reply, _ = await owner.call("DELETE", f"/tasks/{task}", headers=present)
    assert reply.status == 204


async def test_projects_members_and_strangers(pandar: Pandar, owner: Person) -> None:
    """A user's own project, a guest let in and out, and a stranger who learns nothing."""
    alice = _somebody(pandar, owner, "alice")
    guest = _somebody(pandar, owner, "guest")
    stranger = _somebody(pandar, owner, "stranger")
    project = await alice.project("hers")
    task = await alice.task(project)
    member = {"user": "guest", "role": "viewer"}
    await alice.post(f"/projects/{project}/members", member)
    guest.position = alice.position
    assert (await guest.get(f"/tasks/{task}"))["project_id"] == project
    await guest.refused("POST", f"/tasks/{task}/execute", 403)
    await stranger.refused("GET", f"/tasks/{task}", 404)
    await stranger.refused("POST", f"/tasks/{task}/execute", 404)
    assert (await owner.call("GET", f"/projects/{project}"))[0].status == 200
    reply, _ = await alice.call("DELETE", f"/projects/{project}/members/guest")
    assert reply.status == 204
    guest.position = alice.position
    assert (await guest.get("/tasks"))["items"] == []


async def test_lists_and_numbers_agree(pandar: Pandar, owner: Person) -> None:
    """List, search, recent, running, stats and bulk tell the same story of one project."""
    bob = _somebody(pandar, owner, "bob")
    project = await bob.project("his")
    tasks = [await bob.task(project, name=f"needle {i}") for i in range(3)]
    assert (await bob.get(f"/tasks?project_id={project}"))["total"] == 3
    found = await bob.get("/tasks/search?q=needle")
    assert sorted(row["id"] for row in found["items"]) == tasks
    assert [row["id"] for row in await bob.get("/tasks/recent")] == tasks[::-1]
    assert await bob.get("/tasks/running") == []
    done = await bob.post("/tasks/bulk", {"task_ids": tasks, "action": "cancel"})
    assert done == {"successful": tasks, "failed": [], "total_processed": 3}
    await owner.get("/tasks?limit=1")
    bob.position = max(row["position"] for row in [await _ended(bob, task) for task in tasks])
    stats = await bob.get("/tasks/stats")
    assert (stats["total_tasks"], stats["cancelled_tasks"], stats["success_rate"]) == (3, 3, 0)


async def test_bad_input_harms_nobody(owner: Person) -> None:
    """A volley of bad requests gets its 4xx each, and the daemon goes on."""
    json_ = {"Content-Type": "application/json"}
    good = {"name": "t", "command": "true", "project_id": 1}
    for status, path, options in (
        (400, "/tasks", {"data": b"{", "headers": json_}),
        (400, "/tasks", {"data": b"[" * 100_000, "headers": json_}),
        (415, "/tasks", {"data": b"name=x"}),
        (422, "/tasks", {"json": {**good, "surprise": 1}}),
        (422, "/tasks", {"json": {**good, "command": "sudo reboot"}}),
        (422, "/tasks", {"json": {**good, "metadata": {"agent": "nobody"}}}),
        (422, "/tasks", {"json": {**good, "metadata": {"timeout_sec": -1}}}),
        (422, "/tasks", {"json": {**good, "scheduled_at": "2030-01-01T00:00:00"}}),
        (404, "/tasks", {"json": {**good, "project_id": 999_999}}),
        (422, "/tasks/x/cancel", {}),
        (404, "/tasks/999999/cancel", {}),
    ):
        await owner.refused("POST", path, status, **options)
    stranger = Person(owner.session, owner.base_url, owner.token[:-4] + "AAAA")
    await stranger.refused("GET", "/tasks", 401)
    assert (await _run(owner, "echo fine"))["status"] == "completed"


async def test_probes_and_metrics(pandar: Pandar, owner: Person) -> None:
    """Alive and ready, with the lags told apart, and metrics to scrape."""
    await _run(owner, "true")
    for path in ("/healthz", "/readyz"):
        async with owner.session.get(f"{pandar.base_url}{path}") as reply:
            assert reply.status == 200, await reply.text()
    async with owner.session.get(f"{pandar.base_url}/metrics") as reply:
        assert "pandar_http_requests_total" in await reply.text()
