"""A bus for contract tests: a killable server, a connection, doors that run in the background."""

from __future__ import annotations

import asyncio
import contextlib
import json
import tempfile
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

import msgspec

from events.envelope import Recorded
from events.ids import uuid7
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.nats.connection import NatsConnection, connect
from pandar_daemon.ports import Door, Handler
from tests.support.nats_process import NatsProcess

PATIENCE_SEC = 30.0
CLOCK = SystemClock()


@contextlib.asynccontextmanager
async def nats_process() -> AsyncIterator[NatsProcess]:
    """Give a server of the test's own, on a store of its own."""
    with tempfile.TemporaryDirectory(prefix="pandar-nats-") as store:
        server = NatsProcess(Path(store))
        await server.start()
        try:
            yield server
        finally:
            await server.stop()


@contextlib.asynccontextmanager
async def connected(url: str, *, probe_sec: float = 2.0) -> AsyncIterator[NatsConnection]:
    """Give a connection that is up."""
    async with connect(url, CLOCK, "test", probe_sec=probe_sec) as connection:
        async with asyncio.timeout(PATIENCE_SEC):
            await connection.wait_up()
        yield connection


@contextlib.asynccontextmanager
async def renewal(connection: NatsConnection) -> AsyncIterator[asyncio.Event]:
    """Give a signal of the next time the connection is made anew."""
    renewed = asyncio.Event()
    async with connection.listen(on_up=renewed.set):
        yield renewed


@contextlib.asynccontextmanager
async def serving(door: Door, handler: Handler) -> AsyncIterator[asyncio.Task[None]]:
    """Serve in the background from when the door is ready; at the end wait for its drain."""
    ready = asyncio.Event()
    task = asyncio.create_task(door.serve(handler, ready.set))
    try:
        async with asyncio.timeout(PATIENCE_SEC):
            await ready.wait()
        yield task
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()


def recorded(
    position: int, *, task: int = 42, kind: str = "task.progressed", project: int | None = 1
) -> Recorded:
    """Return an event as the log would hold it."""
    return Recorded(
        position=position,
        stream=f"task-{task}",
        version=position,
        event_id=_event_id(position),
        type=kind,
        schema_version=1,
        recorded_at=datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
        actor="user:zoë 100%",
        project_id=project,
        command_id=f"command-{position}",
        correlation_id="correlation",
        causation_id=None,
        traceparent=None,
        data=msgspec.Raw(json.dumps({"type": kind, "n": position}).encode()),
    )


def events(first: int, last: int) -> list[Recorded]:
    """Return the events of these positions."""
    return [recorded(position) for position in range(first, last + 1)]


def _event_id(position: int) -> UUID:
    return uuid7(1_767_000_000_000 + position, position.to_bytes(10, "big"))


async def send_raw(url: str, protocol: bytes) -> None:
    """Send bytes no client library would; returns once the server has handled them."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    who = (
        {"user": parts.username, "pass": parts.password}
        if parts.password
        else {"auth_token": parts.username}
    )
    hello = json.dumps({"verbose": False, "headers": True, **who})
    writer.write(f"CONNECT {hello}\r\n".encode() + protocol + b"PING\r\n")
    while b"PONG" not in (line := await reader.readline()):
        assert line, "the server hung up"
        assert b"-ERR" not in line, line
    writer.close()
    await writer.wait_closed()
