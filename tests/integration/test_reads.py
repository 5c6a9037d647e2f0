"""What the API and the dispatcher read, over a real log and real read models."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import UUID

import asyncpg
import pytest
from msgspec import Struct

from events import project as was
from events import task as did
from events.ids import task_stream
from events.task import Json, Priority, Status
from pandar_daemon.adapters.postgres.pool import pool
from pandar_daemon.adapters.postgres.project_reads import PgProjectReads
from pandar_daemon.adapters.postgres.task_reads import PgTaskReads
from pandar_daemon.adapters.postgres.task_search import TaskQuery
from pandar_daemon.adapters.postgres.work_queue import PgWorkQueue
from pandar_daemon.domain.refusals import Invalid, Unavailable
from pandar_daemon.ports import TaskFilter
from tests.support.clock import ManualClock
from tests.support.lives import created, execution, random_lives, started, statuses
from tests.support.log import Log, open_log, project_all

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]


class Scene(Struct):
    """A log and its readers."""

    log: Log
    clock: ManualClock
    tasks: PgTaskReads
    projects: PgProjectReads
    queue: PgWorkQueue
    position: int = 0

    async def add(self, task_id: int, *events: did.Event, project_id: int = 1) -> None:
        """Append to the stream of a task."""
        self.position = await self.log.add(task_stream(task_id), *events, project_id=project_id)

    async def project(self) -> None:
        """Bring the read models up to date."""
        await project_all(self.log, up_to=self.position)

    async def ids(self, **wanted: object) -> list[int]:
        """Return the ids of a page of tasks."""
        page = await self.tasks.page(TaskFilter(**wanted))  # type: ignore[arg-type]
        return [item["id"] for item in page.items]


@asynccontextmanager
async def scene(url: str) -> AsyncIterator[Scene]:
    """Yield a log with its readers."""
    async with open_log(url) as log:
        clock, database = ManualClock(), log.database
        yield Scene(
            log,
            clock,
            PgTaskReads(database, clock),
            PgProjectReads(database),
            PgWorkQueue(database, clock),
        )


def _done(text: str) -> did.TaskCompleted:
    return did.TaskCompleted(
        execution_id=execution(), exit_code=0, output_tail=text, duration_sec=2.0, output_bytes=9
    )


# --- one task --------------------------------------------------------------------------------


async def test_a_task_with_its_past(database_url: str) -> None:
    """The row, its executions and its timeline are JSON, times as text."""
    async with scene(database_url) as given:
        await given.add(42, created(metadata={"agent": "codex"}), did.StartRequested())
        await given.add(42, started(), _done("fine"))
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


# --- pages -----------------------------------------------------------------------------------


async def test_filters(database_url: str) -> None:
    """Each narrows; together they narrow further."""
    async with scene(database_url) as given:
        await given.add(1, created(1, priority=Priority.URGENT))
        await given.add(2, created(2, created_by="user:2"), did.StartRequested(), started())
        await given.add(3, created(3, project_id=2), project_id=2)
        await given.project()
        assert await given.ids() == [3, 2, 1]
        assert await given.ids(descending=False) == [1, 2, 3]
        assert await given.ids(projects=frozenset({1})) == [2, 1]
        assert await given.ids(projects=frozenset()) == []
        assert await given.ids(projects=frozenset({1}), project_id=2) == []
        assert await given.ids(status=frozenset({"running"})) == [2]
        assert await given.ids(priority=frozenset({"urgent", "low"})) == [1]
        assert await given.ids(created_by="user:2") == [2]
        created_at = (await given.tasks.page(TaskFilter(limit=1))).items[0]["created_at"]
        assert created_at.startswith("20")
        far = given.clock.now() + timedelta(days=36_500)
        assert await given.ids(date_from=far) == []
        assert await given.ids(date_to=far) == [3, 2, 1]


@pytest.mark.parametrize(
    "sort_by", ["created_at", "updated_at", "started_at", "priority", "status", "name"]
)
@pytest.mark.parametrize("descending", [True, False])
async def test_cursors_walk_everything_once(
    database_url: str, sort_by: str, descending: bool
) -> None:
    """Page by page, in any order, though new tasks come meanwhile: every old task exactly once."""
    async with scene(database_url) as given:
        for n in range(1, 24):
            await given.add(n, created(n, name=f"t{n % 3}", priority=list(Priority)[n % 4]))
        await given.project()
        whole = await given.ids(sort_by=sort_by, descending=descending, limit=100)
        seen: list[int] = []
        cursor, extra = None, 100
        while True:
            page = await given.tasks.page(
                TaskFilter(sort_by=sort_by, descending=descending, limit=5, cursor=cursor)
            )
            seen += [item["id"] for item in page.items]
            cursor = page.next
            if cursor is None:
                break
            extra += 1
            await given.add(extra, created(extra, name=f"t{extra % 3}"))
            await given.project()
        assert [task_id for task_id in seen if task_id < 100] == whole
        assert len(seen) == len(set(seen))


async def test_pages_by_number_count(database_url: str) -> None:
    """The total is that of all pages; past the end there is nothing."""
    async with scene(database_url) as given:
        for n in range(1, 8):
            await given.add(n, created(n))
        await given.project()
        page = await given.tasks.page(TaskFilter(page=2, limit=3))
        assert ([item["id"] for item in page.items], page.total) == ([4, 3, 2], 7)
        last = await given.tasks.page(TaskFilter(page=9, limit=3))
        assert (last.items, last.total, last.next) == ([], 7, None)
        assert (await given.tasks.page(TaskFilter(limit=3))).total is None


@pytest.mark.parametrize(
    "cursor",
    ["x", "", "e30", "bnVsbA", "WyJjcmVhdGVkX2F0Iix0cnVlLCJub3ciLDFd", "é", "\x00", "A" * 9],
)
async def test_a_forged_cursor_is_refused(database_url: str, cursor: str) -> None:
    """Garbage is named, never run."""
    async with scene(database_url) as given:
        with pytest.raises(Invalid, match="cursor"):
            await given.tasks.page(TaskFilter(cursor=cursor))


async def test_a_cursor_belongs_to_its_order(database_url: str) -> None:
    """It cannot be taken to another order, where it would skip."""
    async with scene(database_url) as given:
        for n in range(1, 4):
            await given.add(n, created(n))
        await given.project()
        cursor = (await given.tasks.page(TaskFilter(limit=1))).next
        with pytest.raises(Invalid, match="cursor"):
            await given.tasks.page(TaskFilter(limit=1, cursor=cursor, sort_by="name"))
        with pytest.raises(Invalid, match="cursor"):
            await given.tasks.page(TaskFilter(limit=1, cursor=cursor, descending=False))


@pytest.mark.parametrize("sort_by", ["relevance", "id; drop table events", ""])
async def test_an_unknown_order_is_refused(database_url: str, sort_by: str) -> None:
    """Relevance is one only when there is something to be relevant to."""
    async with scene(database_url) as given:
        with pytest.raises(Invalid, match="sort_by"):
            await given.tasks.page(TaskFilter(sort_by=sort_by))


# --- search ----------------------------------------------------------------------------------


async def _searchable(given: Scene) -> None:
    await given.add(1, created(1, name="Nightly audit", command="codex audit --fix"))
    await given.add(2, created(2, name="Deploy", description="ship the auditorium page"))
    await given.add(3, created(3, name="Build"), did.StartRequested(), started())
    await given.add(3, _done("warning: 100%_sure audit failed C:\\temp"))
    await given.add(4, created(4, name="漢字 naïve", command="echo 'quoted'"))
    await given.project()


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("audit", [3, 2, 1]),  # a word, a part of one, in the output
        ("AUDIT", [3, 2, 1]),
        ("nightly fix", [1]),  # words from two fields
        ("nightlly", [1]),  # misspelt
        ("100%_sure", [3]),
        ("1%s", []),  # not a wildcard
        ("a_dit", []),
        ("C:\\temp", [3]),
        ("漢字", [4]),
        ("'quoted'", [4]),
        ('"unbalanced', []),
        ("zebra", []),
        ("!!! & | :*", []),
        ("nul\x00", []),
        ("-fix nightly", []),
    ],
)
async def test_search_finds(database_url: str, search: str, found: list[int]) -> None:
    """Words, parts of words, misspelt names; and nothing one types is a wildcard or an error."""
    async with scene(database_url) as given:
        await _searchable(given)
        assert await given.ids(search=search) == found


async def test_search_ranks(database_url: str) -> None:
    """A hit in the name comes before one in the output; pages and totals work as ever."""
    async with scene(database_url) as given:
        await _searchable(given)
        assert (await given.ids(search="audit", sort_by="relevance"))[0] == 1
        first = await given.tasks.page(
            TaskFilter(search="audit", sort_by="relevance", limit=2, page=1)
        )
        assert first.total == 3
        rest = await given.ids(search="audit", sort_by="relevance", cursor=first.next, limit=2)
        assert sorted([item["id"] for item in first.items] + rest) == [1, 2, 3]


async def test_search_and_depth_use_indexes(database_url: str) -> None:
    """No page and no search reads the whole table when it could use an index."""
    async with scene(database_url) as given:
        await _searchable(given)
        deep = (await given.tasks.page(TaskFilter(limit=1))).next
        assert "Bitmap Index Scan" in await _plan(given, TaskFilter(search="audit"))
        page = await _plan(given, TaskFilter(cursor=deep))
        assert "Index Scan" in page
        assert "Sort" not in page


async def _plan(given: Scene, wanted: TaskFilter) -> str:
    sql, arguments = TaskQuery(wanted).page()
    async with given.log.database.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")
        rows = await connection.fetch(f"EXPLAIN {sql}", *arguments)
    return "\n".join(row[0] for row in rows)


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
        await given.add(1, created(1), started(), _done("x"))
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
