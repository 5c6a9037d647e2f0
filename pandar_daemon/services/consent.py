"""Asking people on behalf of an execution, and waiting for what they decide."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from uuid import UUID

import msgspec
import structlog
from msgspec import Struct

from events.running import AskConfirmation, Decided, LookUpDecision, WithdrawConfirmation
from events.task import Json
from pandar_daemon.domain.card import Deadline
from pandar_daemon.domain.changes import Changes, with_changes
from pandar_daemon.domain.options import TaskOptions
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.ports import Clock
from pandar_daemon.services.line import Line
from pandar_daemon.services.pauses import moment

log = structlog.get_logger(__name__)

LOOK_SEC = 2.0
"""How often a decision is looked for without a hint that there is one."""


class Draft(Struct, frozen=True, kw_only=True):
    """What people are asked, but for its deadline."""

    gate: str
    call_sha256: str = ""


class Consent:
    """The confirmations of one execution, one at a time."""

    def __init__(
        self,
        line: Line,
        options: TaskOptions,
        clock: Clock,
        keep: Callable[[], Awaitable[Changes | None]] | None = None,
    ) -> None:
        """Before anybody is asked, ``keep`` the files; the card tells what was changed in them."""
        self._line = line
        self._options = options
        self._clock = clock
        self._hinted = asyncio.Event()
        self._asking: asyncio.Future[bytes] | None = None
        self._turn = asyncio.Lock()
        self._keep = keep
        self.pending: UUID | None = None

    def deadline(self) -> Deadline:
        """Return until when a request made now waits, and what happens then."""
        expires_at = self._clock.now() + timedelta(seconds=self._options.confirm_timeout_sec)
        return Deadline(expires_at=expires_at, on_timeout=self._options.on_timeout)

    def hint(self) -> None:
        """Something may have been decided."""
        self._hinted.set()

    @contextlib.asynccontextmanager
    async def alone(self, reason: str) -> AsyncIterator[None]:
        """Ask while nobody else does; what is not decided in the end is taken back: ``reason``."""
        async with self._turn:
            try:
                yield
            finally:
                await self.withdraw(reason)

    async def ask(self, draft: Draft, card: Json, deadline: Deadline) -> UUID:
        """Return the id of a new confirmation, once it is asked for; raises the `Refusal`.

        Cancelled, it is asked for all the same: `withdraw` it.
        """
        changes = None if self._keep is None else await self._keep()
        if changes is not None:
            card = with_changes(card, changes)
        self.pending = confirmation_id = self._clock.new_id()
        held = self._line.held
        request = AskConfirmation(
            task_id=held.task_id,
            execution_id=held.execution_id,
            epoch=held.epoch,
            confirmation_id=confirmation_id,
            gate=draft.gate,
            card=card,
            expires_at=deadline.expires_at,
            call_sha256=draft.call_sha256,
            on_timeout=self._options.on_timeout,
            quorum=self._options.quorum,
            prevent_self_approval=self._options.prevent_self_approval,
        )
        self._asking = asking = asyncio.ensure_future(self._line.insist("ask", request))
        asking.add_done_callback(lambda done: done.cancelled() or done.exception())
        await asyncio.shield(asking)  # the line above: who is cancelled here hears of no refusal
        return confirmation_id

    async def looks(self, confirmation_id: UUID) -> AsyncIterator[Decided]:
        """Iterate over looks at a confirmation; the last one has a decision.

        Raises the `Refusal` when the execution is over.
        """
        held = self._line.held
        look = LookUpDecision(
            task_id=held.task_id,
            execution_id=held.execution_id,
            epoch=held.epoch,
            confirmation_id=confirmation_id,
        )
        while True:
            self._hinted.clear()
            answer = await self._line.insist("decision", look)
            decided = msgspec.json.decode(answer, type=Decided)
            yield decided
            if decided.decision is not None:
                return
            await moment(self._hinted, LOOK_SEC)

    async def decision(self, confirmation_id: UUID) -> Decided:
        """Return what is decided, however long that takes; raises the `Refusal` as `looks` does."""
        decided = Decided()
        async for look in self.looks(confirmation_id):
            decided = look
        self.pending = None
        return decided

    async def withdraw(self, reason: str) -> None:
        """Take back what was asked last, unless it was decided."""
        confirmation_id, self.pending = self.pending, None
        if confirmation_id is None:
            return
        held = self._line.held
        if not await self._was_asked():
            return
        try:
            await self._line.insist(
                "withdraw",
                WithdrawConfirmation(
                    task_id=held.task_id,
                    execution_id=held.execution_id,
                    epoch=held.epoch,
                    confirmation_id=confirmation_id,
                    reason=reason,
                ),
            )
        except Refusal as refusal:
            log.info("confirmation.not_withdrawn", reason=str(refusal))

    async def _was_asked(self) -> bool:
        """Return whether the last request arrived, once that is known: it may be on its way."""
        if self._asking is None:
            return False
        await asyncio.wait({self._asking})
        return not self._asking.cancelled() and self._asking.exception() is None
