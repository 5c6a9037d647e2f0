"""Tasks and projects over HTTP, with real Postgres and NATS behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from events import task as did
from events.running import Outcome
from pandar_daemon.ports import Append, Appended
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


async def test_the_end_of_a_timeline(api: Api) -> None:
    """``last`` gives the newest entries in order; with ``after`` it would mean two things."""
    person = api.person()
    task = await person.task(await person.project())
    for name in ("a", "b", "c"):
        await person.call("PUT", f"/tasks/{task}", json={"name": name})
    whole = (await person.get(f"/tasks/{task}/timeline"))["items"]
    for last in (1, 2, 4, 500):
        found = await person.get(f"/tasks/{task}/timeline?last={last}")
        assert found == {"items": whole[-last:], "next_after": None}
    for asked in ("last=0", "last=501", "last=2&after=1"):
        problem = await person.refused("GET", f"/tasks/{task}/timeline?{asked}", 422)
        assert problem["errors"][0]["field"] == "last"


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


async def test_an_old_task_that_breaks_todays_rules_is_shown(api: Api) -> None:
    """What was accepted once is never validated again on read (the origin answered 500)."""
    person = api.person()
    project = await person.project()
    task = did.TaskCreated(
        task_id=900,
        project_id=project,
        name="x" * 500,
        command="sudo rm -rf /",
        created_by="1",
        metadata={"agent": "retired", "timeout_sec": -1},
    )
    verdict = await api.parts.store.append(
        Append(
            stream="task-900",
            expected_version=0,
            events=(task,),
            command_id="old",
            request_sha256=b"0" * 32,
            answer=b"{}",
            actor="user:1",
            project_id=project,
            correlation_id="old",
        )
    )
    assert isinstance(verdict, Appended)
    await api.settle(person)
    assert (await person.get("/tasks/900"))["command"] == "sudo rm -rf /"
    assert (await person.get("/tasks"))["total"] == 1
