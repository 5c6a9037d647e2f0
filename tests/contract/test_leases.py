"""Leases, leadership, numbers and forensics, against a real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC
from uuid import UUID

import asyncpg
import pytest

from events.running import Held, LeaseState
from pandar_daemon.adapters.postgres.leases import (
    PgLeadership,
    PgLeases,
    PgNumbers,
    PgRejections,
)
from pandar_daemon.adapters.postgres.pool import pool
from pandar_daemon.ports import (
    Append,
    Appended,
    Conflict,
    Fenced,
    Key,
    KeyTaken,
    LeaseChange,
    LeaseOp,
    Verdict,
)
from tests.support.appending import item
from tests.support.log import Log, open_log

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]

LONG_SEC = 3600.0
OVER_SEC = 0.0
"""A lease of this length has expired when it is looked at."""


@pytest.fixture
async def log(database_url: str) -> AsyncIterator[Log]:
    """Return a log over a fresh database."""
    async with open_log(database_url) as opened:
        yield opened


def execution(task: int, epoch: int = 1) -> UUID:
    """Return the id of an execution."""
    return UUID(int=task * 1000 + epoch)


def held(task: int = 1, epoch: int = 1) -> Held:
    """Return a lease as its runner knows it."""
    return Held(task_id=task, execution_id=execution(task, epoch), epoch=epoch)


def leasing(
    op: LeaseOp,
    version: int,
    *,
    task: int = 1,
    epoch: int = 1,
    ttl_sec: float = LONG_SEC,
    reserve: tuple[Key, ...] = (),
) -> Append:
    """Return an append that asks this of the lease of a task."""
    lease = LeaseChange(
        op=op,
        task_id=task,
        execution_id=execution(task, epoch),
        epoch=epoch,
        runner_id="r",
        ttl_sec=ttl_sec,
    )
    command_id = f"{op}-{task}-{version}-{epoch}"
    return item(f"task-{task}", version, command_id=command_id, lease=lease, reserve=reserve)


async def acquired(log: Log, *, task: int = 1, ttl_sec: float = LONG_SEC) -> Verdict:
    """Make the lease of a task."""
    return await log.store.append(leasing(LeaseOp.ACQUIRE, 0, task=task, ttl_sec=ttl_sec))


# --- as part of an append --------------------------------------------------------------------


async def test_a_task_has_one_lease(log: Log) -> None:
    """A second execution is fenced until the first one's lease is gone."""
    assert await acquired(log) == Appended(position=1, version=1)
    assert await log.store.append(leasing(LeaseOp.ACQUIRE, 1, epoch=2)) == Fenced()
    assert await log.store.append(leasing(LeaseOp.RELEASE, 1)) == Appended(position=2, version=2)
    assert isinstance(await log.store.append(leasing(LeaseOp.ACQUIRE, 2, epoch=2)), Appended)


@pytest.mark.parametrize("op", [LeaseOp.HOLD, LeaseOp.RELEASE, LeaseOp.EXPIRE, LeaseOp.CANCEL])
async def test_another_epoch_is_fenced(log: Log, op: LeaseOp) -> None:
    """Whatever quotes another epoch, another execution or no lease at all appends nothing."""
    assert await log.store.append(leasing(op, 0)) == Fenced()
    await acquired(log, ttl_sec=OVER_SEC)
    assert await log.store.append(leasing(op, 1, epoch=2)) == Fenced()
    assert await log.store.append(leasing(op, 1)) == Appended(position=2, version=2)


async def test_a_lease_that_holds_does_not_expire(log: Log) -> None:
    """Only a lease past its expiry can be taken away."""
    await acquired(log)
    assert await log.store.append(leasing(LeaseOp.EXPIRE, 1)) == Fenced()
    assert await log.store.append(leasing(LeaseOp.HOLD, 1)) == Appended(position=2, version=2)


async def test_holding_is_not_renewing(log: Log) -> None:
    """An append under a lease past its expiry counts as long as nobody took it away."""
    await acquired(log, ttl_sec=OVER_SEC)
    assert isinstance(await log.store.append(leasing(LeaseOp.HOLD, 1)), Appended)
    assert isinstance(await log.store.append(leasing(LeaseOp.EXPIRE, 2)), Appended)
    assert await log.store.append(leasing(LeaseOp.HOLD, 3)) == Fenced()


async def test_a_refused_append_leaves_the_lease(log: Log) -> None:
    """What is refused for its version or its key neither makes nor removes a lease."""
    leases = PgLeases(log.database)
    taken = Key("concurrency", "1:db")
    await log.store.append(item("task-7", 0, reserve=(taken,)))
    assert await log.store.append(leasing(LeaseOp.ACQUIRE, 3)) == Conflict(0)
    refused = leasing(LeaseOp.ACQUIRE, 0, reserve=(taken,))
    assert await log.store.append(refused) == KeyTaken(taken)
    assert await leases.renew("r", [held()], LONG_SEC) == {execution(1): LeaseState.LOST}
    await acquired(log)
    assert await log.store.append(leasing(LeaseOp.RELEASE, 0)) == Conflict(1)
    assert await leases.renew("r", [held()], LONG_SEC) == {execution(1): LeaseState.HELD}


# --- renewal ---------------------------------------------------------------------------------


async def test_renewal_tells_of_each(log: Log) -> None:
    """Held, to be cancelled, or lost: each lease a runner asks about has its state."""
    leases = PgLeases(log.database)
    for task in (1, 2, 3, 4):
        await acquired(log, task=task)
    await log.store.append(leasing(LeaseOp.CANCEL, 1, task=2))
    await log.store.append(leasing(LeaseOp.RELEASE, 1, task=3))
    asked = [held(task) for task in (1, 2, 3)] + [held(4, epoch=2), held(5)]
    assert await leases.renew("r", asked, LONG_SEC) == {
        execution(1): LeaseState.HELD,
        execution(2): LeaseState.CANCEL,
        execution(3): LeaseState.LOST,
        execution(4, 2): LeaseState.LOST,
        execution(5): LeaseState.LOST,
    }
    assert await leases.renew("another", [held(1)], LONG_SEC) == {execution(1): LeaseState.LOST}
    assert await leases.renew("r", [], LONG_SEC) == {}


async def test_renewal_begins_and_prolongs(log: Log) -> None:
    """A lease that was never renewed had not begun; renewed, it is past its expiry no more."""
    leases = PgLeases(log.database)
    await acquired(log, ttl_sec=OVER_SEC)
    ((lease,), _) = await leases.expired()
    assert (lease.task_id, lease.execution_id, lease.epoch) == (1, execution(1), 1)
    assert (lease.runner_id, lease.begun) == ("r", False)
    await leases.renew("r", [held()], LONG_SEC)
    late, shown = await leases.expired()
    assert (late, shown.tzinfo) == ([], UTC)
    await leases.renew("r", [held()], OVER_SEC)
    ((lease,), _) = await leases.expired()
    assert lease.begun


async def test_renewal_races_expiry(log: Log) -> None:
    """Either the runner keeps its lease or it is taken away; never both, never neither."""
    leases = PgLeases(log.database)
    for task in range(1, 31):
        await acquired(log, task=task, ttl_sec=OVER_SEC)
        renewed, expired = await asyncio.gather(
            leases.renew("r", [held(task)], LONG_SEC),
            log.store.append(leasing(LeaseOp.EXPIRE, 1, task=task)),
        )
        kept = renewed[execution(task)] is LeaseState.HELD
        assert isinstance(expired, Fenced if kept else Appended)


async def test_renewals_and_appends_never_lock_each_other_out(log: Log, database_url: str) -> None:
    """Many leases renewed at once, by several runners, while appends touch them in any order."""
    tasks = range(1, 41)
    for task in tasks:
        await acquired(log, task=task)
    leases = PgLeases(log.database)

    async def renewing() -> None:
        for n in range(15):
            asked = [held(task) for task in tasks]
            states = await leases.renew("r", asked[n:] + asked[:n], LONG_SEC)
            assert set(states.values()) == {LeaseState.HELD}

    async def holding() -> None:
        async with open_log(database_url) as other:
            for n in range(1, 16):
                appends = [leasing(LeaseOp.HOLD, n, task=task) for task in reversed(tasks)]
                verdicts = await asyncio.gather(*map(other.store.append, appends))
                assert {type(verdict) for verdict in verdicts} == {Appended}

    await asyncio.gather(holding(), *(renewing() for _ in range(4)))


# --- leadership ------------------------------------------------------------------------------


async def test_one_leads(log: Log, database_url: str) -> None:
    """Of ten processes one gets the lead of a role, and keeps it as often as it asks."""
    leadership = PgLeadership(log.database)
    holders = [f"p-{n}" for n in range(10)]
    won = await asyncio.gather(*(leadership.acquire("relay", one, LONG_SEC) for one in holders))
    assert sum(won) == 1
    leader = holders[won.index(True)]
    assert await leadership.acquire("relay", leader, LONG_SEC)
    async with pool(database_url) as elsewhere:
        assert not await PgLeadership(elsewhere).acquire("relay", "late", LONG_SEC)
    assert await leadership.acquire("reaper", "late", LONG_SEC)


async def test_who_does_not_renew_is_followed(log: Log) -> None:
    """The lead passes on when its time is over, and the old leader hears so."""
    leadership = PgLeadership(log.database)
    assert await leadership.acquire("relay", "a", 0.05)
    async with asyncio.timeout(10):
        while not await leadership.acquire("relay", "b", LONG_SEC):
            pass
    assert not await leadership.acquire("relay", "a", LONG_SEC)


async def test_who_resigns_is_followed_at_once(log: Log) -> None:
    """The lead can be given up by who has it, and by nobody else."""
    leadership = PgLeadership(log.database)
    assert await leadership.acquire("relay", "a", LONG_SEC)
    await leadership.resign("relay", "b")
    assert not await leadership.acquire("relay", "b", LONG_SEC)
    await leadership.resign("relay", "a")
    assert await leadership.acquire("relay", "b", LONG_SEC)


# --- numbers and forensics -------------------------------------------------------------------


async def test_numbers_are_given_once(log: Log, database_url: str) -> None:
    """Two processes and many askers never get the same id; projects count without a gap."""
    async with pool(database_url) as elsewhere:
        both = PgNumbers(log.database), PgNumbers(elsewhere)
        tasks = await asyncio.gather(*(both[n % 2].next("task") for n in range(200)))
        assert len(set(tasks)) == 200
        assert min(tasks) == 1
        projects = await asyncio.gather(*(both[n % 2].next("project") for n in range(20)))
    assert sorted(projects) == list(range(1, 21))


async def test_rejected_is_kept(log: Log, database_url: str) -> None:
    """What a stale runner said is kept with its reason, byte for byte."""
    await PgRejections(log.database).keep(
        stream="task-1", command_id="c", actor="runner:r", reason="it is over", body=b"\x00\xff"
    )
    admin = await asyncpg.connect(database_url)
    row = await admin.fetchrow("SELECT * FROM rejected")
    await admin.close()
    assert row is not None
    assert (row["stream"], row["command_id"], row["actor"]) == ("task-1", "c", "runner:r")
    assert (row["reason"], row["body"]) == ("it is over", b"\x00\xff")
