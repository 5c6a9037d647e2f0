"""A runner of a test's own, on a real bus, with real processes and boxes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from pandar_daemon.adapters.agents.registry import Registry
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.disk.folders import DataFolders
from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.adapters.nats.outputs import NatsOutputs
from pandar_daemon.adapters.nats.sender import NatsSender
from pandar_daemon.adapters.nats.service import ServiceDoor
from pandar_daemon.adapters.nats.wire import NatsWire
from pandar_daemon.adapters.process.host import Host
from pandar_daemon.adapters.process.spool import FileSpools
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.runner import Runner
from pandar_daemon.telemetry import Metrics
from tests.support.boxes import boxes_in
from tests.support.bus import connected, serving
from tests.support.daemon_script import DaemonScript

CLOCK = SystemClock()


def runner_on(
    bus: NatsConnection,
    data: Path,
    *,
    slots: int = 4,
    known: Mapping[str, str] | None = None,
    has_room: Callable[[], bool] = lambda: True,
    beside: Sequence[Callable[[], Coroutine[object, object, None]]] = (),
) -> Runner:
    """Return a runner, not yet running."""
    return Runner(
        data=data,
        slots=slots,
        lease_ttl_sec=2.0,
        folders=DataFolders(data),
        host=Host(data, grace_sec=0.3, boxes=boxes_in(data)),
        spools=FileSpools(data / "spool"),
        outputs=NatsOutputs(bus),
        agents=Registry(CLOCK.now, {}, packages=data / "agents", path="/usr/bin:/bin"),
        wire=NatsWire(bus),
        asker=Asker(NatsSender(bus), lambda: "the-token"),
        clock=CLOCK,
        metrics=Metrics(),
        path="/usr/local/bin:/usr/bin:/bin",
        has_room=has_room,
        beside=beside,
        known=known,
    )


@pytest.fixture
async def bus(nats_url: str, daemon: DaemonScript) -> AsyncIterator[NatsConnection]:
    """Return a connection to a bus on which the daemon answers."""
    async with connected(nats_url) as connection, serving(ServiceDoor(connection), daemon.handle):
        yield connection


@asynccontextmanager
async def running(runner: Runner) -> AsyncIterator[Runner]:
    """Run it in the background, and stop it in order at the end."""
    task = asyncio.create_task(runner.run())
    try:
        yield runner
    finally:
        assert not task.done() or task.exception() is None
        task.cancel()
        await asyncio.wait([task])
