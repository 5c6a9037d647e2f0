"""What the commands of the daemon print: the line that says ready, checks, events, a status."""

from __future__ import annotations

import io
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import msgspec
import pytest

from events import codec
from events.envelope import Recorded
from events.task import Event, Json, Status, TaskStarted, TaskUpdated
from pandar_daemon.cli.checks import checks_text
from pandar_daemon.cli.daemon import banner, ready_text, short
from pandar_daemon.cli.event_lines import event_line
from pandar_daemon.cli.look import PLAIN, Look, look_of
from pandar_daemon.cli.output import CliError, error_text
from pandar_daemon.cli.project_table import project_card, project_list
from pandar_daemon.cli.rows import ProjectRow, TaskRow
from pandar_daemon.cli.status_line import status_line
from pandar_daemon.wiring import Check, Ready

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
COLOUR = Look(width=100, colour=True)
READY = Ready(
    url="http://127.0.0.1:8000",
    token_file=Path("/data/my pandar/token"),
    data=Path("/data/my pandar"),
    nats_url="nats://user:secret@127.0.0.1:4222",
    seconds=1.84,
)


def test_ready_is_one_line_and_a_request_to_paste() -> None:
    """Programs wait for the line that starts with ready; paths are safe to paste."""
    text = ready_text(READY, PLAIN)
    ready = [line for line in text.splitlines() if line.startswith("ready")]
    assert ready == ["ready  http://127.0.0.1:8000  token '/data/my pandar/token'  (1.8 s)"]
    assert "$(cat '/data/my pandar/token')" in text
    assert "secret" not in text


def test_the_banner_comes_before_anything_can_fail() -> None:
    """It says where data and log are."""
    assert banner(Path("/d"), PLAIN).endswith("data /d  log /d/pandar.log\n")


def test_a_path_below_home_is_shortened(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tilde stands outside the quotes, so that a shell still reads it."""
    monkeypatch.setenv("HOME", "/home/me")
    assert short(Path("/home/me/.local/share/pandar/token")) == "~/.local/share/pandar/token"
    assert short(Path("/home/me/a b")) == "~/'a b'"


def test_checks_say_what_to_do() -> None:
    """A hint stands below what is amiss, and nowhere else."""
    checks = [
        Check(name="log", ok=True, detail="dense", hint="unused"),
        Check(name="bus", ok=False, detail="2 events missing", hint="start the relay"),
        Check(name="sandbox", ok=None, detail="not looked at"),
    ]
    assert checks_text(checks, PLAIN) == (
        "ok  log      dense\n"
        "BAD bus      2 events missing\n"
        "             → start the relay\n"
        "-   sandbox  not looked at\n"
        "\n"
        "1 of 3 amiss\n"
    )
    assert "all is well" in checks_text(checks[:1], COLOUR)


def recorded(event: Event) -> Recorded:
    """Return an event as recorded."""
    return Recorded(
        position=7,
        stream="task-42",
        version=1,
        event_id=UUID(int=1),
        type=codec.name_of(event),
        schema_version=1,
        recorded_at=NOW,
        actor="runner:local",
        project_id=1,
        command_id="c",
        correlation_id="c",
        causation_id=None,
        traceparent=None,
        data=codec.raw(codec.encode(event)),
    )


def test_an_event_is_one_line() -> None:
    """Position, time, stream, type, what happened, who: whatever the names in it are."""
    started = TaskStarted(execution_id=UUID(int=1), attempt=1, epoch=1, runner_id="r1")
    line = event_line(recorded(started), NOW, PLAIN)
    assert line.split() == [
        "7", "12:00:00", "task-42", "task.started",
        "Attempt", "1", "started", "by", "r1", "runner:local",
    ]  # fmt: skip
    narrow = event_line(recorded(TaskUpdated(name="x\n" * 100)), NOW, Look(width=60))
    assert narrow.count("\n") == 1


def test_an_event_of_a_newer_release_has_its_name() -> None:
    """What this release does not know is shown by its type, not hidden."""
    unknown = msgspec.structs.replace(recorded(TaskUpdated(name="x")), type="task.danced")
    assert event_line(unknown, NOW, PLAIN).count("task.danced") == 2


@pytest.mark.parametrize(
    ("status", "more", "end"),
    [
        (Status.PENDING, {"status_reason": "queued"}, "queued"),
        (Status.COMPLETED, {"duration": 61}, "after 1 m 1 s"),
        (Status.RUNNING, {"status_reason": "cancel_requested"}, "being cancelled"),
        (Status.FAILED, {"error": "exit code 3", "duration": 2}, "exit code 3 after 2.0 s"),
    ],
)
def test_a_status_is_one_line(status: Status, more: Json, end: str) -> None:
    """State, number, name and how it ended."""
    task = TaskRow(id=1, name="n", status=status, **more)
    assert status_line(task, PLAIN) == f"{status.value}  task 1  n  {end}\n"


def test_an_error_has_its_details_below() -> None:
    """Details of others cannot act on the terminal."""
    text = error_text(CliError("It failed", "field: \x1b[2Jrule", "second"), PLAIN)
    assert text == "pandar: It failed\n  field: rule\n  second\n"


def test_projects_are_a_table_and_a_card() -> None:
    """A project has a name, an owner and members."""
    row = ProjectRow(id=1, name="default", owner="7", members=[{"user": "8", "role": "viewer"}])
    assert project_list([row], NOW, PLAIN).splitlines()[1].split() == ["1", "default", "7"]
    assert "members  8 viewer" in project_card(row, NOW, PLAIN)
    assert "pandar project create" in project_list([], NOW, PLAIN)


class Terminal(io.StringIO):
    """A stream that claims to be a terminal, of unknown width."""

    encoding = "utf-8"

    def isatty(self) -> bool:
        """Return that it is one."""
        return True


@pytest.mark.parametrize(
    ("environment", "look"),
    [
        ({}, Look(width=80, colour=True)),
        ({"COLUMNS": "60"}, Look(width=60, colour=True)),
        ({"NO_COLOR": ""}, Look(width=80)),
        ({"TERM": "dumb", "COLUMNS": "x"}, Look(width=80)),
    ],
)
def test_a_terminal_gets_what_it_can_show(environment: dict[str, str], look: Look) -> None:
    """Colour unless it is not wanted; the width the terminal has, or says it has."""
    assert look_of(Terminal(), environment) == look
