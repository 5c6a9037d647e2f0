"""The doorbell: heard here at once and elsewhere soon, and not twice."""

from __future__ import annotations

import asyncio

import pytest

from pandar_daemon.adapters.nats.wire import NatsWire
from pandar_daemon.services import bell as service
from pandar_daemon.services.bell import Bell
from tests.support.bus import PATIENCE_SEC, connected
from tests.support.log import running
from tests.support.waiting import until

pytestmark = pytest.mark.servers


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "POLL_SEC", PATIENCE_SEC)


async def test_a_ring_is_heard_in_another_process_and_not_twice_in_this(nats_url: str) -> None:
    """Its own echo would make whoever waits look for nothing; another's ring is heard after it."""
    async with connected(nats_url) as here, connected(nats_url) as there:
        one, two = Bell(NatsWire(here), "one"), Bell(NatsWire(there), "two")
        async with running(one.run(), two.run()), asyncio.timeout(PATIENCE_SEC / 2):
            await until(lambda: here._listeners and there._listeners)
            await here.echo(timeout_sec=PATIENCE_SEC)
            await there.echo(timeout_sec=PATIENCE_SEC)
            one.ring(1)
            await one.wait()
            await two.wait()
            again = asyncio.create_task(one.wait())
            await here.echo(timeout_sec=PATIENCE_SEC)
            assert not again.done()
            two.ring(2)
            await again


async def test_whoever_waited_for_the_append_goes_on_before_the_bell_is_heard(
    nats_url: str,
) -> None:
    """A command is answered before anything is made of its events."""
    async with connected(nats_url) as bus:
        bell, appended = Bell(NatsWire(bus)), asyncio.get_running_loop().create_future()
        order: list[str] = []

        async def answer() -> None:
            await appended
            order.append("answered")

        async def relay() -> None:
            await bell.wait()
            order.append("relayed")

        async with asyncio.TaskGroup() as group:
            group.create_task(relay())
            group.create_task(answer())
            await asyncio.sleep(0)
            bell.ring(1)
            appended.set_result(None)
        assert order == ["answered", "relayed"]
