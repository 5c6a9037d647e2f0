"""What people are shown of what an agent asks."""

from __future__ import annotations

from typing import assert_never

from events.running import Assignment
from events.task import Json
from pandar_daemon.domain import talking as talk
from pandar_daemon.domain.card import Deadline, Subject, budget_card, call_card, question_card
from pandar_daemon.services.consent import Draft


def drafted(ask: talk.Ask, assignment: Assignment, deadline: Deadline) -> tuple[Draft, Json]:
    """Return the request there is to decide, and its card."""
    subject = subject_of(assignment)
    match ask:
        case talk.AskCall():
            gate = ask.judged.gates[0] if ask.judged.gates else "unclassified"
            card = call_card(subject, ask.call, ask.judged, deadline, intent=ask.intent)
            return Draft(gate=gate, call_sha256=ask.call.sha256), card
        case talk.AskQuestion():
            return Draft(gate="question"), question_card(subject, ask.text, ask.choices, deadline)
        case talk.AskBudget():
            card = budget_card(subject, ask.spent, ask.limits, deadline, why=ask.why)
            return Draft(gate="budget"), card
        case _:
            assert_never(ask)


def subject_of(assignment: Assignment) -> Subject:
    """Return what a card is about."""
    return Subject(
        task_id=assignment.task_id,
        task_name=assignment.name,
        project_id=assignment.project_id,
        agent=assignment.agent or "",
        attempt=assignment.attempt,
    )
