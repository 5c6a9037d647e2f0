"""What the API and the dispatcher read, over a real log and real read models."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest

from events import project as was
from events import task as did
from events.task import Json, Priority, Status
from pandar_daemon.adapters.postgres.pool import pool
from pandar_daemon.adapters.postgres.task_reads import PgTaskReads
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import TaskFilter
from tests.support.clock import ManualClock
from tests.support.lives import created, execution, random_lives, started, statuses
from tests.support.reading import Scene, done, scene

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]


# --- one task --------------------------------------------------------------------------------


async def test_a_task_with_its_past(database_url: str) -> None:
    """The row, its executions and its timeline are JSON, times as text."""
    async with scene(database_url) as given:
        await given.add(42, created(metadata={"agent": "codex"}), did.StartRequested())
        await given.add(42, started(), done("fine"))
        await given.project()
        task = await given.tasks.get(42)
        assert task is not None
        assert (task["status"], task["metadata"]) == ("completed", {"agent": "codex"})
        assert (task["execution_id"], task["version"]) == (str(execution()), 4)
        assert task["created_at"].endswith("Z")
        (attempt,) = await given.tasks.executions(42)
        assert (attempt["status"], attempt["output_bytes"]) == ("completed", 9)
        assert attempt["usage"] == {"cpu_sec": 0.0, "max_rss_bytes": 0}
        told = await given.tasks.timeline(42, after=0, limit=3)
        assert [entry["type"] for entry in told] == [
            "task.created",
            "task.start_requested",
            "task.started",
        ]
        assert told[2]["data"]["runner_id"] == "r1"
        (last,) = await given.tasks.timeline(42, after=told[-1]["position"], limit=3)
        assert last["summary"] == "Completed after 2.0 s"


async def test_a_deleted_task_is_nowhere(database_url: str) -> None:
    """Not by id, not in a page, not in the counts, nor its past."""
    async with scene(database_url) as given:
        await given.add(42, created(), did.TaskDeleted(from_status=Status.PENDING))
        await given.project()
        assert await given.tasks.get(42) is None
        page = await given.tasks.page(TaskFilter(page=1))
        assert (page.items, page.total) == ([], 0)
        assert (await given.tasks.stats(None))["total_tasks"] == 0
        assert await given.tasks.timeline(42, after=0, limit=9) == []


async def test_before_anything_is_served_reads_are_unavailable(database_url: str) -> None:
    """A reader that comes too early is told so, not that there is nothing."""
    async with scene(database_url) as given:
        with pytest.raises(Unavailable):
            await given.tasks.get(1)
        assert await given.projects.position() == 0


async def test_without_a_database_reads_are_unavailable(database_url: str) -> None:
    """An outage is a 503, whatever asyncpg calls it."""
    async with pool(database_url) as database:
        pass
    with pytest.raises(Unavailable):
        await PgTaskReads(database, ManualClock()).get(1)


# --- counts ----------------------------------------------------------------------------------


async def test_stats(database_url: str) -> None:
    """Counts per status, waiting included; the rate is over what has ended."""
    async with scene(database_url) as given:
        failed = did.TaskFailed(
            execution_id=execution(),
            error="x",
            kind=did.FailureKind.EXIT_CODE,
            from_status=Status.RUNNING,
            duration_sec=4.0,
        )
        await given.add(1, created(1), started(), done("x"))
        await given.add(2, created(2), started(), failed)
        await given.add(3, created(3), started(), _ask(given))
        await given.add(4, created(4, project_id=2), project_id=2)
        await given.project()
        stats = await given.tasks.stats(frozenset({1}))
        assert stats == {
            "total_tasks": 3,
            "pending_tasks": 0,
            "running_tasks": 0,
            "waiting_confirmation_tasks": 1,
            "completed_tasks": 1,
            "failed_tasks": 1,
            "cancelled_tasks": 0,
            "success_rate": 50.0,
            "finished_executions": 2,
            "total_duration": 6.0,
            "average_duration": 3.0,
        }
        assert (await given.tasks.stats(None))["total_tasks"] == 4
        assert (await given.tasks.stats(frozenset()))["success_rate"] == 0.0


async def test_stats_equal_a_recount(database_url: str) -> None:
    """After random legal histories the counts are those of the tasks counted one by one."""
    async with scene(database_url) as given:
        given.position = await given.log.add_lives(random_lives(11, 30, steps=25))
        await given.project()
        stats = await given.tasks.stats(None)
        recount = list(statuses(await given.log.everything()).values())
        assert stats["total_tasks"] == len(recount)
        for status in Status:
            assert stats[f"{status.value}_tasks"] == recount.count(status)


def _ask(given: Scene, *, in_sec: float = 60) -> did.ConfirmationRequested:
    return did.ConfirmationRequested(
        confirmation_id=UUID(int=5),
        execution_id=execution(),
        gate="git_push",
        card={},
        card_sha256="00",
        expires_at=given.clock.now() + timedelta(seconds=in_sec),
    )


# --- projects --------------------------------------------------------------------------------


async def test_projects_members_and_roles(database_url: str) -> None:
    """A project with its members; the owner's role is owner, whatever else they are."""
    async with scene(database_url) as given:
        await given.log.add("project-1", was.ProjectCreated(project_id=1, name="one", owner="ann"))
        given.position = await given.log.add(
            "project-2",
            was.ProjectCreated(project_id=2, name="two", owner="bob"),
            was.MemberAdded(user="ann", role=was.MemberRole.VIEWER),
            was.MemberAdded(user="bob", role=was.MemberRole.MEMBER),
        )
        await given.project()
        assert await given.projects.position() == given.position
        assert [row["name"] for row in await given.projects.page(None)] == ["one", "two"]
        assert [row["id"] for row in await given.projects.page(frozenset({2}))] == [2]
        two = await given.projects.get(2)
        assert two is not None
        assert [(m["user"], m["role"]) for m in two["members"]] == [
            ("ann", "viewer"),
            ("bob", "member"),
        ]
        assert await given.projects.get(3) is None
        assert await given.projects.roles("ann") == {1: "owner", 2: "viewer"}
        assert await given.projects.roles("bob") == {2: "owner"}


# --- the queue -------------------------------------------------------------------------------


async def test_candidates_come_by_priority_then_age(database_url: str) -> None:
    """Urgent before old; what waits for its time, is not started or runs is left out."""
    async with scene(database_url) as given:
        await given.add(1, created(1), did.StartRequested())
        await given.add(2, created(2, priority=Priority.URGENT), did.StartRequested())
        await given.add(3, created(3), did.StartRequested())
        await given.add(4, created(4))
        await given.add(5, created(5), did.StartRequested(), started())
        late = given.clock.now() + timedelta(seconds=10)
        retried = did.TaskRetried(from_status=Status.FAILED, attempt=2, not_before=late)
        await given.add(6, created(6), started(), retried)
        await given.project()
        assert await given.queue.candidates(limit=10) == [2, 1, 3]
        assert await given.queue.candidates(limit=1) == [2]
        given.clock.advance(10)
        assert await given.queue.candidates(limit=10) == [2, 1, 3, 6]


async def test_a_held_key_blocks(database_url: str) -> None:
    """While one task holds the key of its project, others with it wait and say why."""
    async with scene(database_url) as given:
        metadata: Json = {"concurrency_key": "deploy"}
        await given.add(1, created(1, metadata=metadata), did.StartRequested())
        await given.add(2, created(2, project_id=2, metadata=metadata), did.StartRequested())
        await given.project()
        administrator = await asyncpg.connect(database_url)
        await administrator.execute(
            "INSERT INTO reservations VALUES ('concurrency', '1:deploy', 'task-9')"
        )
        await administrator.close()
        assert await given.queue.candidates(limit=10) == [2]
        blocked, free = await given.tasks.get(1), await given.tasks.get(2)
        assert blocked is not None
        assert free is not None
        assert (blocked["status_reason"], free["status_reason"]) == ("blocked_key", "queued")


async def test_what_time_makes_due(database_url: str) -> None:
    """Scheduled tasks and confirmations are due from their moment on."""
    async with scene(database_url) as given:
        at = given.clock.now() + timedelta(seconds=30)
        await given.add(1, created(1, scheduled_at=at))
        await given.add(2, created(2, scheduled_at=at), did.StartRequested())
        await given.add(3, created(3), started(), _ask(given, in_sec=30))
        await given.project()
        assert await given.queue.due(limit=5) == []
        assert await given.queue.expired_confirmations(limit=5) == []
        given.clock.advance(30)
        assert await given.queue.due(limit=5) == [(1, at)]
        assert await given.queue.expired_confirmations(limit=5) == [(3, UUID(int=5))]
