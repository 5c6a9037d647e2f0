"""`pandar verify` finds every kind of damage, made behind Pandar's back, and none where none is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import asyncpg
import msgspec
import pytest
from msgspec import Raw, Struct

from events import subjects
from events.envelope import Recorded
from events.task import Status
from pandar_daemon.adapters.nats import cloudevents
from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.adapters.nats.events import NatsEventStream
from pandar_daemon.adapters.nats.jetstream import JetStream
from pandar_daemon.adapters.postgres.audit import PgLogAudit
from pandar_daemon.adapters.postgres.views import PgViews
from pandar_daemon.services import verification as service
from pandar_daemon.services.verification import Check, Verification
from tests.support.bus import PATIENCE_SEC, connected, recorded
from tests.support.clock import ManualClock
from tests.support.desk import Desk, desk


class Scene(Struct):
    """A log with some history, its read models, and a bus."""

    at: Desk
    bus: NatsConnection
    administrator: asyncpg.Connection
    progress: list[tuple[str, int, int]] = []

    async def check(self, name: str) -> Check:
        """Return the answer to one question."""
        return (await self.checks())[name]

    async def checks(self) -> dict[str, Check]:
        """Return all answers by name."""
        views = PgViews(self.at.log.database)
        report = await Verification(
            store=self.at.log.store,
            audit=PgLogAudit(self.at.log.database),
            bus=NatsEventStream(self.bus),
            views=views,
            served=views,
            progress=lambda *told: self.progress.append(told),
        ).run()
        return {check.name: check for check in report.checks}

    async def damage(self, *statements: str) -> None:
        """Do as the administrator what Pandar never would."""
        for statement in statements:
            done = await self.administrator.execute(statement)
            assert not done.endswith(" 0"), statement

    async def publish(self, change: Callable[[Recorded], Recorded] = lambda one: one) -> None:
        """Put the log on the bus, changed in a way."""
        stream = NatsEventStream(self.bus)
        await stream.open(1)
        await stream.publish([change(each) for each in await self.at.log.everything()])


@pytest.fixture
async def scene(
    database_url: str, nats_url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Scene]:
    """Return a log where one task is done, one runs, one waits; nothing is on the bus yet."""
    monkeypatch.setattr(service, "PATIENCE_SEC", 0.0)
    administrator = await asyncpg.connect(database_url)
    async with desk(database_url, clock) as at, connected(nats_url) as bus:
        project = await at.project()
        for _ in range(2):
            await at.task(project, metadata={"concurrency_key": f"k{_}"})
        await at.settle()
        done, _runs = await at.claim(2)
        assert (await at.finish(done)).status is Status.COMPLETED
        await at.task(project)
        await at.settle()
        yield Scene(at, bus, administrator)
    administrator.terminate()


async def test_nothing_is_found_where_nothing_is_wrong(scene: Scene) -> None:
    """Every answer is yes, and says how much was looked at."""
    await scene.publish()
    checks = await scene.checks()
    assert {name: check.ok for name, check in checks.items()} == dict.fromkeys(checks, True)
    assert {"log", "bus", "leases", "tasks", "projects", "executions"} <= checks.keys()
    assert checks["leases"].detail == "1 leases, 1 keys"
    head = (await scene.at.log.store.head()).position
    assert checks["log"].detail.startswith(f"{head} events")
    assert ("bus", head, head) in scene.progress


async def test_an_empty_pandar_is_whole(database_url: str, nats_url: str) -> None:
    """Before anything happened there is nothing to find; what is not served yet is not judged."""
    administrator = await asyncpg.connect(database_url)
    async with desk(database_url, ManualClock()) as at, connected(nats_url) as bus:
        await NatsEventStream(bus).open(1)
        checks = await Scene(at, bus, administrator).checks()
    administrator.terminate()
    assert [checks[name].ok for name in ("log", "bus", "leases")] == [True, True, True]
    assert checks["tasks"].ok is None
    assert checks["tasks"].hint == "is a projector up?"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("DELETE FROM events WHERE position = 3", "positions 3 to 3 are missing"),
        ("UPDATE events SET version = 99 WHERE position = 2", "version"),
        ("UPDATE log_head SET position = position + 1", "log_head is at"),
        ("DELETE FROM commands WHERE position = 3", "no receipt of its command"),
        ("UPDATE commands SET stream = 'task-9' WHERE position = 1", "no receipt of its command"),
    ],
)
async def test_a_log_that_breaks_its_promises_is_found(
    scene: Scene, statement: str, said: str
) -> None:
    """Holes, versions, the head and receipts; whatever else it says, it answers."""
    await scene.publish()
    await scene.damage(statement)
    check = await scene.check("log")
    assert check.ok is False
    assert said in check.detail


@pytest.mark.parametrize(
    ("model", "statement", "said"),
    [
        ("tasks", "UPDATE views.tasks SET name = 'x' WHERE id = 1", "name is 'x', not 't'"),
        ("tasks", "DELETE FROM views.tasks WHERE id = 2", "tasks (2,): missing"),
        (
            "tasks",
            "UPDATE read_models SET position = 2 WHERE model = 'tasks'",
            "tasks (2,): too much",
        ),
        ("projects", "UPDATE views.projects SET owner = 'eve'", "owner is 'eve', not 'ann'"),
        (
            "tasks",
            "INSERT INTO parked SELECT model, generation, 'task-1', 2, 'x' FROM read_models",
            "task-1 is parked",
        ),
    ],
)
async def test_a_read_model_that_is_not_the_fold_is_found(
    scene: Scene, model: str, statement: str, said: str
) -> None:
    """Rows changed, missing, too many, or parked."""
    await scene.damage(statement)
    check = await scene.check(model)
    assert check.ok is False
    assert said in check.detail


async def test_an_event_no_model_can_take_is_told_and_not_fatal(scene: Scene) -> None:
    """A log that cannot be folded is a finding like any other."""
    await scene.damage("UPDATE events SET stream = 'task-x' WHERE stream = 'task-1'")
    checks = await scene.checks()
    for name in ("tasks", "leases"):
        assert checks[name].ok is False
        assert checks[name].detail.startswith("cannot be read: ValueError")


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (
            "INSERT INTO leases VALUES (3, gen_random_uuid(), 1, 'r', now())",
            "task 3: lease and log disagree",
        ),
        ("DELETE FROM leases", "task 2: lease and log disagree"),
        ("UPDATE leases SET execution_id = gen_random_uuid()", "task 2: lease and log disagree"),
        (
            "INSERT INTO reservations VALUES ('concurrency', '1:zzz', 'task-1')",
            "concurrency 1:zzz: held and log disagree",
        ),
        ("DELETE FROM reservations", "concurrency 1:k1: held and log disagree"),
    ],
)
async def test_a_lease_or_key_without_its_execution_is_found(
    scene: Scene, statement: str, said: str
) -> None:
    """And an execution without its lease or key."""
    await scene.damage(statement)
    check = await scene.check("leases")
    assert check.ok is False
    assert check.detail == said


async def test_leases_that_move_meanwhile_are_no_damage(scene: Scene) -> None:
    """A log that grows between the looks is looked at again; it may be whole all the same."""
    held = PgLogAudit.held
    moves = iter(range(2))

    async def moving(self: PgLogAudit) -> object:
        if next(moves, None) is not None:
            await scene.at.claim()
            await scene.at.settle()
            await scene.at.task(1)
            await scene.at.settle()
        return await held(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PgLogAudit, "held", moving)
        check = await scene.check("leases")
    assert (check.ok, check.detail) == (True, "3 leases, 1 keys")


# --- the bus ---------------------------------------------------------------------------------


async def test_an_event_that_differs_on_the_bus_is_found(scene: Scene) -> None:
    """Other data, another type or another id at its position."""
    changes: dict[int, dict[str, object]] = {
        2: {"data": Raw(b'{"forged":true}')},
        3: {"event_id": recorded(1).event_id},
        4: {"type": "task.completed"},
    }
    await scene.publish(lambda one: msgspec.structs.replace(one, **changes.get(one.position, {})))
    check = await scene.check("bus")
    assert check.ok is False
    said = [f"position {n}: differs on the bus" for n in (2, 3, 4)]
    assert check.detail == "; ".join(said)


async def test_an_event_missing_on_the_bus_is_found(scene: Scene) -> None:
    """The end of the log that never came is missed; so is a stream that was emptied."""
    stream, log = NatsEventStream(scene.bus), await scene.at.log.everything()
    await stream.open(1)
    await stream.publish(log[:-2])
    check = await scene.check("bus")
    said = [f"position {each.position}: not on the bus" for each in log[-2:]]
    assert (check.ok, check.detail) == (False, "; ".join(said))
    await JetStream(scene.bus).api(f"STREAM.DELETE.{subjects.events_stream(1)}", {})
    await stream.open(1)
    assert (await scene.check("bus")).ok is False


async def test_a_stream_ahead_of_the_log_is_found(scene: Scene) -> None:
    """What the bus has and the log has not: Postgres was restored from a backup."""
    await scene.publish()
    head = (await scene.at.log.store.head()).position
    await NatsEventStream(scene.bus).publish([recorded(head + 1)])
    check = await scene.check("bus")
    assert check.ok is False
    assert check.detail == f"the stream has {head + 1} at its end, which the log has not there"


async def test_garbage_on_the_stream_is_found(scene: Scene) -> None:
    """A message that is no event of ours."""
    await scene.publish()
    await scene.bus.request(f"{subjects.EVENTS}.x", b"{}", timeout_sec=PATIENCE_SEC)
    check = await scene.check("bus")
    assert check.ok is False
    assert check.detail.startswith("cannot be read: NotAnEvent")


async def test_an_event_repeated_on_the_stream_is_found(scene: Scene) -> None:
    """An event of ours put there once more, where its position is not."""
    await scene.publish()
    first = (await scene.at.log.everything())[0]
    headers = cloudevents.encode(first)
    await scene.bus.request(
        subjects.event(first), bytes(first.data), headers, timeout_sec=PATIENCE_SEC
    )
    check = await scene.check("bus")
    assert check.ok is False
    assert check.detail.startswith("the stream has 1 at its end")


async def test_a_bus_that_is_away_is_no_damage(scene: Scene) -> None:
    """What could not be looked at is not called wrong."""
    check = await scene.check("bus")
    assert check.ok is None
    assert check.hint == "is NATS up?"
