"""The lead of a role: one holder at a time, renewed in time and not more often."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from msgspec import Struct
from structlog.testing import capture_logs

from pandar_daemon.adapters.postgres.leases import PgLeadership
from pandar_daemon.adapters.postgres.pool import Database, pool
from pandar_daemon.services.leading import Lead
from tests.support.clock import ManualClock
from tests.support.servers import TestServers

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]

TTL_SEC = 90.0


class Site(Struct):
    """A database in which roles are led."""

    database: Database
    administrator: asyncpg.Connection
    clock: ManualClock

    def lead(self, holder: str) -> Lead:
        """Return the wish of a holder to lead."""
        return Lead(PgLeadership(self.database), self.clock, "relay", holder)

    async def row(self) -> tuple[object, ...]:
        """Return what changes whenever the lead's row is written or locked."""
        row = await self.administrator.fetchrow("SELECT ctid, xmin, xmax FROM leaders")
        return tuple(row or ())

    async def take(self, holder: str) -> None:
        """Let the present lead expire, and another holder take it."""
        await self.administrator.execute("UPDATE leaders SET expires_at = now() - interval '1 s'")
        assert await PgLeadership(self.database).acquire("relay", holder, TTL_SEC)


@pytest.fixture
async def at(database_url: str, clock: ManualClock) -> AsyncIterator[Site]:
    """Return a database in which nobody leads."""
    administrator = await asyncpg.connect(database_url)
    async with pool(database_url) as database:
        yield Site(database, administrator, clock)
    administrator.terminate()


async def test_the_lead_is_renewed_at_a_third_of_its_time(at: Site) -> None:
    """Until then the store is not asked; whoever looks each second commits once in a while."""
    lead = at.lead("one")
    assert await lead.held(TTL_SEC)
    taken = await at.row()
    for _ in range(29):
        at.clock.advance(1)
        assert await lead.held(TTL_SEC)
    assert await at.row() == taken
    at.clock.advance(1)
    assert await lead.held(TTL_SEC)
    assert await at.row() != taken


async def test_who_waits_for_the_lead_writes_nothing(at: Site) -> None:
    """Asking each second for what another has costs no commit and no lock."""
    assert await at.lead("one").held(TTL_SEC)
    taken, waiting = await at.row(), at.lead("two")
    assert not await waiting.held(TTL_SEC)
    assert await at.row() == taken


async def test_nobody_believes_in_a_lead_that_may_be_over(at: Site) -> None:
    """After its time, suspended time too, the store is asked, and knows of another holder."""
    lead = at.lead("one")
    assert await lead.held(TTL_SEC)
    await at.take("two")
    at.clock.advance(TTL_SEC)
    assert not await lead.held(TTL_SEC)
    assert not await lead.held(TTL_SEC)


async def test_a_lead_that_could_not_be_renewed_is_not_believed_in(
    at: Site, servers: TestServers
) -> None:
    """One look during an outage does nothing; the next asks again, however soon."""
    lead = at.lead("one")
    assert await lead.held(TTL_SEC)
    at.clock.advance(TTL_SEC / 3)
    await servers.kill_postgres()
    acted = []

    async def act() -> bool:
        acted.append(True)
        return True

    with capture_logs() as logs:
        assert not await lead.look(TTL_SEC, act)
    assert [each["event"] for each in logs] == ["relay.waiting"]
    assert not acted
    await servers.start_postgres()
    assert await lead.look(TTL_SEC, act)
    assert acted


async def test_who_stops_resigns_and_who_does_not_lead_resigns_nothing(at: Site) -> None:
    """The next takes over at once; a holder that only waited takes nothing from the leader."""
    one, two = at.lead("one"), at.lead("two")
    looked = asyncio.Event()

    async def look(lead: Lead) -> bool:
        await lead.held(TTL_SEC)
        looked.set()
        return False

    for lead, leads_then in ((two, False), (one, True)):
        assert await one.held(TTL_SEC)
        looked.clear()
        running = asyncio.create_task(lead.run(lambda lead=lead: look(lead), 60.0))  # type: ignore[misc]
        await looked.wait()
        running.cancel()
        await asyncio.wait({running})
        assert await two.held(TTL_SEC) is leads_then
