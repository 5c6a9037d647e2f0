"""The file in the root of a workspace: found, read without being led astray, applied, told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import cast
from uuid import UUID

import pytest

from events.calls import Rules
from events.commands import Command
from events.running import Assignment, ReportNarrowed
from pandar_daemon.domain.narrowing import FILE, SIZE_MAX
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.services.line import Line
from pandar_daemon.services.own_rules import OwnRules, own_rules

ASSIGNMENT = Assignment(
    task_id=7,
    project_id=1,
    execution_id=UUID(int=1),
    epoch=3,
    attempt=1,
    command="true",
    name="a task",
    metadata={},
    rules=Rules(policy="auto"),
)


class Ear:
    """A line to a daemon that listens, or is away."""

    def __init__(self, *, away: bool = False) -> None:
        self.heard: list[tuple[str, Command]] = []
        self.away = away

    async def send(self, action: str, command: Command) -> bytes:
        """Take note."""
        if self.away:
            raise Unavailable("nobody answers")
        self.heard.append((action, command))
        return b""


async def told(found: OwnRules, *, away: bool = False) -> list[tuple[str, Command]]:
    """Return what is said to the daemon."""
    ear = Ear(away=away)
    await found.tell(cast("Line", ear))
    return ear.heard


async def test_without_a_file_nothing_changes_and_nothing_is_said(tmp_path: Path) -> None:
    """Nor without a workspace, nor for an empty file."""
    assert own_rules(ASSIGNMENT, tmp_path / "nowhere").assignment is ASSIGNMENT
    found = own_rules(ASSIGNMENT, tmp_path)
    assert (found.assignment, found.lines) == (ASSIGNMENT, ())
    (tmp_path / FILE).write_text("# nothing\n")
    found = own_rules(ASSIGNMENT, tmp_path)
    assert (found.assignment, found.lines, await told(found)) == (ASSIGNMENT, (), [])


async def test_what_it_did_is_said_in_the_output_and_recorded(tmp_path: Path) -> None:
    """Line by line; a daemon that is away keeps nothing from beginning."""
    (tmp_path / FILE).write_text('policy = "manual"\nlevel = "none"\n')
    found = own_rules(ASSIGNMENT, tmp_path)
    assert found.assignment.rules.policy == "manual"
    assert found.lines[0] == ".pandar.toml: policy auto → manual"
    assert found.lines[1].startswith(".pandar.toml: ignored: level is not known here")
    ((action, report),) = await told(found)
    assert action == "narrowed"
    assert isinstance(report, ReportNarrowed)
    assert (report.task_id, report.epoch) == (7, 3)
    assert report.changes == ["policy auto → manual"]
    assert await told(found, away=True) == []


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "pipe", "device", "huge"])
def test_what_is_no_plain_file_is_not_opened_and_everything_is_asked_about(
    tmp_path: Path, kind: str
) -> None:
    """A link is not followed, a pipe does not make anybody wait, a long file is not read whole."""
    file = tmp_path / FILE
    (tmp_path / "elsewhere").write_text("protected = ['v1']")
    match kind:
        case "link":
            file.symlink_to("elsewhere")
        case "dangling":
            file.symlink_to("/nowhere")
        case "folder":
            file.mkdir()
        case "pipe":
            os.mkfifo(file)
        case "device":
            file.symlink_to("/dev/zero")
        case _:
            file.write_bytes(b"#" * (SIZE_MAX + 1))
    found = own_rules(ASSIGNMENT, tmp_path)
    assert found.assignment.rules.policy == "manual"
    assert "v1" not in found.assignment.confines.protected
    assert any("ignored" in line for line in found.lines)
