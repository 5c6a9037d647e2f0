"""The simulated Postgres is one: the same random statements, the same answers, the same state."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

import pytest
from msgspec.structs import replace

from events.running import Held
from pandar_daemon.adapters.postgres.audit import PgLogAudit
from pandar_daemon.adapters.postgres.leases import PgLeadership, PgLeases
from pandar_daemon.adapters.postgres.views import PgViews
from pandar_daemon.ports import (
    Append,
    ChangeRefused,
    Checkpoint,
    CheckpointLost,
    Key,
    KeyTaken,
    LeaseChange,
    LeaseOp,
    Move,
    Step,
)
from projections.base import Append as AppendRow
from projections.base import Change, Increment, ReadModel, Table, Upsert
from projections.compare import differences
from tests.simulation.log_server import LogServer
from tests.simulation.view_server import ViewServer
from tests.support.appending import item, said
from tests.support.log import Log, open_log

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]

STATEMENTS = 250
FOR_EVER_SEC, OVER_SEC = 3_600.0, 0.0
RUNNERS = ("runner-1", "runner-2")
KEYS = tuple(Key("concurrency", f"1:{n}") for n in range(3))


@pytest.fixture
async def log(database_url: str) -> AsyncIterator[Log]:
    """Return a real log over a fresh database."""
    async with open_log(database_url) as opened:
        yield opened


class Ticking:
    """A clock that never shows the same time twice."""

    def __init__(self) -> None:
        self._last = datetime.now(UTC)

    def __call__(self) -> datetime:
        """Return the time, or what comes after the last one shown."""
        self._last = max(datetime.now(UTC), self._last + timedelta(microseconds=1))
        return self._last


def execution(task: int, epoch: int) -> UUID:
    """Return the id of an execution."""
    return UUID(int=task * 1_000 + epoch)


class Statements:
    """What is asked: mostly what may succeed, often what must not."""

    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.server = LogServer(Ticking())
        self._commands: list[str] = []

    def append(self) -> Append:
        """Return an append to one of a few streams."""
        dice, task = self.dice, self.dice.randint(1, 4)
        version = len(self.server.streams.get(f"task-{task}", []))
        if dice.random() < 0.15:
            version = max(0, version + dice.choice((-1, 1)))
        wanted = item(
            f"task-{task}",
            version,
            *said("x"),
            command_id=self._command_id(),
            sha=dice.choice("ab"),
            reserve=tuple(dice.sample(KEYS, dice.choice((0, 0, 1, 2)))),
            release=tuple(dice.sample(KEYS, dice.choice((0, 1, 2)))),
            lease=self._lease(task) if dice.random() < 0.6 else None,
        )
        return replace(wanted, events=said(*"abc"[: dice.randrange(4)]))

    def _command_id(self) -> str:
        if self._commands and self.dice.random() < 0.15:
            return self.dice.choice(self._commands)
        self._commands.append(f"c-{len(self._commands)}")
        return self._commands[-1]

    def _lease(self, task: int) -> LeaseChange:
        epoch = self.dice.randint(1, 2)
        op = self.dice.choice(list(LeaseOp))
        return LeaseChange(
            op=op,
            task_id=task,
            execution_id=execution(task, epoch),
            epoch=epoch,
            runner_id=self.dice.choice(RUNNERS if op is LeaseOp.ACQUIRE else ("", *RUNNERS)),
            ttl_sec=self.dice.choice((FOR_EVER_SEC, OVER_SEC)),
        )

    def held(self) -> list[Held]:
        """Return what a runner believes it holds."""
        pairs = [(task, epoch) for task in range(1, 5) for epoch in (1, 2)]
        return [
            Held(task_id=task, execution_id=execution(task, epoch), epoch=epoch)
            for task, epoch in self.dice.sample(pairs, 3)
        ]

    def some_commands(self) -> list[str]:
        """Return ids of which some were stored."""
        return self.dice.sample([*self._commands, "never", "nor this"], 2)


@pytest.mark.parametrize("seed", range(2))
async def test_log(log: Log, seed: int) -> None:
    """Verdicts, leases, leads and reads are those of the real log, statement by statement."""
    ask = Statements(seed)
    leases, leadership = PgLeases(log.database), PgLeadership(log.database)
    for _ in range(STATEMENTS):
        await _same_append(log, ask)
        await _same_leases(leases, leadership, ask)
        await _same_reads(log, ask)
    real = await PgLogAudit(log.database).held()
    leased = {n: row.execution_id for n, row in ask.server.leases.items()}
    assert real == (leased, set(ask.server.keys))


async def _same_append(log: Log, ask: Statements) -> None:
    wanted = ask.append()
    ids = [UUID(int=ask.dice.getrandbits(128)) for _ in wanted.events]
    (ours,) = ask.server.append([wanted], ids)
    real = await log.store.append(wanted)
    if isinstance(real, KeyTaken):  # by any of those that are: which, is not promised
        assert isinstance(ours, KeyTaken), wanted
        assert real.key in set(wanted.reserve) & ask.server.keys.keys()
    else:
        assert real == ours, wanted


async def _same_leases(leases: PgLeases, leadership: PgLeadership, ask: Statements) -> None:
    dice, runner = ask.dice, ask.dice.choice(RUNNERS)
    held, ttl_sec = ask.held(), dice.choice((FOR_EVER_SEC, OVER_SEC))
    if dice.random() < 0.3:
        real = await leases.renew(runner, held, ttl_sec)
        assert real == ask.server.renew(runner, held, ttl_sec)
    late = sorted((await leases.expired())[0], key=lambda lease: lease.task_id)
    assert late == sorted(ask.server.expired(), key=lambda lease: lease.task_id)
    if dice.random() < 0.3:
        led = await leadership.acquire("relay", runner, ttl_sec)
        assert led == ask.server.lead("relay", runner, ttl_sec)
    if dice.random() < 0.1:
        await leadership.resign("relay", runner)
        ask.server.resign("relay", runner)


async def _same_reads(log: Log, ask: Statements) -> None:
    dice = ask.dice
    head = await log.store.head()
    assert head == ask.server.head()
    stream, after = f"task-{dice.randint(1, 4)}", dice.randrange(3)
    up_to = dice.choice((None, dice.randint(0, head.position)))
    real = await log.store.read_stream(stream, after_version=after, up_to=up_to)
    ours = ask.server.read_stream(stream, after, up_to)
    assert [_shown(each) for each in real] == [_shown(each) for each in ours]
    first, limit = dice.randint(0, head.position + 1), dice.randint(1, 5)
    real = await log.store.read_all(after=first, limit=limit)
    assert [_shown(e) for e in real] == [_shown(e) for e in ask.server.read_all(first, limit)]
    some = ask.some_commands()
    assert await log.store.receipts(some) == ask.server.found(some)


def _shown(recorded: object) -> object:
    """Return an event but for what each log chooses by itself: its id and its time."""
    fixed = datetime(2026, 1, 1, tzinfo=UTC)
    return replace(recorded, event_id=UUID(int=0), recorded_at=fixed)  # type: ignore[type-var]


# --- read models ---

ROWS = Table(
    name="sim_rows", columns=(("id", "bigint"), ("a", "text"), ("b", "bigint")), key=("id",)
)
ONCE = Table(name="sim_once", columns=(("id", "bigint"), ("a", "text")), key=("id",))
SUMS = Table(name="sim_sums", columns=(("id", "bigint"), ("n", "bigint")), key=("id",))
MODEL = ReadModel(
    name="sim", version=1, tables=(ROWS, ONCE, SUMS), handles=(), on=lambda _r, _e: []
)


def _change(dice: Random) -> Change:
    key = (dice.randrange(6),)
    match dice.randrange(4):
        case 0:
            return Upsert("sim_rows", key, {"a": str(dice.random())})
        case 1:
            return Upsert("sim_rows", key, {"a": None, "b": dice.randrange(99)})
        case 2:
            return AppendRow("sim_once", (dice.randrange(400),), {"a": "x"})
        case _:
            return Increment("sim_sums", key, {"n": dice.randint(-3, 3)})


@pytest.mark.parametrize("seed", range(2))
async def test_views(log: Log, seed: int) -> None:
    """Steps, swaps and discards are judged as by the real store, and leave the same rows."""
    dice, real, ours = Random(seed), PgViews(log.database), ViewServer()
    known: list[Checkpoint] = []
    for _ in range(STATEMENTS // 4):
        assert await real.checkpoints() == ours.checkpoints()
        known += ours.checkpoints()
        at = dice.choice(known[-4:]) if known else None
        served = max((each.generation for each in ours.checkpoints() if each.live), default=0)
        if at is None or dice.random() < 0.1:
            assert await real.begin(MODEL, beside=served) == ours.begin(MODEL, served)
        elif dice.random() < 0.1:
            assert await _outcome(real.swap(MODEL, at)) == _swapped(ours, at)
        elif dice.random() < 0.05 and at.generation < served:
            assert await real.discard(at) == ours.discard(at)
        else:
            changes = [_change(dice) for _ in range(dice.randrange(4))]
            step = Step(position=at.position + dice.randint(1, 3), changes=changes)
            moves = [Move(model=MODEL, at=at, step=step)]
            assert await _outcome(real.apply(moves)) == _applied(ours, moves)
    live = ours.live("sim")
    if live is not None:
        position, tables = await real.rows(MODEL)
        assert (position, list(differences(live.tables, tables))) == (live.position, [])


async def _outcome(asked: Awaitable[object]) -> object:
    try:
        return await asked
    except (CheckpointLost, ChangeRefused) as error:
        return type(error)


def _swapped(ours: ViewServer, at: Checkpoint) -> object:
    try:
        return ours.swap(at)
    except CheckpointLost as error:
        return type(error)


def _applied(ours: ViewServer, moves: list[Move]) -> object:
    try:
        return ours.apply(moves)
    except (CheckpointLost, ChangeRefused) as error:
        return type(error)
