"""What is done to tasks over HTTP, and by whom; with real Postgres and NATS behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from events.running import Outcome
from events.task import FailureKind
from tests.support.api import Api, running_api


@pytest.fixture
async def api(database_url: str, nats_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """Return a running API without a runner."""
    async with running_api(database_url, nats_url, tmp_path) as running:
        yield running


async def test_retry_answers_the_task_and_keeps_history(api: Api) -> None:
    """Retry of a failed task is a 200 with its row, and the first attempt stays listed."""
    person = api.person()
    task = await person.task(await person.project(), auto_start=True)
    work = await api.claim()
    await api.finish(
        work, outcome=Outcome.FAILED, exit_code=3, error="boom", kind=FailureKind.EXIT_CODE
    )
    row = await person.post(f"/tasks/{task}/retry")
    assert (row["status"], row["error"]) == ("pending", "boom")
    await api.finish(await api.claim())
    await api.settle(person)
    found = await person.get(f"/tasks/{task}/executions")
    assert [(x["attempt"], x["status"], x["exit_code"]) for x in found["items"]] == [
        (1, "failed", 3),
        (2, "completed", 0),
    ]
    assert found["items"][0]["id"] == str(work.execution_id)
    assert (found["total"], found["page"], found["limit"]) == (2, 1, 20)


async def test_a_waiting_task_is_confirmed_once_and_goes_on(api: Api) -> None:
    """Confirm puts it back to running with its start kept; confirming again changes nothing."""
    person = api.person()
    task = await person.task(await person.project(), auto_start=True)
    work = await api.claim()
    expires = datetime.now(UTC) + timedelta(hours=1)
    await api.gate(work, api.parts.clock.new_id(), expires)
    await api.settle(person)
    waiting = await person.get(f"/tasks/{task}")
    assert (waiting["status"], waiting["status_reason"]) == (
        "waiting_confirmation",
        "gate:git_push_protected",
    )
    row = await person.post(f"/tasks/{task}/confirm")
    assert row["status"] == "running"
    assert row["started_at"] == waiting["started_at"]
    body = {"decision": "approve", "confirmation_id": str(api.parts.clock.new_id())}
    await person.refused("POST", f"/tasks/{task}/confirm", 409, json=body)


async def test_a_waiting_task_can_be_cancelled(api: Api) -> None:
    """Cancel is accepted in waiting_confirmation (the origin refused it)."""
    person = api.person()
    task = await person.task(await person.project(), auto_start=True)
    work = await api.claim()
    await api.gate(work, api.parts.clock.new_id(), datetime.now(UTC) + timedelta(hours=1))
    row = await person.post(f"/tasks/{task}/action", {"action": "cancel", "reason": "no"})
    assert row["status_reason"] == "cancel_requested"


async def test_an_impossible_action_names_the_state(api: Api) -> None:
    """A 409 says in which state the task is."""
    person = api.person()
    task = await person.task(await person.project())
    problem = await person.refused("POST", f"/tasks/{task}/retry", 409)
    assert problem["state"] == "pending"


async def test_bulk_tells_what_failed_and_does_the_rest(api: Api) -> None:
    """Two of three are cancelled, the unknown one is named; its key makes a repeat harmless."""
    person = api.person()
    project = await person.project()
    tasks = [await person.task(project) for _ in range(2)]
    body = {"task_ids": [*tasks, 999_999, tasks[0]], "action": "cancel", "reason": "tidy"}
    for _ in range(2):
        found = await person.post("/tasks/bulk", body, headers={"Idempotency-Key": "k" * 64})
        assert found["successful"] == tasks
        assert found["failed"][0]["task_id"] == 999_999
        assert "999999" in found["failed"][0]["error"]
        assert found["total_processed"] == 3


async def test_delete_hides_the_task(api: Api) -> None:
    """DELETE is a 204 without a body; the task is in no list any more."""
    person = api.person()
    task = await person.task(await person.project())
    reply, body = await person.call("DELETE", f"/tasks/{task}?reason=mistake")
    assert (reply.status, body) == (204, "")
    assert (await person.get("/tasks"))["items"] == []
    await person.refused("DELETE", f"/tasks/{task}", 404)


async def test_nobody_learns_of_what_is_not_theirs(api: Api) -> None:
    """A stranger gets 404 for every path of a task and project, and never sees them in lists."""
    owner, stranger = api.person("1"), api.person("2")
    project = await owner.project()
    task = await owner.task(project)
    stranger.position = owner.position
    for path in ("", "/output", "/logs", "/executions", "/timeline", "/stream", "?at=9"):
        await stranger.refused("GET", f"/tasks/{task}{path}", 404)
    for action in ("confirm", "cancel", "retry", "execute"):
        await stranger.refused("POST", f"/tasks/{task}/{action}", 404)
    await stranger.refused("PUT", f"/tasks/{task}", 404, json={"name": "x"})
    await stranger.refused("DELETE", f"/tasks/{task}", 404)
    for path in (f"/projects/{project}", f"/projects/{project}/members"):
        await stranger.refused("GET", path, 404)
    await stranger.refused("GET", f"/tasks?project_id={project}", 404)
    await stranger.refused("GET", f"/tasks/stats?project_id={project}", 404)
    await stranger.refused("GET", f"/events?project_id={project}", 404)
    body = {"name": "t", "command": "true", "project_id": project}
    await stranger.refused("POST", "/tasks", 404, json=body)
    assert (await stranger.get("/tasks"))["items"] == []
    assert (await stranger.get("/projects"))["items"] == []


async def test_members_come_and_go(api: Api) -> None:
    """A member added as viewer sees and may not write; removed, they see nothing again."""
    owner, guest = api.person("1"), api.person("guest@example.org")
    project = await owner.project()
    task = await owner.task(project)
    added = await owner.post(
        f"/projects/{project}/members", {"user": "guest@example.org", "role": "viewer"}
    )
    assert [(m["user"], m["role"]) for m in added["members"]] == [("guest@example.org", "viewer")]
    guest.position = owner.position
    assert (await guest.get(f"/tasks/{task}"))["id"] == task
    problem = await guest.refused("POST", f"/tasks/{task}/cancel", 403)
    assert "task:execute" in problem["detail"]
    assert (await guest.get(f"/projects/{project}"))["members"] == added["members"]
    assert (await guest.get(f"/projects/{project}/members"))["items"] == added["members"]
    path = f"/projects/{project}/members/guest@example.org"
    reply, _ = await owner.call("DELETE", path)
    assert reply.status == 204
    guest.position = owner.position
    await guest.refused(
        "GET", f"/tasks/{task}", 404, headers={"Pandar-Min-Position": str(owner.position)}
    )


async def test_a_project_is_answered_as_it_is_read(api: Api) -> None:
    """What POST and PUT answer is exactly what GET shows."""
    person = api.person()
    reply, made = await person.call("POST", "/projects/", json={"name": "one"})
    assert (reply.status, reply.headers["Location"]) == (201, f"/api/v1/projects/{made['id']}")
    assert await person.get(f"/projects/{made['id']}") == made
    _, changed = await person.call("PUT", f"/projects/{made['id']}", json={"name": "two"})
    assert await person.get(f"/projects/{made['id']}") == changed
    listed = await person.get("/projects?search=TWO")
    assert [row["id"] for row in listed["items"]] == [made["id"]]
    assert (listed["total"], listed["page"], listed["pages"]) == (1, 1, 1)
