"""A NATS of three servers that keep every stream together: one may go, whichever it is."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from events import subjects
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.config import Settings
from pandar_daemon.wiring.parts import tokens
from tests.support.backlog import ROLES, Load
from tests.support.daemon import Roles
from tests.support.load import asking
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
async def load(
    roles: Roles, cluster: NatsCluster, database_url: str, tmp_path: Path
) -> AsyncIterator[Load]:
    """Return a load that an administrator files."""
    token = tokens(Settings(data=roles.data), SystemClock()).mint("1", ["admin"], 3600)
    async with asking(cluster.url, token) as owner:
        yield Load(roles, owner, database_url, tmp_path / "marks")


async def settled_on(cluster: NatsCluster, load: Load) -> None:
    """Wait until every task is over and the bus has all of the log, then check both.

    `pandar verify` waits ten seconds for the bus; to find a leader may take longer.
    """
    await load.over()
    connection = await asyncpg.connect(load.database_url)
    try:
        head = await connection.fetchval("SELECT position FROM log_head")
    finally:
        await connection.close()
    await cluster.holds(LOG, head)
    await load.settled()


@pytest.mark.parametrize("stream", [LOG, subjects.OUTPUT_STREAM])
async def test_killed_leader_is_replaced(cluster: NatsCluster, load: Load, stream: str) -> None:
    """Who leads a stream is killed under load and missed by nobody: all output is stored too."""
    filing = await load.under_way("seq 1000")
    leader = await cluster.leader_of(stream)
    await leader.kill()
    await filing
    await settled_on(cluster, load)
    assert await cluster.leader_of(stream) is not leader
    await until(lambda: not any((load.roles.data / "spool").glob("*")))


async def test_frozen_leader_changes_nothing_when_it_wakes(
    cluster: NatsCluster, load: Load
) -> None:
    """Who led the log, and believes so still when it goes on, adds nothing to it."""
    filing = await load.under_way()
    leader = await cluster.leader_of(LOG)
    leader.freeze()
    try:
        await filing
        assert await cluster.leader_of(LOG) is not leader
    finally:
        leader.thaw()
    await settled_on(cluster, load)


async def test_without_a_majority_commands_are_answered_and_events_wait(
    cluster: NatsCluster, load: Load
) -> None:
    """Two of three are gone: the third carries commands, and stores nothing until they are back."""
    first, second, _ = cluster.members.values()
    await first.kill()
    await second.kill()
    await load.file()
    await first.start()
    await second.start()
    await settled_on(cluster, load)


async def test_member_that_lost_its_disk_is_given_all_anew(
    cluster: NatsCluster, load: Load
) -> None:
    """It comes back empty under load, and then another may go: nothing is missing."""
    filing = await load.under_way()
    lost = await cluster.leader_of(LOG)
    await lost.kill()
    shutil.rmtree(lost.store / "jetstream")
    await lost.start()
    await filing
    await cluster.in_step(LOG)
    await (await cluster.leader_of(LOG)).kill()
    await settled_on(cluster, load)


async def test_member_apart_from_the_others_stores_nothing_of_its_own(
    cluster: NatsCluster, load: Load
) -> None:
    """Who led the log hears no other member for a while, and has clients all the time."""
    filing = await load.under_way()
    leader = await cluster.leader_of(LOG)
    cluster.part(leader)
    try:
        await cluster.led_by_another(LOG, leader)
    finally:
        cluster.join()
    await filing
    await settled_on(cluster, load)


async def test_nobody_stays_with_a_member_that_is_apart(cluster: NatsCluster, load: Load) -> None:
    """Cut off for good, it is left by all its clients: the load is done by the other two."""
    filing = await load.under_way()
    cluster.part(await cluster.leader_of(LOG))
    await filing
    await load.over()
    cluster.join()
    await settled_on(cluster, load)
