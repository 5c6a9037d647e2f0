"""Commands a service sends of its own accord: done, refused for good, or to be sent again."""

from __future__ import annotations

import asyncio
from uuid import UUID

import msgspec
import structlog

from events import subjects
from events.command import Command
from pandar_daemon.domain.refusals import Refusal, Unavailable
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.pauses import pauses

log = structlog.get_logger(__name__)

_MAY_PASS = frozenset({401, 403, 408, 429})
"""A token of before the clock was set, a limit: no judgement of the command itself."""


async def order(
    asker: Asker, action: str, target: UUID | None, command: Command, command_id: str
) -> bool:
    """Send a command and return whether it was accepted; false when it was refused for good.

    Raises `Unavailable` when it may be accepted later: whoever gives up then loses it.
    """
    body = msgspec.json.encode(command)
    try:
        await asker.ask(subjects.command(action, None, target), body, command_id)
    except Refusal as refusal:
        if refusal.is_fault or refusal.problem.status in _MAY_PASS:
            raise Unavailable(refusal.problem.detail) from refusal
        log.info("order.refused", action=action, reason=str(refusal))
        return False
    return True


async def insist(
    asker: Asker, action: str, target: UUID | None, command: Command, command_id: str
) -> bool:
    """Send a command again and again until it is answered; return whether it was accepted."""
    again = pauses()
    while True:
        try:
            return await order(asker, action, target, command, command_id)
        except Unavailable as error:
            log.info("order.waiting", action=action, reason=str(error))
        await asyncio.sleep(next(again))
