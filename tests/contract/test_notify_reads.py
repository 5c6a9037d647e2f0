"""What the notifier relies on in the database: what is open, and how far it was."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import UUID

import pytest

from events import notification as did
from events import task as lived
from events.ids import notification_stream
from events.notification import Resolution
from pandar_daemon.adapters.postgres.migrate import migrate
from pandar_daemon.adapters.postgres.notification_reads import PgCheckpoints, PgNotificationReads
from pandar_daemon.domain import notification, notification_state
from pandar_daemon.domain.notification import NotificationCommand
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import Checkpoints, NotificationReads
from tests.support.given import NOW, USER
from tests.support.log import Log, assert_folded, open_log, project_all
from tests.support.notices import CONFIRMATION, asking, creation, delivery, number, report
from tests.support.servers import TestServers

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]


@pytest.fixture
async def log(database_url: str) -> AsyncIterator[Log]:
    """Return an empty log."""
    async with open_log(database_url) as opened:
        yield opened


async def tell(log: Log, n: int, *commands: NotificationCommand) -> UUID:
    """Append what commands make happen to the n-th notification."""
    id_ = number(500 + n)
    state = notification_state.initial(id_)
    for command in commands:
        for event in notification.decide(state, command, USER):
            state = notification_state.evolve(state, event)
            await log.add(notification_stream(id_), event, project_id=None)
    return id_


async def shown(log: Log) -> NotificationReads:
    """Return what reads, once the read models show everything."""
    await project_all(log, up_to=(await log.store.head()).position)
    return PgNotificationReads(log.database)


async def test_what_is_open_comes_due_first(log: Log) -> None:
    """Pending deliveries, and confirmations to be reminded of; nothing that is over."""
    late = await tell(log, 1, creation(delivery(1, after_sec=60)))
    soon = await tell(log, 2, creation(delivery(2, after_sec=5)))
    await tell(log, 3, creation(delivery(3)), report(3))
    await tell(log, 4, creation(delivery(4)), report(4, error="no"))
    reminded = await tell(log, 5, asking(delivery(5)), report(5))
    resolve = did.NotificationDecided(outcome=Resolution.DENIED)
    decided = await tell(log, 6, asking(delivery(6)))
    await log.add(notification_stream(decided), resolve, project_id=None)
    again = NOW + timedelta(seconds=30)
    retried = await tell(log, 7, creation(delivery(7)), report(7, error="no", next_at=again))
    reads = await shown(log)
    assert await reads.open(limit=10) == [soon, retried, late, reminded]
    assert await reads.open(limit=1) == [soon]
    await assert_folded(log)


async def test_who_was_told_of_a_confirmation(log: Log) -> None:
    """In the order of events; others' are not among them."""
    first = await tell(log, 1, asking())
    second = await tell(log, 2, asking())
    await tell(log, 3, creation())
    reads = await shown(log)
    assert await reads.told_of(CONFIRMATION, USER) == [first, second]
    assert await reads.told_of(CONFIRMATION, "bob") == []
    found = await reads.get(first)
    assert found is not None
    assert found["confirmation_id"] == str(CONFIRMATION)
    assert await reads.get(number(1)) is None


async def test_read_models_that_are_being_made_are_waited_for(log: Log) -> None:
    """As everywhere, that is a 503."""
    with pytest.raises(Unavailable):
        await PgNotificationReads(log.database).open(limit=1)


async def test_a_checkpoint_never_moves_back(log: Log) -> None:
    """Two that follow may both keep how far they are."""
    checkpoints: Checkpoints = PgCheckpoints(log.database)
    assert await checkpoints.position("notifier") == 0
    await checkpoints.move("notifier", 7)
    await checkpoints.move("notifier", 5)
    assert await checkpoints.position("notifier") == 7
    await checkpoints.move("another", 3)
    assert (await checkpoints.position("another"), await checkpoints.position("nobody")) == (3, 0)


async def test_the_notifier_begins_where_the_log_was(
    log: Log, database_url: str, servers: TestServers
) -> None:
    """An installation that is updated hears nothing of its past: the migration sees to it."""
    head = await log.add("task-1", lived.StartRequested())
    async with log.database.acquire() as connection:
        await connection.execute("RESET ROLE")
        await connection.execute("DROP TABLE followers")
        await connection.execute("DELETE FROM schema_migrations WHERE version = 5")
        await connection.execute("SET ROLE pandar_app")
    assert await migrate(database_url) == ["0005_pre_notifications.sql"]
    assert await PgCheckpoints(log.database).position("notifier") == head
