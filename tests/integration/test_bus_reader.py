"""The second user of the embedded bus may read and ask, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import nats
import pytest
from nats.aio.client import Client

from events import subjects
from pandar_daemon.adapters.nats.connection import connect
from pandar_daemon.adapters.nats.queue import QueueDoor
from pandar_daemon.adapters.nats.service import ServiceDoor
from pandar_daemon.ports import Message
from tests.support.bus import serving
from tests.support.clock import ManualClock
from tests.support.servers import TestServers


@pytest.fixture
async def refused() -> asyncio.Queue[str]:
    """Collect what the server refused the reader."""
    return asyncio.Queue()


@pytest.fixture
async def reader(
    servers: TestServers, nats_url: str, refused: asyncio.Queue[str]
) -> AsyncIterator[Client]:
    """Connect as the reader, with nats-py as any stranger would."""

    async def told(error: Exception) -> None:
        refused.put_nowait(str(error).lower())

    client = await nats.connect(servers.nats.reader_url, error_cb=told, allow_reconnect=False)
    yield client
    await client.close()


async def _answer(message: Message) -> bytes:
    return message.body


@pytest.mark.parametrize(
    "subject",
    [
        "pandar.v1.evt.task.completed.1.1",
        "pandar.v1.live.evt.task.completed.1.1",
        "pandar.v1.run.finish.r-1",
        "pandar.v1.ctl.r-1.cancel",
        "pandar.v1.out.1.1.1",
        "pandar.v1.result.abc",
        "$JS.API.STREAM.DELETE.PANDAR_EVENTS_1",
        "$JS.API.STREAM.PURGE.PANDAR_EVENTS_1",
        "$JS.API.CONSUMER.MSG.NEXT.PANDAR_COMMANDS.pandar",
        "$JS.API.CONSUMER.CREATE.PANDAR_COMMANDS",
        "$JS.API.CONSUMER.DURABLE.CREATE.PANDAR_COMMANDS.mine",
        "$JS.API.DIRECT.GET.PANDAR_COMMANDS",
    ],
)
async def test_reader_may_not_say(
    reader: Client, refused: asyncio.Queue[str], subject: str
) -> None:
    """What would speak as Pandar, or take its commands away, is refused by the server."""
    await reader.publish(subject, b"{}")
    assert subject.lower() in await asyncio.wait_for(refused.get(), 10)


@pytest.mark.parametrize(
    "subject", ["pandar.v1.cmd.>", "pandar.v1.run.>", "pandar.v1.queue.>", ">", "_INBOX_pandar.>"]
)
async def test_reader_may_not_hear(
    reader: Client, refused: asyncio.Queue[str], subject: str
) -> None:
    """Where tokens and our own answers pass, the reader cannot listen."""
    await reader.subscribe(subject)
    assert "permissions violation" in await asyncio.wait_for(refused.get(), 10)


async def test_reader_may_ask(
    reader: Client, nats_url: str, clock: ManualClock, refused: asyncio.Queue[str]
) -> None:
    """Commands by both doors, and discovery, work as for everybody."""
    async with (
        connect(nats_url, clock, "test") as connection,
        serving(ServiceDoor(connection), _answer),
        serving(QueueDoor(connection, clock), _answer),
    ):
        answer = await reader.request("pandar.v1.cmd.task.start.1.1", b"{}", timeout=5)
        assert answer.data == b"{}"
        assert b"pandar" in (await reader.request("$SRV.PING.pandar", b"", timeout=5)).data
        results = await reader.subscribe(subjects.result("abc"))
        await reader.jetstream().publish(
            "pandar.v1.queue.task.start.1.1", b"{}", headers={"Pandar-Command-Id": "abc"}
        )
        assert (await results.next_msg(timeout=10)).data == b"{}"
    assert refused.empty()
