"""An execution's line to the daemon: what it says there is fenced by its lease.

Nothing is said with a secret in it: all there is to say passes here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from uuid import UUID

import msgspec
import structlog

from events import subjects
from events.commands import Command
from events.running import Assignment, Held
from pandar_daemon.domain.redacting import redacted
from pandar_daemon.domain.redaction import Redactor
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.ports import Clock
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.pauses import pauses

log = structlog.get_logger(__name__)

_PASSING = frozenset({401, 408, 429})
"""Refusals that say nothing about the execution: ask again, as after any 5xx."""


class Line:
    """One execution's; ``is_lost`` once its lease is known to be over."""

    def __init__(
        self,
        assignment: Assignment,
        runner_id: str,
        asker: Asker,
        clock: Clock,
        redactor: Redactor | None = None,
    ) -> None:
        self.held = Held(
            task_id=assignment.task_id,
            execution_id=assignment.execution_id,
            epoch=assignment.epoch,
        )
        self.is_lost = False
        self._traceparent = assignment.traceparent
        self._runner_id = runner_id
        self._asker = asker
        self._clock = clock
        self._redactor = redactor or Redactor()
        self._log = log.bind(task=self.held.task_id, execution=str(self.held.execution_id))

    def learn(self, known: Mapping[str, str]) -> None:
        """Say, and show, nothing with these secrets, by name, from now on."""
        self._redactor.learn(known)

    async def send(self, action: str, command: Command) -> bytes:
        """Return the answer; raises the `Refusal`, `Unavailable` when nobody answered in time."""
        subject = subjects.run(action, self._runner_id)
        return await self._ask(subject, self._body(command), str(self._clock.new_id()))

    async def insist(self, action: str, command: Command) -> bytes:
        """Return the answer, however often it must be asked, under one command id.

        Raises the `Refusal` that is an answer; any, once the lease is known to be lost.
        """
        return await self._insist(subjects.run(action, self._runner_id), command)

    async def command(self, action: str, target: UUID, command: Command) -> bytes:
        """Send a command about something else, as `insist` does."""
        return await self._insist(subjects.command(action, None, target), command)

    async def _insist(self, subject: str, command: Command) -> bytes:
        command_id, body = str(self._clock.new_id()), self._body(command)
        for pause in pauses():
            try:
                return await self._ask(subject, body, command_id)
            except Refusal as refusal:
                status = refusal.problem.status
                if self.is_lost or (status < 500 and status not in _PASSING):  # noqa: PLR2004
                    raise
                self._log.info(
                    "execution.unheard", subject=subject, reason=str(refusal), pause_sec=pause
                )
            await asyncio.sleep(pause)
        raise AssertionError("pauses are endless")

    def _body(self, command: Command) -> bytes:
        return msgspec.json.encode(redacted(command, self._redactor))

    async def _ask(self, subject: str, body: bytes, command_id: str) -> bytes:
        return await self._asker.ask(subject, body, command_id, traceparent=self._traceparent)
