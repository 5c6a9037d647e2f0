"""How a runner is seen: it says now and then that it is there, and what it does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec
from msgspec import Struct

from events import subjects
from pandar_daemon.ports import Wire
from pandar_daemon.services.pauses import moment

HEARTBEAT_SEC = 5.0


class Presence(Struct, frozen=True, kw_only=True):
    """What a heartbeat says."""

    runner_id: str
    slots: int
    running: int
    draining: bool


async def show(wire: Wire, presence: Callable[[], Presence], news: asyncio.Event) -> None:
    """Say it every `HEARTBEAT_SEC`, and when there is news, until cancelled."""
    while True:
        seen = presence()
        await wire.publish(subjects.heartbeat(seen.runner_id), msgspec.json.encode(seen))
        await moment(news, HEARTBEAT_SEC)
