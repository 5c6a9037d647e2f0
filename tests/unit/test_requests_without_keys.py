"""The second line of defence: what a runner, or somebody's reason, says with a key in it."""

from __future__ import annotations

from uuid import UUID

import msgspec

from events import subjects
from events.commands import CancelTask, Command, ConfirmTask
from events.running import ReportProgress
from pandar_daemon.ports import Message
from pandar_daemon.services.requests import Request, Requests
from tests.simulation.bus import SimVerifier
from tests.support.clock import ManualClock
from tests.support.secrets_seen import SHAPED

KEY, OTHER = SHAPED["anthropic_key"], SHAPED["github_token"]
EXECUTION = UUID("0195512a-7c00-7000-8000-000000000101")
CANCEL = subjects.command("task.cancel", 1, 42)


async def read(subject: str, command: Command) -> Request:
    """Return what is read of a command that somebody sends."""
    headers = {"pandar-token": "user:ann", "pandar-command-id": "c-1"}
    message = Message(subject=subject, body=msgspec.json.encode(command), headers=headers)
    return await Requests(SimVerifier(), ManualClock(), frozenset()).read(message)


async def test_what_a_runner_says_is_kept_without_keys() -> None:
    """Also in what is kept of a request that is refused."""
    said = ReportProgress(
        task_id=42, execution_id=EXECUTION, epoch=1, progress=7, message=f"with {KEY}"
    )
    request = await read(subjects.run("progress", "r-1"), said)
    clean = msgspec.structs.replace(said, message="with [REDACTED:anthropic_key]")
    assert request.command == clean
    assert msgspec.json.decode(request.body, type=ReportProgress) == clean


async def test_a_reason_is_kept_without_keys() -> None:
    """Of everybody; what else they say stays."""
    request = await read(CANCEL, CancelTask(reason=f"{KEY} is wrong"))
    assert request.command == CancelTask(reason="[REDACTED:anthropic_key] is wrong")
    confirm = ConfirmTask(reason=f"use {KEY}", pattern="git push *")
    request = await read(subjects.command("task.confirm", 1, 42), confirm)
    assert request.command == msgspec.structs.replace(
        confirm, reason="use [REDACTED:anthropic_key]"
    )


async def test_who_says_something_else_says_something_else() -> None:
    """A command is the same as another by what was sent, not by what is kept of it."""
    one, same, other = [await read(CANCEL, CancelTask(reason=text)) for text in (KEY, KEY, OTHER)]
    assert one.sha256 == same.sha256 != other.sha256


async def test_without_keys_it_is_kept_as_it_came() -> None:
    """Byte for byte."""
    request = await read(CANCEL, CancelTask(reason="enough"))
    assert request.body == b'{"reason":"enough"}'
