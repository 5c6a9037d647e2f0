"""Asking on behalf of a plain command: what its programs want at a door of its box.

Judged, granted, asked and recorded as what an agent asks is, one at a time. There is nobody to be
parked: it waits as long as people take, and ends with the command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from uuid import UUID

import structlog
from msgspec import Struct

from events.calls import ToolCall, Verdict
from events.commands import Decision
from events.running import Assignment, Decided
from pandar_daemon.domain import conversation_texts as texts
from pandar_daemon.domain import talking as talk
from pandar_daemon.domain.judging import Judgement
from pandar_daemon.domain.precedents import Precedents
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.ports import Permission
from pandar_daemon.services.cards import drafted
from pandar_daemon.services.consent import Consent
from pandar_daemon.services.granted import Grants
from pandar_daemon.services.recording import Recording

log = structlog.get_logger(__name__)


class Asking(Struct, frozen=True, kw_only=True):
    """What it takes; ``wait`` says whether people are being asked."""

    assignment: Assignment
    consent: Consent
    recording: Recording
    grants: Grants
    wait: Callable[[bool], Awaitable[None]]


class Inquiries:
    """Those of one execution."""

    def __init__(self, means: Asking, terms: talk.Terms) -> None:
        self._means = means
        self._precedents = Precedents(terms)
        self._turn = asyncio.Lock()
        self._asked = 0

    async def inquire(self, call: ToolCall, why: str) -> Permission:
        """See `ports.Inquire`. Cancelled, nobody needs to decide it any more."""
        async with self._turn:
            try:
                settle = await self._decide(call, why)
                await self._means.recording.call(settle)
            except Refusal as refusal:  # it is being cancelled, or its lease is over
                log.info("inquiry.refused", reason=str(refusal))
                return Permission(allowed=False, text=f"This cannot be allowed now: {refusal}")
        return Permission(allowed=settle.verdict is Verdict.ALLOW, text=settle.text)

    async def _decide(self, call: ToolCall, why: str) -> talk.Settle:
        judged = self._precedents.rule(call).judged
        if judged.verdict is Verdict.ASK:
            return await self._granted(call, judged) or await self._ask(call, judged, why)
        allowance = judged.allowance.grant_id if judged.allowance else ""
        denied = judged.verdict is Verdict.DENY
        if denied:
            self._precedents.failed(call, "")
        return talk.Settle(
            request_id="",
            call=call,
            verdict=judged.verdict,
            rule=judged.rule,
            gates=tuple(judged.gates),
            grant_id=texts.uuid_of(allowance),
            text=texts.refused_by_rule(call, judged.why) if denied else "",
        )

    async def _granted(self, call: ToolCall, judged: Judgement) -> talk.Settle | None:
        grant_id = None if "budget" in judged.gates else await self._means.grants.use(call)
        if grant_id is None:
            return None
        return talk.Settle(
            request_id="",
            call=call,
            verdict=Verdict.ALLOW,
            rule=f"grant.{grant_id}",
            gates=tuple(judged.gates),
            grant_id=grant_id,
        )

    async def _ask(self, call: ToolCall, judged: Judgement, why: str) -> talk.Settle:
        means = self._means
        self._asked += 1
        ask = talk.AskCall(number=self._asked, call=call, judged=judged, intent=why)
        async with means.consent.alone("the command waits for it no longer"):
            await means.wait(True)  # noqa: FBT003 - a switch
            try:
                deadline = means.consent.deadline()
                draft, card = drafted(ask, means.assignment, deadline)
                confirmation_id = await means.consent.ask(draft, card, deadline)
                decided = await means.consent.decision(confirmation_id)
            finally:
                await means.wait(False)  # noqa: FBT003 - a switch
        return self._settled(call, judged, confirmation_id, decided)

    def _settled(
        self, call: ToolCall, judged: Judgement, confirmation_id: UUID, decided: Decided
    ) -> talk.Settle:
        allowed = decided.decision is Decision.APPROVE
        if allowed:
            self._precedents.approved(call, judged.gates, decided, confirmation_id)
        else:
            self._precedents.failed(call, "")
        return talk.Settle(
            request_id="",
            call=call,
            verdict=Verdict.ALLOW if allowed else Verdict.DENY,
            rule=f"confirmation.{confirmation_id}",
            gates=tuple(judged.gates),
            confirmation_id=confirmation_id,
            text="" if allowed else texts.refusal(call, decided),
        )
