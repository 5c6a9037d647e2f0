"""A NATS of three servers that keep every stream together: one may go, whichever it is."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import asyncpg
import pytest

from events import subjects
from events.commands import Accepted
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.config import Settings
from pandar_daemon.services.asking import Asker
from pandar_daemon.wiring.parts import tokens
from tests.fault.test_kill import ROLES, TASKS, check, file_all
from tests.support.daemon import Roles
from tests.support.load import all_over, asking, marks_of
from tests.support.nats_cluster import NatsCluster
from tests.support.waiting import until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(240)]

LOG = subjects.events_stream(1)


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[NatsCluster]:
    """Run a cluster of its own."""
    made = NatsCluster(tmp_path)
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def roles(cluster: NatsCluster, database_url: str, tmp_path: Path) -> AsyncIterator[Roles]:
    """Run every role that a task needs as a process of its own, with a short lease."""
    extra = {"PANDAR_LEASE_TTL_SEC": "6", "PANDAR_SLOTS": "4", "PANDAR_NATS_REPLICAS": "3"}
    running = Roles(tmp_path, database_url, cluster.url, **extra)
    await running.start(*ROLES)
    yield running
    await running.stop()


@pytest.fixture
async def owner(roles: Roles, cluster: NatsCluster) -> AsyncIterator[Asker]:
    """Ask as an administrator."""
    token = tokens(Settings(data=roles.data), SystemClock()).mint("1", ["admin"], 3600)
    async with asking(cluster.url, token) as asker:
        yield asker


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """Return where tasks leave their marks."""
    return tmp_path / "marks"


async def under_way(marks: Path) -> None:
    """Return when some of the load has run, and most has not."""
    await until(lambda: len(marks_of(marks)) >= TASKS // 8)


async def settled_on(
    cluster: NatsCluster,
    roles: Roles,
    database_url: str,
    tasks: Sequence[Accepted],
    marks: Path,
) -> None:
    """Wait until every task is over and the bus has all of the log, then check both.

    `pandar verify` waits ten seconds for the bus; to find a leader may take longer.
    """
    streams = [task.stream for task in tasks]
    await all_over(database_url, streams)
    connection = await asyncpg.connect(database_url)
    try:
        head = await connection.fetchval("SELECT position FROM log_head")
    finally:
        await connection.close()
    await cluster.holds(LOG, head)
    await check(roles, database_url, streams, marks)


@pytest.mark.parametrize("stream", [LOG, subjects.OUTPUT_STREAM])
async def test_killed_leader_is_replaced(
    cluster: NatsCluster, roles: Roles, owner: Asker, database_url: str, marks: Path, stream: str
) -> None:
    """Who leads a stream is killed under load and missed by nobody: all output is stored too."""
    filing = asyncio.create_task(file_all(owner, marks, "seq 1000"))
    await under_way(marks)
    leader = await cluster.leader_of(stream)
    await leader.kill()
    tasks = await filing
    await settled_on(cluster, roles, database_url, tasks, marks)
    assert await cluster.leader_of(stream) is not leader
    await until(lambda: not any((roles.data / "spool").iterdir()))


async def test_frozen_leader_changes_nothing_when_it_wakes(
    cluster: NatsCluster, roles: Roles, owner: Asker, database_url: str, marks: Path
) -> None:
    """Who led the log, and believes so still when it goes on, adds nothing to it."""
    filing = asyncio.create_task(file_all(owner, marks))
    await under_way(marks)
    leader = await cluster.leader_of(LOG)
    leader.freeze()
    try:
        tasks = await filing
        assert await cluster.leader_of(LOG) is not leader
    finally:
        leader.thaw()
    await settled_on(cluster, roles, database_url, tasks, marks)


async def test_without_a_majority_commands_are_answered_and_events_wait(
    cluster: NatsCluster, roles: Roles, owner: Asker, database_url: str, marks: Path
) -> None:
    """Two of three are gone: the third carries commands, and stores nothing until they are back."""
    first, second, _ = cluster.members.values()
    await first.kill()
    await second.kill()
    tasks = await file_all(owner, marks)
    await first.start()
    await second.start()
    await settled_on(cluster, roles, database_url, tasks, marks)


async def test_member_that_lost_its_disk_is_given_all_anew(
    cluster: NatsCluster, roles: Roles, owner: Asker, database_url: str, marks: Path
) -> None:
    """It comes back empty under load, and then another may go: nothing is missing."""
    filing = asyncio.create_task(file_all(owner, marks))
    await under_way(marks)
    lost = await cluster.leader_of(LOG)
    await lost.kill()
    shutil.rmtree(lost.store / "jetstream")
    await lost.start()
    tasks = await filing
    await cluster.in_step(LOG)
    await (await cluster.leader_of(LOG)).kill()
    await settled_on(cluster, roles, database_url, tasks, marks)


async def test_member_apart_from_the_others_stores_nothing_of_its_own(
    cluster: NatsCluster, roles: Roles, owner: Asker, database_url: str, marks: Path
) -> None:
    """Who led the log hears no other member for a while, and has clients all the time."""
    filing = asyncio.create_task(file_all(owner, marks))
    await under_way(marks)
    leader = await cluster.leader_of(LOG)
    cluster.part(leader)
    try:
        await cluster.led_by_another(LOG, leader)
    finally:
        cluster.join()
    tasks = await filing
    await settled_on(cluster, roles, database_url, tasks, marks)


async def test_nobody_stays_with_a_member_that_is_apart(
    cluster: NatsCluster, roles: Roles, owner: Asker, database_url: str, marks: Path
) -> None:
    """Cut off for good, it is left by all its clients: the load is done by the other two."""
    filing = asyncio.create_task(file_all(owner, marks))
    await under_way(marks)
    cluster.part(await cluster.leader_of(LOG))
    tasks = await filing
    await all_over(database_url, [task.stream for task in tasks])
    cluster.join()
    await settled_on(cluster, roles, database_url, tasks, marks)
