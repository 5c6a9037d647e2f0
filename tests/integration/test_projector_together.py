"""Read models that move together: one transaction a batch, whatever overtakes, kills or poisons it.

`xmin` of a row is the transaction that wrote it: so transactions are counted, not guessed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg
import pytest
from msgspec import structs

from events import task as did
from events.envelope import Recorded
from events.ids import task_stream
from events.task import Event
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.postgres.event_store import PgEventStore
from pandar_daemon.adapters.postgres.pool import Database
from pandar_daemon.adapters.postgres.views import PgViews
from pandar_daemon.ports import Checkpoint, Move, Step
from pandar_daemon.services import projector as projectors
from pandar_daemon.services.feed import Feed
from pandar_daemon.services.pace import Pace
from pandar_daemon.services.projector import Projector
from projections.base import Change, ReadModel, Upsert
from projections.executions import EXECUTIONS
from projections.models import MODELS
from projections.stats import STATS
from projections.tasks import TASKS
from projections.timeline import TIMELINE
from tests.support.lives import created, random_lives
from tests.support.log import Log, SilentBus, assert_folded, open_log, project_all, running

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]


def projector_of(
    log: Log, views: PgViews | None = None, pace: Pace | None = None, **models: ReadModel
) -> Projector:
    """Return a projector whose parts a test may choose, not running."""
    feed = Feed(SilentBus(), log.store, poll_sec=0.01)
    return Projector(
        log.store,
        feed,
        views or PgViews(log.database),
        models=models or MODELS,
        poll_sec=0.02,
        pace=pace,
    )


class Away(Pace):
    """A pace at which the database goes away just when the projector is to stop."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.waits = asyncio.Event()

    async def kept(self) -> None:
        """Wait to be cancelled, and fail then."""
        self.waits.set()
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise ConnectionError("the database is away") from None


async def positions(log: Log) -> set[int]:
    """Return where the read models being served are."""
    return {at.position for at in await PgViews(log.database).checkpoints() if at.live}


async def test_a_projector_stops_though_it_fails_meanwhile(database_url: str) -> None:
    """An outage in the moment of the stop does not make it go on for ever."""
    async with open_log(database_url) as log:
        await log.projector().rebuild_all(MODELS)
        pace = Away()
        await log.add(task_stream(1), created())
        run = asyncio.create_task(projector_of(log, pace=pace).run())
        async with asyncio.timeout(30):
            await pace.waits.wait()
            run.cancel()
            await asyncio.wait({run})
        assert run.cancelled()


# --- pace ------------------------------------------------------------------------------------


class Held(Pace):
    """A pace that lets one more begin whenever a test says so."""

    def __init__(self) -> None:
        super().__init__(0.0)
        self.waits = asyncio.Event()
        self._let = asyncio.Semaphore(0)

    def let(self) -> None:
        """Let one more begin."""
        self.waits.clear()
        self._let.release()

    async def kept(self) -> None:
        """Wait for `let`."""
        self.waits.set()
        await self._let.acquire()


async def test_what_comes_while_it_waits_is_applied_at_once(database_url: str) -> None:
    """Twenty events, one after the other, cost one transaction when it may not begin sooner."""
    async with open_log(database_url) as log:
        await log.projector().rebuild_all(MODELS)
        pace = Held()
        projector = projector_of(log, pace=pace)
        async with asyncio.timeout(60), running(projector.run()):
            first = await log.add(task_stream(1), created(1))
            await projector.reached(first)
            await pace.waits.wait()
            for n in range(20):
                last = await log.add(task_stream(1), did.TaskUpdated(name=f"{n}"))
            assert await positions(log) == {first}
            pace.let()
            await projector.reached(last)
        rows = "SELECT count(DISTINCT xmin::text) FROM rm_timeline_1.timeline WHERE position > $1"
        assert await log.database.fetchval(rows, first) == 1
        await assert_folded(log)


async def test_all_models_are_written_by_one_transaction(database_url: str) -> None:
    """Six checkpoints, and the rows they stand for, have one writer."""
    async with open_log(database_url) as log:
        await log.projector().rebuild_all(MODELS)
        projector = log.projector()
        async with asyncio.timeout(60), running(projector.run()):
            await projector.reached(await log.add(task_stream(1), created(1)))
        tables = ("read_models", "rm_tasks_1.tasks", "rm_timeline_1.timeline")
        written = " UNION ".join(f"SELECT xmin::text FROM {table}" for table in tables)  # noqa: S608 - our own names
        assert len(await log.database.fetch(written)) == 1


# --- overtaken -------------------------------------------------------------------------------


class Overtaken(PgViews):
    """Views on which somebody else is sometimes faster, with some of the models."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.calls = 0

    async def apply(self, moves: Sequence[Move]) -> list[Checkpoint]:
        """Let another projector take one of the steps, every other time; then try all."""
        self.calls += 1
        if self.calls % 2 and len(moves) > 1:
            await super().apply([moves[self.calls // 2 % len(moves)]])
        return await super().apply(moves)


async def test_a_checkpoint_moved_elsewhere_holds_no_other_up(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the six one is always moved in between: nothing is applied twice or left out."""
    monkeypatch.setattr(projectors, "BATCH_MAX", 5)
    async with open_log(database_url) as log:
        await log.projector().rebuild_all(MODELS)
        last = await log.add_lives(random_lives(11, 10))
        views = Overtaken(log.database)
        projector = projector_of(log, views)
        async with asyncio.timeout(60), running(projector.run()):
            await projector.reached(last)
        assert views.calls > 12
        await assert_folded(log)


# --- killed ----------------------------------------------------------------------------------

_DEATHS = """
CREATE SEQUENCE deaths;
CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF nextval('public.deaths') % 9 = 0 THEN
        PERFORM pg_terminate_backend(pg_backend_pid());
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER die AFTER INSERT ON {table} EXECUTE FUNCTION die();
"""


@pytest.mark.parametrize("model", ["tasks", "stats"])
async def test_killed_between_two_models_it_has_applied_none(
    database_url: str, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its connection is killed in the middle of many a transaction; all models stay in step."""
    monkeypatch.setattr(projectors, "BATCH_MAX", 5)
    async with open_log(database_url) as log:
        await log.projector().rebuild_all(MODELS)
        await _let_die(database_url, f"rm_{model}_1.{MODELS[model].tables[0].name}")
        last = await log.add_lives(random_lives(12, 30))
        async with asyncio.timeout(60), running(log.projector().run()):
            while (at := await positions(log)) != {last}:
                assert len(at) == 1
        assert int(str(await log.database.fetchval("SELECT last_value FROM deaths"))) > 9 * 2
        await assert_folded(log)


async def _let_die(url: str, table: str) -> None:
    administrator = await asyncpg.connect(url)
    await administrator.execute(_DEATHS.format(table=table))
    await administrator.execute("GRANT SELECT ON deaths TO pandar_app")
    await administrator.close()


# --- poisoned --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "poison", [None, Upsert("tasks", (2**70,), {})], ids=["project raises", "the database refuses"]
)
async def test_poison_of_one_model_is_none_of_the_others(
    database_url: str, poison: Change | None
) -> None:
    """The stream is parked in the model that cannot take the event; all others have all of it."""

    def on(recorded: Recorded, event: Event) -> list[Change]:
        if recorded.stream != "task-3" or recorded.version != 2:
            return TASKS.on(recorded, event)
        if poison is None:
            raise RuntimeError("no")
        return [poison]

    async with open_log(database_url) as log:
        models = {**MODELS, "tasks": structs.replace(TASKS, on=on)}
        await log.projector(**models).rebuild_all(MODELS)
        for n in range(1, 5):
            await log.add(task_stream(n), created(n), did.StartRequested())
        last = await log.add(task_stream(3), did.TaskUpdated(name="later"))
        await project_all(log, up_to=last, **models)
        assert await positions(log) == {last}
        parked = await log.database.fetch("SELECT model, stream, position, skipped FROM parked")
        assert [tuple(row) for row in parked] == [("tasks", "task-3", 6, 1)]
        tasks = (await PgViews(log.database).rows(TASKS))[1]["tasks"]
        assert {key[0]: row["version"] for key, row in tasks.items()} == {1: 2, 2: 2, 3: 1, 4: 2}
        await assert_folded(log, *[model for model in MODELS.values() if model is not TASKS])


# --- rebuilt ---------------------------------------------------------------------------------


class Counting(PgEventStore):
    """A log that counts how often it is read on."""

    reads = 0

    async def read_all(self, *, after: int, limit: int) -> list[Recorded]:
        """Count, and read."""
        self.reads += 1
        return await super().read_all(after=after, limit=limit)


async def test_models_rebuilt_together_read_the_log_once(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are: each batch is read once, and the last tells that it is the last."""
    monkeypatch.setattr(projectors, "BATCH_MAX", 10)
    async with open_log(database_url) as log:
        last = await log.add_lives(random_lives(13, 10))
        log.store = Counting(database_url, log.database, SystemClock())
        heard = list[tuple[str, int]]()
        built = await log.projector().rebuild_all(MODELS, lambda *at: heard.append(at))
        assert log.store.reads == last // 10 + 1
        assert {at.model: at.position for at in built} == dict.fromkeys(MODELS, last)
        assert dict(heard) == dict.fromkeys(MODELS, last)
        for name in MODELS:
            assert [at for model, at in heard if model == name] == [*range(10, last, 10), last]
        await assert_folded(log)


async def test_models_are_rebuilt_together_beside_the_live_ones(database_url: str) -> None:
    """While events come and a projector runs, nothing is lost and all are swapped."""
    async with open_log(database_url) as log:
        last = await log.add_lives(random_lives(14, 10))
        projector, elsewhere = log.projector(), log.projector()
        async with asyncio.timeout(60), running(projector.run()):
            await projector.reached(last)
            async with asyncio.TaskGroup() as group:
                adding = group.create_task(
                    log.add_lives((n + 100, e) for n, e in random_lives(15, 20))
                )
                group.create_task(elsewhere.rebuild_all(MODELS))
            await projector.reached(adding.result())
        await assert_folded(log)
        live = [at for at in await PgViews(log.database).checkpoints() if at.live]
        assert {at.generation for at in live} == {2}


async def test_who_follows_notices_that_others_are_served_now(database_url: str) -> None:
    """A rebuild elsewhere swapped all models: the next event reaches those, not the ones before."""
    async with open_log(database_url) as log:
        last = await log.add_lives(random_lives(16, 5))
        feed = Feed(SilentBus(), log.store, poll_sec=0.01)
        projector = Projector(log.store, feed, PgViews(log.database), poll_sec=3_600.0)
        async with asyncio.timeout(60), running(projector.run()):
            await projector.reached(last)
            await log.projector().rebuild_all(MODELS)
            last = await log.add_lives((n + 100, e) for n, e in random_lives(17, 1))
            await projector.reached(last)
            live = [at for at in await PgViews(log.database).checkpoints() if at.live]
            assert {(at.generation, at.position) for at in live} == {(2, last)}


async def test_models_at_different_positions_are_built_together(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was built before is not built again, and the others start from where they are."""
    monkeypatch.setattr(projectors, "BATCH_MAX", 7)
    async with open_log(database_url) as log:
        await log.add_lives(random_lives(16, 5))
        history, views = await log.everything(), PgViews(log.database)
        for model, upto in ((TIMELINE, 9), (STATS, 20), (EXECUTIONS, 14)):
            changes = [change for one in history[:upto] for change in model.project(one)]
            step = Step(position=upto, changes=changes)
            await views.apply([Move(model=model, at=await views.begin(model, beside=0), step=step)])
        await log.projector().rebuild_all(MODELS)
        await assert_folded(log)
