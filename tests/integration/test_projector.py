"""The projector, over a real log: exactly once, whatever dies, races or cannot be read."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import structs

from events import task as did
from events.envelope import Recorded
from events.ids import task_stream
from events.task import Event
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.postgres.task_reads import PgTaskReads
from pandar_daemon.adapters.postgres.views import PgViews
from pandar_daemon.ports import Checkpoint, Move, Step, TaskFilter
from pandar_daemon.services import projector as projectors
from projections.base import Change, ReadModel, Upsert
from projections.models import MODELS
from projections.stats import STATS
from projections.tasks import TASKS
from projections.timeline import TIMELINE
from tests.support.lives import created, random_lives
from tests.support.log import assert_folded, open_log, project_all, running

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]


async def test_what_is_served_is_the_fold_of_the_log(database_url: str) -> None:
    """From an empty database, through events that come while it runs, to the end of the log."""
    async with open_log(database_url) as log:
        await log.add_lives(random_lives(1, 10))
        projector = log.projector()
        async with asyncio.timeout(30), running(projector.run()):
            last = await log.add_lives((n + 100, e) for n, e in random_lives(2, 10))
            await projector.reached(last)
            assert projector.position == last
        await assert_folded(log)


async def test_two_projectors_at_once_apply_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two that race for every step leave what one alone would."""
    monkeypatch.setattr(projectors, "BATCH_MAX", 7)
    async with open_log(database_url) as log:
        one, other = log.projector(), log.projector()
        async with asyncio.timeout(60), running(one.run(), other.run()):
            last = await log.add_lives(random_lives(3, 20))
            await one.reached(last)
            await other.reached(last)
        await assert_folded(log)


async def test_a_projector_may_die_at_any_moment(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled again and again, amid whatever it does, it loses and doubles nothing."""
    monkeypatch.setattr(projectors, "BATCH_MAX", 3)
    rng = random.Random(4)
    async with open_log(database_url) as log:
        last = await log.add_lives(random_lives(4, 20))
        for _ in range(30):
            async with running(log.projector().run()):
                for _ in range(rng.randrange(200)):
                    await asyncio.sleep(0)
        await project_all(log, up_to=last)
        await assert_folded(log)


def _poisoned(model: ReadModel, at: Callable[[Recorded], bool], change: Change | None) -> ReadModel:
    def on(recorded: Recorded, event: Event) -> list[Change]:
        if at(recorded):
            if change is None:
                msg = "cannot be\x00 read"
                raise RuntimeError(msg)
            return [change]
        return model.on(recorded, event)

    return structs.replace(model, on=on)


@pytest.mark.parametrize(
    "change",
    [None, Upsert("tasks", (2**70,), {})],
    ids=["project raises", "the database refuses"],
)
async def test_poison_parks_its_stream_only(database_url: str, change: Change | None) -> None:
    """Of the stream everything before the event is there, nothing after; others are complete."""
    async with open_log(database_url) as log:
        for n in range(1, 6):
            await log.add(task_stream(n), created(n), did.StartRequested())
        await log.add(task_stream(3), did.TaskUpdated(name="poison"))
        await log.add(task_stream(3), did.TaskUpdated(name="later"))
        last = await log.add(task_stream(4), did.TaskUpdated(name="later"))
        model = _poisoned(TASKS, lambda one: one.stream == "task-3" and one.version == 3, change)
        await project_all(log, up_to=last, tasks=model)
        position, tables = await PgViews(log.database).rows(TASKS)
        assert position == last
        assert {key[0]: row["name"] for key, row in tables["tasks"].items()} == {
            1: "Nightly audit",
            2: "Nightly audit",
            3: "Nightly audit",
            4: "later",
            5: "Nightly audit",
        }
        parked = await log.database.fetch("SELECT stream, position, skipped FROM parked")
        assert [tuple(row) for row in parked] == [("task-3", 11, 1)]


async def test_parked_streams_stay_parked_after_a_restart(database_url: str) -> None:
    """What comes later to a parked stream is skipped by the next projector too."""
    async with open_log(database_url) as log:
        last = await log.add(task_stream(3), created(3))
        model = _poisoned(TASKS, lambda one: one.position == 1, None)
        await project_all(log, up_to=last, tasks=model)
        last = await log.add(task_stream(3), did.StartRequested())
        await project_all(log, up_to=last, tasks=model)
        assert (await PgViews(log.database).rows(TASKS))[1]["tasks"] == {}
        assert await log.database.fetchval("SELECT skipped FROM parked") == 1


async def test_rebuilding_heals_what_was_parked(database_url: str) -> None:
    """A new generation knows nothing of the poison of the old one."""
    async with open_log(database_url) as log:
        last = await log.add(task_stream(3), created(3), did.StartRequested())
        await project_all(log, up_to=last, tasks=_poisoned(TASKS, lambda _: True, None))
        await log.projector(tasks=TASKS).rebuild("tasks")
        await assert_folded(log, TASKS)


async def test_rebuilding_beside_the_live_one(database_url: str) -> None:
    """While events come and a projector runs, rebuilding everything changes nothing one sees."""
    async with open_log(database_url) as log:
        last = await log.add_lives(random_lives(5, 10))
        projector, elsewhere = log.projector(), log.projector()
        async with asyncio.timeout(60), running(projector.run()):
            await projector.reached(last)
            async with asyncio.TaskGroup() as group:
                adding = group.create_task(
                    log.add_lives((n + 100, e) for n, e in random_lives(6, 20))
                )
                for name in MODELS:
                    await elsewhere.rebuild(name)
            await projector.reached(adding.result())
        await assert_folded(log)
        live = [at for at in await PgViews(log.database).checkpoints() if at.live]
        assert {at.generation for at in live} == {2}


async def test_a_newer_version_is_built_beside_and_swapped(database_url: str) -> None:
    """The old version is served until the new one is complete, then dropped."""
    async with open_log(database_url) as log:
        last = await log.add_lives(random_lives(7, 5))
        await project_all(log, up_to=last, tasks=TASKS)
        newer = structs.replace(TASKS, version=TASKS.version + 1)
        projector = log.projector(tasks=newer)
        async with asyncio.timeout(30), running(projector.run()):
            await projector.reached(last)
            views = PgViews(log.database)
            while len(known := await views.checkpoints()) > 1:  # noqa: ASYNC110 - in Postgres
                await asyncio.sleep(0.01)
        assert [(at.generation, at.version, at.live) for at in known] == [(2, newer.version, True)]
        await assert_folded(log, newer)


async def test_a_newer_release_is_left_alone(database_url: str) -> None:
    """An older projector neither serves nor feeds a model whose version it does not know."""
    async with open_log(database_url) as log:
        last = await log.add(task_stream(1), created(1))
        newer = structs.replace(TASKS, version=TASKS.version + 1)
        await project_all(log, up_to=last, tasks=newer)
        last = await log.add(task_stream(2), created(2))
        both = {"tasks": TASKS, "stats": STATS}
        projector = log.projector(**both)
        async with asyncio.timeout(30), running(projector.run()):
            views = PgViews(log.database)
            while not _at(await views.checkpoints(), "stats", last):  # noqa: ASYNC110 - in Postgres
                await asyncio.sleep(0.01)
        assert _at(await views.checkpoints(), "tasks", 1)


def _at(known: list[Checkpoint], model: str, position: int) -> bool:
    return any(at.model == model and at.live and at.position == position for at in known)


async def test_readers_notice_no_swap(database_url: str) -> None:
    """A reader that reads all the time sees every task in every answer, through many swaps."""
    async with open_log(database_url) as log:
        for n in range(1, 51):
            last = await log.add(task_stream(n), created(n))
        await project_all(log, up_to=last)
        reads = PgTaskReads(log.database, SystemClock())
        done = asyncio.Event()

        async def read() -> int:
            answers = 0
            while not done.is_set():
                page = await reads.page(TaskFilter(limit=100, page=1))
                assert (len(page.items), page.total) == (50, 50)
                answers += 1
            return answers

        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            readers = [group.create_task(read()) for _ in range(3)]
            for _ in range(5):
                await log.projector().rebuild("tasks")
            done.set()
        assert all(reader.result() for reader in readers)


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(1, 9), min_size=1))
async def test_batches_do_not_matter(database_url: str, seed: int, cuts: list[int]) -> None:
    """However the log is cut into batches, any legal history ends in its fold."""
    async with open_log(database_url) as log:
        offset = int(str(await log.database.fetchval("SELECT position FROM log_head")))
        lives = random_lives(seed, 4, steps=15)
        await log.add_lives((task_id + 3 * offset, event) for task_id, event in lives)
        history = await log.everything()
        views = PgViews(log.database)
        for model in (TASKS, TIMELINE, STATS):
            served = [at.generation for at in await views.checkpoints() if at.model == model.name]
            at = await views.begin(model, beside=max(served, default=0))
            rest, n = history, 0
            while rest:
                batch, rest = rest[: cuts[n % len(cuts)]], rest[cuts[n % len(cuts)] :]
                changes = [change for one in batch for change in model.project(one)]
                step = Step(position=batch[-1].position, changes=changes)
                [at] = await views.apply([Move(model=model, at=at, step=step)])
                n += 1
            assert await views.swap(model, at)
            await assert_folded(log, model)


async def test_an_outage_is_waited_out(database_url: str) -> None:
    """All connections cut at once, it goes on where it was."""
    async with open_log(database_url) as log:
        await log.add_lives(random_lives(8, 5))
        projector = log.projector()
        async with asyncio.timeout(30), running(projector.run()):
            await projector.reached(1)
            await _cut_connections(database_url)
            last = await log.add_lives((n + 100, e) for n, e in random_lives(9, 5))
            await projector.reached(last)
        await assert_folded(log)


async def _cut_connections(url: str) -> None:

    administrator = await asyncpg.connect(url)
    await administrator.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    await administrator.close()
