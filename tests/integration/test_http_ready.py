"""When the API says that it is ready, and what it says when it is not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from events import commands as do
from events import subjects
from pandar_daemon.adapters.http.deps import Limits
from pandar_daemon.adapters.http.health import AHEAD, bus_lag
from pandar_daemon.adapters.nats.events import NatsEventStream
from pandar_daemon.adapters.nats.jetstream import JetStream
from pandar_daemon.ports import Head
from tests.support.api import PATIENCE_SEC, Api, Json, running_api
from tests.support.bus import recorded


@pytest.fixture
async def api(database_url: str, nats_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """Return a running API without a relay, with one event in its log."""
    async with running_api(
        database_url, nats_url, tmp_path, roles=("commands", "projector")
    ) as running:
        await _project(running)
        yield running


async def _project(api: Api) -> None:
    body = msgspec.json.encode(do.CreateProject(name="p"))
    subject = subjects.command("project.create")
    await api.parts.asker("1", "admin").ask(subject, body, "first")


async def _ready(api: Api) -> tuple[int, Json]:
    async with api.session.get(f"{api.base_url}/readyz") as reply:
        return reply.status, await reply.json()


async def _until(api: Api, status: int) -> Json:
    """Return what it says once it answers with a status."""
    async with asyncio.timeout(PATIENCE_SEC):
        while True:
            found, said = await _ready(api)
            if found == status:
                return said


async def _publish(api: Api, *positions: int) -> NatsEventStream:
    stream = NatsEventStream(api.parts.connection)
    await stream.open(1)
    await stream.publish([recorded(position) for position in positions])
    return stream


async def test_a_stream_ahead_of_the_log_is_not_ready(api: Api) -> None:
    """Where the bus has events the log has not, the reason says what to do; both lags stay."""
    stream = await _publish(api, 1)
    assert (await _until(api, 200))["reasons"] == []
    await stream.publish([recorded(2), recorded(3)])
    status, said = await _ready(api)
    assert (status, said["reasons"]) == (503, [AHEAD])
    assert AHEAD == "the stream is ahead of the log: see `pandar epoch advance`"
    assert (said["projection_lag"], said["bus_lag"]) == (0, -2)


async def test_what_is_published_meanwhile_is_not_ahead(api: Api) -> None:
    """However old the head is that was read first, and its epoch, the log's end is read again."""
    stream = await _publish(api, 1)
    for epoch in (0, 1):
        old = Head(position=0, epoch=epoch)
        assert await bus_lag(api.parts.store, stream.position, old) == 0


async def test_without_its_output_stream_it_is_not_ready(api: Api) -> None:
    """Output that cannot be had is a reason."""
    await _publish(api, 1)
    await _until(api, 200)
    await JetStream(api.parts.connection).api(f"STREAM.DELETE.{subjects.OUTPUT_STREAM}", {})
    status, said = await _ready(api)
    assert status == 503
    assert [reason.partition(":")[0] for reason in said["reasons"]] == ["output stream"]


async def test_without_read_models_it_is_not_ready(
    database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """While they are being made nothing can be read, however little there is in the log."""
    async with running_api(database_url, nats_url, tmp_path, roles=("commands",)) as api:
        await _project(api)
        await _publish(api, 1)
        status, said = await _ready(api)
        assert (status, said["reasons"]) == (503, ["the read models are being made"])


async def test_being_behind_for_long_is_not_ready(
    database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """However few events the bus is behind: nobody relays, and after its time that is said."""
    limits = Limits(ready_late_sec=0.5)
    roles = ("commands", "projector")
    async with running_api(database_url, nats_url, tmp_path, roles=roles, limits=limits) as api:
        await _project(api)
        await _publish(api)
        said = await _until(api, 503)
        while said["projection_lag"] or not any("bus_lag" in why for why in said["reasons"]):
            said = await _until(api, 503)
        assert said["bus_lag"] == 1
        (reason,) = said["reasons"]
        assert reason.startswith("bus_lag is 1 events for ")
        await _publish(api, 1)
        assert (await _until(api, 200))["reasons"] == []
