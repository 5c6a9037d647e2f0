"""What an agent does and is told, put on record before it hears of it."""

from __future__ import annotations

from typing import Final

import msgspec

from events.calls import ToolCall
from events.commands import REASON_MAX
from events.running import AnswerQuestion, OpenSession, RecordCall
from pandar_daemon.domain import talking as talk
from pandar_daemon.services.line import Line

CALL_MAX: Final = 100_000
"""Bytes of a call as JSON that fit a command; of a longer one the diff is cut, not its hash."""
DIFF_MAX: Final = 4_000
TEXT_MAX: Final = 2_000
RULE_MAX: Final = 200
GATES_MAX: Final = 50
NAME_MAX: Final = 200
BY_MAX: Final = 80


class Recording:
    """One execution's; each method raises the `Refusal` there is."""

    def __init__(self, line: Line) -> None:
        self._line = line

    async def call(self, settle: talk.Settle) -> None:
        """Record what is done about a call."""
        held = self._line.held
        record = RecordCall(
            task_id=held.task_id,
            execution_id=held.execution_id,
            epoch=held.epoch,
            call=fitted(settle.call),
            verdict=settle.verdict,
            rule=settle.rule[:RULE_MAX],
            gates=list(settle.gates)[:GATES_MAX],
            confirmation_id=settle.confirmation_id,
            grant_id=settle.grant_id,
            reason=settle.text[:REASON_MAX],
            call_sha256=settle.call.sha256,
        )
        await self._line.insist("record", record)

    async def answer(self, reply: talk.Reply) -> None:
        """Record what a question is answered."""
        held = self._line.held
        told = AnswerQuestion(
            task_id=held.task_id,
            execution_id=held.execution_id,
            epoch=held.epoch,
            question=reply.question[:TEXT_MAX],
            answer=reply.text[:TEXT_MAX],
            by=reply.by[:BY_MAX],
        )
        await self._line.insist("answered", told)

    async def session(self, agent: str, session_id: str, store: str) -> None:
        """Record how an agent names its conversation, and where that is kept."""
        held = self._line.held
        opened = OpenSession(
            task_id=held.task_id,
            execution_id=held.execution_id,
            epoch=held.epoch,
            agent=agent,
            session_id=session_id[:NAME_MAX],
            store=store,
        )
        await self._line.insist("session", opened)


def fitted(call: ToolCall) -> ToolCall:
    """Return a call that can be recorded, of the same hash as long as its diff has one."""
    if not call.diff_sha256 or len(msgspec.json.encode(call)) <= CALL_MAX:
        return call
    note = f"\n[cut: {len(call.diff):,} characters, SHA-256 of all {call.diff_sha256}]"
    return msgspec.structs.replace(call, diff=call.diff[:DIFF_MAX] + note)
