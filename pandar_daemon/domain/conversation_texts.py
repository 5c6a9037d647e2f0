"""What is said to an agent, and what a task shows of a conversation."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from events.calls import ToolCall
from events.commands import Decision
from events.running import Decided, Resume
from events.task import FailureKind
from pandar_daemon.domain.hearing import Called, CallStatus, Fault, Stop, TurnEnded
from pandar_daemon.domain.talking import Reply, Terms

KINDS: Final = {
    Fault.MODEL: FailureKind.MODEL,
    Fault.QUOTA: FailureKind.QUOTA,
    Fault.AGENT: FailureKind.AGENT,
}
NO_USAGE: Final = (
    "the agent said that it is done, but told of no usage: its model cannot have done anything"
)
NO_MORE: Final = "it may not cost more"
_STOPS: Final = {
    Stop.CANCELLED: "the agent cancelled its own turn",
    Stop.REFUSED: "the model refused to go on",
    Stop.LIMIT: "the agent ran into a limit of its own",
    Stop.FAILED: "the agent's turn failed",
}
_SUMMARY_MAX: Final = 4_000


def opening(terms: Terms, *, loaded: bool) -> str:
    """Return the first thing to say: the task, or what was decided since."""
    resume = terms.resume
    if resume is None:
        return _task(terms)
    if loaded:
        return news(resume)
    parts = [_task(terms), _before(resume), news(resume) if resume.decided else ""]
    return "\n\n".join(part for part in parts if part)


def quoted(text: str) -> str:
    """Return what a task shows of what its agent is told in the middle of it."""
    return "\n" + "".join(f"« {line}".rstrip() + "\n" for line in text.splitlines())


def _task(terms: Terms) -> str:
    return f"{terms.prompt}\n\nContext:\n{terms.context}" if terms.context else terms.prompt


def _before(resume: Resume) -> str:
    if not resume.summary:
        return "An earlier attempt was interrupted; the files are as it left them."
    tail = resume.summary[-_SUMMARY_MAX:]
    return (
        "An earlier attempt was interrupted; the files are as it left them. "
        f"It ended like this:\n---\n{tail}\n---"
    )


def news(resume: Resume) -> str:
    """Return what an agent that knows its task is told when it goes on."""
    decided = resume.decided
    if decided is None:
        return "You were interrupted. Look at where you are, and go on with the task."
    if resume.gate == "question":
        return f"Your question was answered: {answer_of(decided)}\n\nGo on with the task."
    if resume.gate == "budget":
        return go_on(decided.reason)
    what = f":\n\n{resume.what}\n\n" if resume.what else ". "
    if decided.decision is Decision.APPROVE:
        return f"Your request was approved{what}Do exactly this, unchanged, and go on."
    return f"{_refused(decided)}{what}Do not do it. Go on with the task without it."


def _refused(decided: Decided) -> str:
    if decided.expired:
        return "Nobody decided on your request in time, so it counts as denied"
    if decided.decision is Decision.CHANGES:
        return f"Your request was not approved. Instead: {decided.reason}\n\nThe request was"
    why = f" ({decided.reason})" if decided.reason else ""
    return f"Your request was denied{why}"


def heard_of(resume: Resume | None) -> list[Reply]:
    """Return what an opening tells, to be recorded as heard: all but the approval of a call.

    That is heard when the call is asked for again.
    """
    decided = None if resume is None else resume.decided
    if resume is None or decided is None:
        return []
    if decided.decision is Decision.APPROVE and resume.call_sha256:
        return []
    answer = answer_of(decided)
    question = resume.what or resume.gate
    return [Reply(request_id="", question=question, text=answer, by=who(decided))]


def refused_by_rule(call: ToolCall, why: str) -> str:
    """Return what an agent is told whose call no rule allows."""
    what = call.command or call.title
    return f"This is not allowed: {what}\nReason: {why}\nGo on with the task without it."


def declined(question: str, decided: Decided) -> str:
    """Return what an agent is told whose question was not answered as it wished."""
    return f"Your question was denied: {question}\nReason: {decided.reason}\nGo on with the task."


def who(decided: Decided) -> str:
    """Return who decided, for the record."""
    return decided.by or ("nobody" if decided.expired else "user")


def refusal(call: ToolCall, decided: Decided) -> str:
    """Return what an agent is told whose call was refused."""
    what = call.command or call.title
    if decided.decision is Decision.CHANGES:
        return f"This was not approved: {what}\nInstead: {decided.reason}\nGo on with the task."
    why = "nobody decided in time" if decided.expired else decided.reason or "no reason was given"
    return f"This was denied: {what}\nReason: {why}\nGo on with the task without it."


def answer_of(decided: Decided) -> str:
    """Return the answer to a question that a decision amounts to."""
    if decided.reason:
        return decided.reason
    if decided.decision is Decision.APPROVE:
        return "yes"
    return "nobody answered in time" if decided.expired else "no"


def go_on(reason: str) -> str:
    """Return what is said to an agent that was stopped for its budget."""
    return f"You may go on where you stopped. {reason}".strip()


def failure(ended: TurnEnded) -> str:
    """Return why a turn that ended is no success."""
    said = _STOPS.get(ended.stop, "the agent's turn ended")
    return f"{said}: {ended.error}" if ended.error else said


def call_line(called: Called) -> str:
    """Return what a task shows of a tool call: its beginning, and its output once it is over."""
    what = called.call.command or called.call.title or called.call.tool
    if called.status in {CallStatus.PENDING, CallStatus.RUNNING}:
        return f"\n» {called.call.kind}: {what}\n" if what else ""
    output = called.output.rstrip("\n")
    mark = "" if called.status is CallStatus.DONE else "(failed)\n"
    return f"{output}\n{mark}" if output else mark


def uuid_of(text: str) -> UUID | None:
    """Return an id given as text, ``None`` for what is none."""
    try:
        return UUID(text)
    except ValueError:
        return None
