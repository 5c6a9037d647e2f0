"""What was decided before, as far as it matters for the next call of a conversation.

An approval made while no process ran is for the one call whose hash it names. Consent beyond one
call goes on until the execution ends. The same call refused or failing `TRIES` times is a question
of budget for people, not for the agent to burn money on.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from msgspec import Struct

from events.calls import Allowance, Scope, Severity, ToolCall, Verdict
from events.commands import Decision
from events.running import Decided, Resume
from pandar_daemon.domain.judging import Judgement, judge
from pandar_daemon.domain.talking import Terms

TRIES: Final = 3
"""How often the same call may be refused, or fail, before people are asked."""

LOOP: Final = "budget.loop"
"""The rule by which people are asked about what was tried too often."""
VOID: Final = Judgement(verdict=Verdict.ASK, rule="approval.void", gates=["unclassified"])
"""What is done about a call whose approval turned out to be worth nothing."""


class Ruling(Struct, frozen=True, kw_only=True):
    """What is done about a call; ``confirmation_id`` names the approval that is used for it."""

    judged: Judgement
    confirmation_id: UUID | None = None


class Precedents:
    """Those of one conversation."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._allowances = list(terms.allowances)
        self._approval = _approval(terms.resume)
        self._failures: dict[str, int] = {}
        self._counted: set[str] = set()

    def rule(self, call: ToolCall) -> Ruling:
        """Return what is done about a call; never raises."""
        judged, approval = self._judge(call), self._approval
        if approval is None or approval.call_sha256 != call.sha256:
            return Ruling(judged=judged)
        if judged.verdict is Verdict.DENY:  # by the configuration, which nobody overrides
            return Ruling(judged=judged)
        allowed = Judgement(
            verdict=Verdict.ALLOW,
            rule=f"confirmation.{approval.confirmation_id}",
            gates=judged.gates or [approval.gate],
            severity=judged.severity,
        )
        return Ruling(judged=allowed, confirmation_id=approval.confirmation_id)

    def _judge(self, call: ToolCall) -> Judgement:
        terms, failures = self._terms, self._failures.get(call.sha256, 0)
        judged = judge(call, terms.rules, self._allowances, terms.workspace, terms.home)
        if judged.verdict is Verdict.DENY or failures < TRIES:
            return judged
        return Judgement(
            verdict=Verdict.ASK,
            rule=LOOP,
            gates=["budget"],
            severity=Severity.MEDIUM,
            why=f"this was refused or failed {failures} times before",
        )

    def used(self, ruling: Ruling) -> None:
        """Take note that a ruling is acted upon: the approval it names is used up."""
        approval = self._approval
        if approval is None or approval.decided is None or ruling.confirmation_id is None:
            return
        self._approval = None
        self._widen(ruling.judged.gates, approval.decided, ruling.confirmation_id)

    def keep(
        self, call: ToolCall, gates: list[str], decided: Decided, confirmation_id: UUID
    ) -> None:
        """Take note that people want this call, which comes to a door next: it is used there."""
        self._failures.pop(call.sha256, None)
        self._approval = Resume(
            confirmation_id=confirmation_id,
            gate=gates[0] if gates else "",
            call_sha256=call.sha256,
            decided=decided,
        )

    def lapse(self) -> None:
        """Forget the approval that was not used yet: people are asked something else."""
        self._approval = None

    def approved(
        self, call: ToolCall, gates: list[str], decided: Decided, confirmation_id: UUID
    ) -> None:
        """Take note that people want this call, which may fail again as often, or even more."""
        self._failures.pop(call.sha256, None)
        self._widen(gates, decided, confirmation_id)

    def _widen(self, gates: list[str], decided: Decided, confirmation_id: UUID) -> None:
        """Let it reach beyond the call; what reaches beyond the task is a grant, looked up."""
        if decided.scope not in {Scope.EXECUTION, Scope.PATTERN}:
            return
        pattern = "" if decided.scope is Scope.EXECUTION else decided.pattern
        name = str(confirmation_id)
        allowance = Allowance(gates=list(gates), pattern=pattern, confirmation_id=name)
        self._allowances.append(allowance)

    def failed(self, call: ToolCall, call_id: str) -> None:
        """Count that a call was refused, or failed: once, by the agent's own name for it."""
        if call_id and call_id in self._counted:
            return
        self._counted.add(call_id)
        self._failures[call.sha256] = self._failures.get(call.sha256, 0) + 1


def _approval(resume: Resume | None) -> Resume | None:
    """Return the approval a process was started with, if it was one of a call."""
    if resume is None or resume.decided is None or not resume.call_sha256:
        return None
    return resume if resume.decided.decision is Decision.APPROVE else None
