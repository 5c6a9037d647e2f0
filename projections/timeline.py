"""What happened to each task, in order, with a sentence for people."""

from __future__ import annotations

from functools import singledispatch
from typing import Final

from msgspec import UNSET, Raw

from events import codec
from events.calls import Verdict
from events.envelope import Recorded
from events.instant import text
from events.task import (
    AgentSwitched,
    ApprovalGiven,
    CallDecided,
    CancelRequested,
    ChangesRequested,
    ConfirmationEscalated,
    ConfirmationExpired,
    ConfirmationRequested,
    ConfirmationWithdrawn,
    EgressBlocked,
    Event,
    ExecutionLost,
    LinkIssued,
    PolicyNarrowed,
    QuestionAnswered,
    ResumeRequested,
    SessionOpened,
    StartRequested,
    TaskCancelled,
    TaskCheckpointed,
    TaskCompleted,
    TaskConfirmed,
    TaskCreated,
    TaskDeleted,
    TaskDenied,
    TaskFailed,
    TaskParked,
    TaskPaused,
    TaskProgressed,
    TaskPushed,
    TaskResumed,
    TaskRetried,
    TaskStarted,
    TaskUpdated,
)
from projections.base import Append, Change, Delete, ReadModel, Table, storable, task_id

TABLE: Final = Table(
    name="timeline",
    columns=(
        ("task_id", "bigint"),
        ("position", "bigint"),
        ("version", "bigint"),
        ("type", "text"),
        ("at", "timestamptz"),
        ("actor", "text"),
        ("summary", "text"),
        ("data", "json"),
    ),
    key=("task_id", "position"),
)


def _on(recorded: Recorded, event: Event) -> list[Change]:
    task = task_id(recorded)
    if type(event) is TaskDeleted:
        return [Delete(TABLE.name, (task,))]
    row = {
        "version": recorded.version,
        "type": recorded.type,
        "at": recorded.recorded_at,
        "actor": recorded.actor,
        "summary": storable(_SUMMARIES.get(type(event), summary)(event)),
        "data": Raw(codec.encode(event)),
    }
    return [Append(TABLE.name, (task, recorded.position), row)]


def _why(sentence: str, reason: str) -> str:
    return f"{sentence}: {reason}" if reason else sentence


def _by(sentence: str, who: str) -> str:
    return f"{sentence} by {who}" if who else sentence


@singledispatch
def summary(event: Event) -> str:
    """Return what happened, in one line of plain words."""
    return codec.name_of(event)


@summary.register
def _created(event: TaskCreated) -> str:
    if event.scheduled_at is None:
        return "Filed"
    return f"Filed, to start at {text(event.scheduled_at)}"


@summary.register
def _updated(event: TaskUpdated) -> str:
    stated = [name for name in event.__struct_fields__ if getattr(event, name) is not UNSET]
    return f"Changed {', '.join(stated) or 'nothing'}"


@summary.register
def _start_requested(event: StartRequested) -> str:
    return _why("Waits for a runner", event.reason)


@summary.register
def _started(event: TaskStarted) -> str:
    who = f"{event.agent} on {event.runner_id}" if event.agent else event.runner_id
    return f"Attempt {event.attempt} started by {who}"


@summary.register
def _progressed(event: TaskProgressed) -> str:
    return _why(f"{event.progress} %", event.message)


@summary.register
def _asked(event: ConfirmationRequested) -> str:
    return f"Waits for a decision ({event.gate}) until {text(event.expires_at)}"


@summary.register
def _confirmed(event: TaskConfirmed) -> str:
    return _why(_by("Approved", event.by), event.reason)


@summary.register
def _denied(event: TaskDenied) -> str:
    return _why(_by("Denied", event.by), event.reason)


@summary.register
def _changes(event: ChangesRequested) -> str:
    return _why(_by("Changes asked for", event.by), event.reason)


@summary.register
def _expired(_event: ConfirmationExpired) -> str:
    return "Nobody decided in time: counts as denied"


@summary.register
def _answered(event: QuestionAnswered) -> str:
    return f"{event.by} answered “{event.question}” with “{event.answer}”"


@summary.register
def _vote(event: ApprovalGiven) -> str:
    return _why(f"{event.by} approved; it takes more than one", event.reason)


@summary.register
def _link(event: LinkIssued) -> str:
    return f"Made an approval link for {event.approver}"


@summary.register
def _escalated(event: ConfirmationEscalated) -> str:
    return f"Nobody decided in time: asks others too, until {text(event.expires_at)}"


@summary.register
def _withdrawn(event: ConfirmationWithdrawn) -> str:
    return _why("Needs no decision any more", event.reason)


_VERDICTS: Final = {Verdict.ALLOW: "Allowed", Verdict.ASK: "Asks about", Verdict.DENY: "Refused"}


@summary.register
def _call(event: CallDecided) -> str:
    what = event.call.command or event.call.title or event.call.tool or event.call.kind.value
    return f"{_VERDICTS[event.verdict]} ({event.rule}): {what[:200]}"


@summary.register
def _narrowed(event: PolicyNarrowed) -> str:
    said = [*event.changes, *(f"ignored: {each}" for each in event.refused)]
    return _why("The repository's .pandar.toml", "; ".join(said)[:500])


@summary.register
def _blocked(event: EgressBlocked) -> str:
    if event.omitted:
        return f"Refused {event.omitted:,} more hosts, the last {event.host}:{event.port}"
    return _why(f"Refused to reach {event.host}:{event.port}", event.reason)


@summary.register
def _pushed(event: TaskPushed) -> str:
    names = ", ".join(ref.ref.removeprefix("refs/heads/") for ref in event.refs)
    noun = "commit" if event.commits == 1 else "commits"
    return f"Pushed {names[:200]} to {event.remote[:200]}: {event.commits} new {noun}"


@summary.register
def _session(event: SessionOpened) -> str:
    return f"{event.agent} opened session {event.session_id}"


@summary.register
def _resume(event: ResumeRequested) -> str:
    return _why("Waits for a runner to go on", event.reason)


@summary.register
def _paused(event: TaskPaused) -> str:
    return _why(f"Paused ({event.reason}) until {text(event.until)}", event.detail)


@summary.register
def _parked(_event: TaskParked) -> str:
    return "Parked: its slot is free while it waits"


@summary.register
def _resumed(event: TaskResumed) -> str:
    return f"Goes on at {event.runner_id}"


@summary.register
def _checkpointed(event: TaskCheckpointed) -> str:
    files = "1 file" if event.files == 1 else f"{event.files} files"
    return f"Kept its files: {files} changed, +{event.insertions} -{event.deletions}"


@summary.register
def _switched(event: AgentSwitched) -> str:
    return _why(f"{event.to_agent} took over from {event.from_agent}", event.reason)


@summary.register
def _completed(event: TaskCompleted) -> str:
    return f"Completed after {event.duration_sec:.1f} s"


@summary.register
def _failed(event: TaskFailed) -> str:
    return _why(f"Failed ({event.kind.value})", event.error)


@summary.register
def _cancel_requested(event: CancelRequested) -> str:
    return _why("Being cancelled", event.reason)


@summary.register
def _cancelled(event: TaskCancelled) -> str:
    return _why("Cancelled", event.reason)


@summary.register
def _retried(event: TaskRetried) -> str:
    return _why(f"Attempt {event.attempt} not before {text(event.not_before)}", event.reason)


@summary.register
def _lost(event: ExecutionLost) -> str:
    return _why(f"Runner {event.runner_id} was lost", event.reason)


_SUMMARIES: Final = summary.registry

TIMELINE: Final = ReadModel(name="timeline", version=1, tables=(TABLE,), handles=("task.",), on=_on)
