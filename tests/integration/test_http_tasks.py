"""Tasks and projects over HTTP, with real Postgres and NATS behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from events.commands import Outcome
from events.task import FailureKind
from tests.support.api import Api, running_api


@pytest.fixture
async def api(database_url: str, nats_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """Return a running API without a runner."""
    async with running_api(database_url, nats_url, tmp_path) as running:
        yield running


async def test_a_filed_task_is_answered_whole_and_can_be_read_at_once(api: Api) -> None:
    """POST answers 201 with the row, its place, its version and its position; GET shows it."""
    person = api.person()
    project = await person.project()
    body = {"name": "Nightly audit", "command": "codex audit --fix", "project_id": project}
    reply, row = await person.call("POST", "/tasks/", json=body)
    assert reply.status == 201
    assert reply.headers["Location"] == f"/api/v1/tasks/{row['id']}"
    assert reply.headers["ETag"] == f'"{row["version"]}"'
    assert int(reply.headers["Pandar-Position"]) == row["position"]
    assert (row["status"], row["status_reason"]) == ("pending", "queued")
    assert row["created_by"] == "1"
    assert await person.get(f"/tasks/{row['id']}") == row


async def test_auto_start_false_leaves_the_task_alone(api: Api) -> None:
    """A task filed with auto_start false waits for its start, and execute starts it."""
    person = api.person()
    task = await person.task(await person.project())
    assert (await person.get(f"/tasks/{task}"))["status_reason"] is None
    assert (await person.post(f"/tasks/{task}/execute"))["status_reason"] == "queued"


async def test_an_idempotency_key_repeats_the_first_answer(api: Api) -> None:
    """The same key and body give the same task; another body under it is a 409."""
    person = api.person()
    project = await person.project()
    body = {"name": "once", "command": "true", "project_id": project}
    key = {"Idempotency-Key": '"abc-1"'}
    first, row = await person.call("POST", "/tasks", json=body, headers=key)
    bare = {"Idempotency-Key": "abc-1"}
    again, same = await person.call("POST", "/tasks", json=body, headers=bare)
    assert (first.status, again.status) == (201, 201)
    assert row == same
    assert again.headers["Pandar-Command-Id"] == "abc-1"
    other = {**body, "name": "twice"}
    problem = await person.refused("POST", "/tasks", 409, json=other, headers=key)
    assert problem["type"].endswith("command-id-reused")
    assert (await person.get("/tasks"))["total"] == 1


async def test_a_stale_if_match_changes_nothing(api: Api) -> None:
    """PUT with the ETag of an older version is a 412; with the present one it is done."""
    person = api.person()
    task = await person.task(await person.project())
    stale = {"If-Match": '"1"'}
    reply, _ = await person.call("PUT", f"/tasks/{task}", json={"name": "b"}, headers=stale)
    assert reply.status == 200
    await person.refused("PUT", f"/tasks/{task}", 412, json={"name": "c"}, headers=stale)
    present = {"If-Match": reply.headers["ETag"]}
    _, row = await person.call("PUT", f"/tasks/{task}", json={"name": "c"}, headers=present)
    assert row["name"] == "c"


async def test_an_unchanged_task_is_not_sent_again(api: Api) -> None:
    """If-None-Match with the present ETag is a 304 without a body."""
    person = api.person()
    task = await person.task(await person.project())
    reply, _ = await person.call("GET", f"/tasks/{task}")
    tag = {"If-None-Match": f'"x", W/{reply.headers["ETag"]}'}
    again, body = await person.call("GET", f"/tasks/{task}", headers=tag)
    assert (again.status, body) == (304, "")


async def test_a_task_can_be_seen_as_it_was(api: Api) -> None:
    """``?at=`` a position or a time folds the stream to that moment, deleted or not since."""
    person = api.person()
    task = await person.task(await person.project(), name="first")
    before = person.position
    _, row = await person.call("PUT", f"/tasks/{task}", json={"name": "second"})
    await person.call("DELETE", f"/tasks/{task}")
    assert (await person.get(f"/tasks/{task}?at={before}"))["name"] == "first"
    assert (await person.get(f"/tasks/{task}?at={row['updated_at']}"))["name"] == "second"
    await person.refused("GET", f"/tasks/{task}?at=1", 404)
    await person.refused("GET", f"/tasks/{task}", 404)


async def test_metadata_put_is_kept(api: Api) -> None:
    """A PUT of metadata is there on the next read (the origin lost it)."""
    person = api.person()
    task = await person.task(await person.project(), metadata={"agent": "codex", "mine": [1]})
    new = {"agent": "claude", "mine": {"deep": True}}
    await person.call("PUT", f"/tasks/{task}", json={"metadata": new})
    assert (await person.get(f"/tasks/{task}"))["metadata"] == new


async def test_pages_are_stable_by_cursor(api: Api) -> None:
    """Walking by cursor sees each task once, in order, though others are filed meanwhile."""
    person = api.person()
    project = await person.project()
    filed = [await person.task(project, name=f"n{i}") for i in range(7)]
    seen: list[int] = []
    page = await person.get("/tasks?limit=3&sort_order=desc")
    assert (page["total"], page["page"], page["limit"], page["pages"]) == (7, 1, 3, 3)
    while True:
        seen += [row["id"] for row in page["items"]]
        if page["next_cursor"] is None:
            break
        await person.task(project, name="meanwhile")
        page = await person.get(f"/tasks?limit=3&cursor={page['next_cursor']}")
        assert "total" not in page
    assert seen == sorted(filed, reverse=True)


async def test_filters_narrow_the_list(api: Api) -> None:
    """Status, priority, search and dates each leave only what fits them."""
    person = api.person()
    project = await person.project()
    urgent = await person.task(project, name="fix login", priority="urgent")
    await person.task(project, name="tidy up", priority="low")
    both = "status=pending&priority=urgent"
    for query in ("priority=urgent", "priority=urgent,high", "search=login", both):
        assert [row["id"] for row in (await person.get(f"/tasks?{query}"))["items"]] == [urgent]
    future = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert (await person.get("/tasks", params={"date_from": future}))["items"] == []
    found = await person.get("/tasks/search?q=login")
    assert [row["id"] for row in found["items"]] == [urgent]


async def test_recent_and_running_are_bare_lists(api: Api) -> None:
    """GET /recent and /running answer lists (the origin's /running failed on its own rule)."""
    person = api.person()
    project = await person.project()
    await person.task(project)
    ran = await person.task(project, auto_start=True)
    work = await api.claim()
    await api.settle(person)
    assert [row["id"] for row in await person.get("/tasks/running")] == [ran] == [work.task_id]
    assert len(await person.get("/tasks/recent?limit=5")) == 2


async def test_success_counts_terminal_tasks_only(api: Api) -> None:
    """With one completed, one failed and two pending tasks the success rate is 50 percent."""
    person = api.person()
    project = await person.project()
    for outcome in (Outcome.COMPLETED, Outcome.FAILED):
        await person.task(project, auto_start=True)
        await api.finish(await api.claim(), duration_sec=2.0, outcome=outcome)
    for _ in range(2):
        await person.task(project)
    stats = await person.get("/tasks/stats")
    assert (stats["total_tasks"], stats["pending_tasks"], stats["completed_tasks"]) == (4, 2, 1)
    assert (stats["failed_tasks"], stats["waiting_confirmation_tasks"]) == (1, 0)
    assert (stats["success_rate"], stats["average_duration"]) == (50.0, 2.0)
    assert await person.get(f"/tasks/stats?project_id={project}") == stats


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


async def test_a_position_never_reached_is_a_503(api: Api) -> None:
    """A read that waits for a position that does not come gives up and says when to try again."""
    person = api.person()
    later = {"Pandar-Min-Position": "9000000"}
    reply, _ = await person.call("GET", "/tasks", headers=later)
    assert (reply.status, reply.headers["Retry-After"]) == (503, "1")


async def test_the_timeline_goes_on_after_a_position(api: Api) -> None:
    """Pages of the timeline follow each other without a gap or a repeat."""
    person = api.person()
    task = await person.task(await person.project())
    for name in ("a", "b", "c"):
        await person.call("PUT", f"/tasks/{task}", json={"name": name})
    first = await person.get(f"/tasks/{task}/timeline?limit=3")
    rest = await person.get(f"/tasks/{task}/timeline?limit=3&after={first['next_after']}")
    types = [entry["type"] for entry in first["items"] + rest["items"]]
    assert types == ["task.created", *["task.updated"] * 3]
    assert rest["next_after"] is None


async def test_many_at_once_get_one_task_per_key(api: Api) -> None:
    """Twenty racing requests with one Idempotency-Key make exactly one task."""
    person = api.person()
    project = await person.project()
    body = {"name": "race", "command": "true", "project_id": project}
    calls = [
        person.call("POST", "/tasks", json=body, headers={"Idempotency-Key": "race"})
        for _ in range(20)
    ]
    answers = await asyncio.gather(*calls)
    assert {reply.status for reply, _ in answers} == {201}
    assert len({row["id"] for _, row in answers}) == 1
    assert (await person.get("/tasks"))["total"] == 1
