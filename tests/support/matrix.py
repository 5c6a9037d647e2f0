"""The status and command matrix, derived by asking the rules themselves.

`derived` is what the code does; the test holds it against what the specification says, and
`tests.generate` draws the reference page from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from events import commands as do
from events import running as tell
from events import task as did
from events.codec import name_of
from events.task import Status
from pandar_daemon.domain.refusals import NotFound, Refusal
from pandar_daemon.domain.task import TaskCommand
from pandar_daemon.domain.task_rules import Stale
from tests.support import stories as s
from tests.support.given import NOW, When, given

STATES: Final[Mapping[str, list[did.TaskEvent]]] = MappingProxyType(
    {
        "filed": s.filed(),
        "queued": s.queued(),
        "pausing": [
            *s.running(),
            s.failed(will_retry=True),
            s.retried(2, after_sec=10, automatic=True, counted=True),
        ],
        "paused": [*s.running(), s.paused()],
        "running": s.running(),
        "approved": [*s.waiting(), s.approved()],
        "cancelling": s.cancelling(),
        "waiting": s.waiting(),
        "lost": s.waiting_lost(),
        "parked": s.waiting_parked(),
        "resuming": s.resuming(),
        "failed": [*s.running(), s.failed()],
        "completed": [*s.running(), s.completed()],
        "cancelled": [*s.cancelling(), s.cancelled()],
        "deleted": [*s.filed(), did.TaskDeleted(from_status=Status.PENDING)],
    }
)
"""Every state the rules tell apart, by a name of ours."""

MEANING: Final[Mapping[str, str]] = MappingProxyType(
    {
        "filed": "`pending`, nobody started it",
        "queued": "`pending`, a runner may take it",
        "pausing": "`pending`, the pause before a retry is not over",
        "paused": "`pending`, the provider's quota is used up for now",
        "running": "`running`",
        "approved": "`running`, and a confirmation was approved before",
        "cancelling": "`running`, its process tree is being killed",
        "waiting": "`waiting_confirmation`, its execution is live",
        "lost": "`waiting_confirmation`, its runner was lost meanwhile",
        "parked": "`waiting_confirmation`, its process was ended meanwhile",
        "resuming": "`running`, it was decided, and waits for a runner to go on",
        "failed": "`failed`",
        "completed": "`completed`",
        "cancelled": "`cancelled`",
        "deleted": "deleted",
    }
)

COMMANDS: Final[Mapping[str, TaskCommand]] = MappingProxyType(
    {
        "start": do.StartTask(),
        "confirm: approve": s.confirm(),
        "confirm: deny": s.deny(),
        "confirm: changes": s.confirm(do.Decision.CHANGES, reason="smaller"),
        "cancel": do.CancelTask(),
        "retry": do.RetryTask(),
        "update: name": s.update(name="tidy"),
        "update: scheduled_at": do.UpdateTask(scheduled_at=NOW),
        "delete": do.DeleteTask(),
        "expire": s.expire(),
        "claim": s.dispatch(),
        "progress": s.progress(),
        "ask": s.ask(),
        "finish: completed": s.finish(tell.Outcome.COMPLETED),
        "finish: failed": s.finish(tell.Outcome.FAILED),
        "finish: cancelled": s.finish(tell.Outcome.CANCELLED),
        "finish: parked": s.finish(tell.Outcome.PARKED),
        "finish: paused": s.finish(tell.Outcome.PAUSED),
        "lose": s.lose(),
        "withdraw": s.withdraw(),
        "record": s.record(),
        "record: approved": s.record(of=1),
        "session": s.open_session(),
        "checkpoint": s.checkpoint(),
        "answered": s.answer(),
        "switch": s.switch(),
        "narrowed": s.narrowed(),
        "blocked": s.blocked(),
        "link": s.link(),
    }
)
"""Every command, by its action and what of it makes a difference."""

PEOPLE: Final = tuple(COMMANDS)[:9]
"""The commands people send; the others are sent by runners and by Pandar itself."""

REFUSED, STALE, GONE, NOTHING = "409", "stale", "404", "nothing"


def outcome(command: str, state: str) -> When:
    """Return what the rules say; the reaper asks when the deadline is over."""
    late = command == "expire"
    return given(STATES[state]).when(COMMANDS[command], at=s.DEADLINE if late else NOW)


def cell(command: str, state: str) -> str:
    """Return one field of the matrix: what happens, or how it is refused."""
    said = outcome(command, state)
    if said.refusal is not None:
        return _refusal(said.refusal)
    names = [name_of(event).removeprefix("task.") for event in said.happened]
    return " + ".join(names) or NOTHING


def _refusal(refusal: Refusal) -> str:
    kinds: dict[type[Refusal], str] = {Stale: STALE, NotFound: GONE}
    return kinds.get(type(refusal), REFUSED)


def derived() -> dict[tuple[str, str], str]:
    """Return the whole matrix."""
    return {(command, state): cell(command, state) for command in COMMANDS for state in STATES}


def moves() -> dict[tuple[Status, Status], list[str]]:
    """Return, for each two statuses, the commands that lead from one to the other."""
    found: dict[tuple[Status, Status], list[str]] = {}
    for command in COMMANDS:
        for state, history in STATES.items():
            after = given([*history, *_events(command, state)]).task
            before = given(history).task.status
            if before is not None and after.status is not None and after.status is not before:
                names = found.setdefault((before, after.status), [])
                names.extend([] if command in names else [command])
    return found


def _events(command: str, state: str) -> list[did.TaskEvent]:
    return [e for e in outcome(command, state).happened if isinstance(e, did.TaskEvent)]
