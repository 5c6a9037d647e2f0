"""Names on the bus: ``pandar.v1.…``, action before ids, each token of ``[A-Za-z0-9_-]``."""

from __future__ import annotations

from uuid import UUID

from events.envelope import Recorded
from events.ids import TOKEN, id_of

ROOT = "pandar.v1"
ANY = "_"
"""Stands where a project or an id is not stated."""

COMMANDS = f"{ROOT}.cmd"
QUEUE = f"{ROOT}.queue"
EVENTS = f"{ROOT}.evt"
LIVE_EVENTS = f"{ROOT}.live.evt"
OUTPUT = f"{ROOT}.out"
LIVE_OUTPUT = f"{ROOT}.live.out"
DIFFS = f"{ROOT}.diff"
RUN = f"{ROOT}.run"
CONTROL = f"{ROOT}.ctl"
HEARTBEAT = f"{ROOT}.hb"
RESULTS = f"{ROOT}.result"
BELL = f"{ROOT}.bell"
"""Rung, without promise, when the log has grown."""

COMMANDS_STREAM = "PANDAR_COMMANDS"
RESULTS_STREAM = "PANDAR_RESULTS"
OUTPUT_STREAM = "PANDAR_OUTPUT"
DIFFS_STREAM = "PANDAR_DIFFS"

SERVICE = "pandar"


def events_stream(epoch: int) -> str:
    """Return the name of the stream that holds the events of an epoch of the log."""
    return f"PANDAR_EVENTS_{epoch}"


def _tail(action: str, project: int | None, target: str) -> str:
    return f"{action}.{ANY if project is None else project}.{target}"


def command(action: str, project: int | None = None, target: int | UUID | None = None) -> str:
    """Return where a command is asked: ``command("task.start", 1, 42)``."""
    return f"{COMMANDS}.{_tail(action, project, ANY if target is None else str(target))}"


def queued(action: str, project: int | None = None, target: int | UUID | None = None) -> str:
    """Return where the same command is left to be done later."""
    return f"{QUEUE}.{_tail(action, project, ANY if target is None else str(target))}"


def event(recorded: Recorded) -> str:
    """Return where a recorded event is published."""
    category, _, name = recorded.type.partition(".")
    return f"{EVENTS}.{_tail(f'{category}.{name}', recorded.project_id, id_of(recorded.stream))}"


def events_of_task(project: int | None, task_id: int, *, live: bool = False) -> str:
    """Return the filter for all events of one task."""
    root = LIVE_EVENTS if live else EVENTS
    return f"{root}.task.*.{'*' if project is None else project}.{task_id}"


def output(project: int, task_id: int, attempt: int) -> str:
    """Return where the output of one attempt is published."""
    return f"{OUTPUT}.{project}.{task_id}.{attempt}"


def diff(project: int, task_id: int, checkpoint: str) -> str:
    """Return where the patch of one checkpoint is kept."""
    return f"{DIFFS}.{project}.{task_id}.{checkpoint}"


def live_output(project: int, task_id: int, attempt: int) -> str:
    """Return where that output is repeated, once stored, for live readers."""
    return f"{LIVE_OUTPUT}.{project}.{task_id}.{attempt}"


def run(action: str, runner: str) -> str:
    """Return where a runner speaks to the daemon."""
    return f"{RUN}.{action}.{runner}"


def control(runner: str, action: str) -> str:
    """Return where the daemon speaks to one runner: ``cancel``, ``answer`` or ``drain``."""
    return f"{CONTROL}.{runner}.{action}"


def heartbeat(runner: str) -> str:
    """Return where a runner shows it is present."""
    return f"{HEARTBEAT}.{runner}"


def result(command_id: str) -> str:
    """Return where the answer to a queued command appears."""
    return f"{RESULTS}.{command_id}"


class BadSubject(ValueError):
    """The subject is not one of ours, or a token of it is malformed."""


def parse_command(subject: str) -> tuple[str, str, str]:
    """Return action, project and target, as text, that a subject under ``cmd`` or ``queue`` names.

    Raises `BadSubject` when it does not have exactly the tokens of one.
    """
    for root in (COMMANDS, QUEUE):
        if subject.startswith(f"{root}."):
            tokens = subject[len(root) + 1 :].split(".")
            if len(tokens) == 4 and all(map(TOKEN.fullmatch, tokens)):  # noqa: PLR2004
                category, action, project, target = tokens
                return f"{category}.{action}", project, target
    msg = f"expected {COMMANDS}.<category>.<action>.<project>.<id>, got {subject!r}"
    raise BadSubject(msg)
