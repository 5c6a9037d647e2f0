"""What happened to a task, in the daemon's own words, as fits a terminal."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final

from events import codec
from events.envelope import Recorded
from events.task import Json
from pandar_daemon.cli.harmless import one_line
from pandar_daemon.cli.marks import short_id
from pandar_daemon.cli.times import clock
from projections import timeline

STYLES: Final = {
    "task.started": "cyan",
    "task.resumed": "cyan",
    "task.confirmation_requested": "bold yellow",
    "task.confirmed": "green",
    "task.denied": "red",
    "task.completed": "green",
    "task.failed": "red",
    "task.execution_lost": "red",
    "task.policy_narrowed": "yellow",
    "task.egress_blocked": "yellow",
    "task.progressed": "dim",
    "task.cancelled": "dim",
}
"""How the events stand out that a reader looks for."""

_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z")


def in_words(sentence: str, data: Json, now: datetime) -> str:
    """Return a sentence of a timeline as one harmless line, its times and runner ids shortened."""
    runner = data.get("runner_id")
    if isinstance(runner, str) and runner:
        sentence = sentence.replace(runner, short_id(runner))
    near = _INSTANT.sub(lambda match: clock(datetime.fromisoformat(match[0]), now), sentence)
    return one_line(near)


def sentence_of(recorded: Recorded) -> str:
    """Return what an event says; its type, for one this release does not know."""
    event = codec.decode(recorded)
    return recorded.type if event is None else timeline.summary(event)


def actor(name: str) -> str:
    """Return who did it, on one harmless line, a runner's long id shortened."""
    kind, colon, identifier = name.partition(":")
    return f"{one_line(kind)}{colon}{short_id(identifier)}" if kind == "runner" else one_line(name)
