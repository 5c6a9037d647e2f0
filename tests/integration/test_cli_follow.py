"""Following a task or all events, however the connection behaves."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
from collections.abc import AsyncIterator

import pytest

from events.task import Json, Status
from tests.support.recorded_api import (
    CONFIRMATION,
    PENDING,
    Ran,
    RecordedApi,
    environment,
    message,
    pandar,
    recorded,
    recorded_api,
    started,
)

_MORE: dict[Status, Json] = {
    Status.COMPLETED: {"exit_code": 0, "duration": 1.5},
    Status.FAILED: {"exit_code": 3, "error": "the command ended with exit code 3"},
    Status.CANCELLED: {},
    Status.WAITING_CONFIRMATION: {"status_reason": "gate:git_push"},
}
ENDED = {
    status: {**PENDING, "status": status.value, "status_reason": None, "attempt": 1, **more}
    for status, more in _MORE.items()
}
LAST_EVENT: dict[Status, Json] = {
    Status.COMPLETED: {"exit_code": 0, "output_tail": "", "duration_sec": 1.5, "output_bytes": 8},
    Status.FAILED: {"error": "x", "kind": "exit_code", "from_status": "running", "output_bytes": 8},
    Status.CANCELLED: {"from_status": "running", "output_bytes": 8},
    Status.WAITING_CONFIRMATION: {
        "confirmation_id": CONFIRMATION,
        "gate": "git_push",
        "card": {},
        "card_sha256": "",
        "expires_at": "2026-02-01T00:00:00Z",
    },
}
EVENT_OF = {
    Status.COMPLETED: "task.completed",
    Status.FAILED: "task.failed",
    Status.CANCELLED: "task.cancelled",
    Status.WAITING_CONFIRMATION: "task.confirmation_requested",
}


@pytest.fixture
async def api() -> AsyncIterator[RecordedApi]:
    """Return a server that answers as told."""
    async with recorded_api() as server:
        yield server


FOLLOWED = [
    (Status.COMPLETED, 0, "completed  task 42  Nightly audit  after 1.5 s\n"),
    (Status.FAILED, 1, "failed  task 42  Nightly audit  the command ended with exit code 3\n"),
    (Status.CANCELLED, 3, "cancelled  task 42  Nightly audit\n"),
    (
        Status.WAITING_CONFIRMATION,
        4,
        "needs you  task 42  Nightly audit  git push: pandar task show 42\n",
    ),
]


def stream_to(ending: Status) -> list[bytes]:
    """Return the stream of a task that starts, writes and ends."""
    begun = {"execution_id": CONFIRMATION, "attempt": 1, "epoch": 1, "runner_id": "r"}
    last = {"execution_id": CONFIRMATION, **LAST_EVENT[ending]}
    return [
        message("11", "task.started", recorded(11, "task.started", begun)),
        message("11.1.4", "output", {"attempt": 1, "offset": 0, "text": "one\n"}),
        message("12.1.4", EVENT_OF[ending], recorded(12, EVENT_OF[ending], last)),
        message("12.1.8", "output", {"attempt": 1, "offset": 4, "text": "two\n"}),
    ]


@pytest.mark.parametrize(("ending", "code", "line"), FOLLOWED)
async def test_following_ends_as_the_task_does(
    api: RecordedApi, ending: Status, code: int, line: str
) -> None:
    """Output to the last byte on stdout, one line on stderr, and the exit code tells the end."""
    api.answer("POST", "/tasks", PENDING)
    api.answer("GET", "/tasks/42", ENDED[ending])
    api.answer("GET", "/tasks/42/output", b"")
    api.answer("GET", "/tasks/42/stream", stream_to(ending))
    ran = await pandar(api, "task", "create", "-f", "--command", "x")
    assert ran == Ran(code, "one\ntwo\n", line)


@pytest.mark.parametrize(("ending", "code", "line"), FOLLOWED)
async def test_following_what_is_over_prints_it(
    api: RecordedApi, ending: Status, code: int, line: str
) -> None:
    """A task that has ended, or waits already, is not waited for."""
    api.answer("GET", "/tasks/42", ENDED[ending])
    api.answer("GET", "/tasks/42/output", b"all\n", b"")
    assert await pandar(api, "task", "logs", "-f", "42") == Ran(code, "all\n", line)


async def test_a_lost_connection_loses_nothing(api: RecordedApi) -> None:
    """Following resumes where it was, in the log and in the output, and says so."""
    chunks = stream_to(Status.COMPLETED)
    api.answer("GET", "/tasks/42", PENDING, ENDED[Status.COMPLETED])
    api.answer("GET", "/tasks/42/output", b"")
    api.answer("GET", "/tasks/42/stream", [*chunks[:2], b""], chunks)
    ran = await pandar(api, "task", "logs", "-f", "42")
    assert (ran.code, ran.out) == (0, "one\ntwo\n")
    assert ran.err.startswith("connection lost; trying again\n")
    assert [asked.path for asked in api.asked].count("/api/v1/tasks/42/stream") == 2


async def test_following_in_json_is_lines(api: RecordedApi) -> None:
    """Programs get output, events and the end, each a document on a line."""
    api.answer("GET", "/tasks/42", PENDING, ENDED[Status.COMPLETED])
    api.answer("GET", "/tasks/42/output", b"")
    api.answer("GET", "/tasks/42/stream", stream_to(Status.COMPLETED))
    ran = await pandar(api, "task", "logs", "-f", "--json", "42")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    assert [line["type"] for line in lines] == ["event", "output", "event", "output", "end"]
    assert lines[1] == {"type": "output", "attempt": 1, "offset": 0, "text": "one\n"}
    assert lines[-1]["status"] == "completed"


async def test_events_go_on_after_a_lost_connection(api: RecordedApi) -> None:
    """Tail prints every event once, from the position asked for; Ctrl-C ends it quietly."""
    first = message("7", "task.created", recorded(7, "task.created", {}))
    second = message("8", "task.parked", recorded(8, "task.parked", {"execution_id": CONFIRMATION}))
    api.answer("GET", "/events", [first, b""], [first, second])
    arguments = ("events", "tail", "--from", "7", "--task", "42", "--type", "task", "--json")
    async with started(*arguments, env=environment(api)) as process:
        assert process.stdout
        positions = [json.loads(await process.stdout.readline())["position"] for _ in range(2)]
        process.send_signal(signal.SIGINT)
        assert process.stderr
        err = (await process.stderr.read()).decode()
        assert await process.wait() == 130
    assert positions == [7, 8]
    assert err == "connection lost; trying again\n"
    assert api.asked[0].headers["Last-Event-ID"] == "6"
    assert api.asked[0].query == {"type": "task"}


async def test_ctrl_c_is_quiet(api: RecordedApi) -> None:
    """Interrupting a follower says nothing and does nothing to the task."""
    api.answer("GET", "/tasks/42", PENDING)
    api.answer("GET", "/tasks/42/output", b"")
    api.answer("GET", "/tasks/42/stream", stream_to(Status.COMPLETED)[:2])
    async with started("task", "logs", "-f", "42", env=environment(api)) as process:
        assert process.stdout
        assert await process.stdout.readline() == b"one\n"
        process.send_signal(signal.SIGINT)
        _, err = await process.communicate()
        assert (process.returncode, err) == (130, b"")


async def test_a_silent_wait_is_explained(api: RecordedApi) -> None:
    """On stderr, in words, and with its time; stdout is the output alone."""
    position = 10
    retried = {
        "position": position,
        "type": "task.retried",
        "data": {"not_before": "2999-01-01T00:00:00Z"},
    }
    waiting = {**PENDING, "status_reason": "retry_at", "attempt": 1}
    api.answer("GET", "/tasks/42", waiting)
    api.answer("GET", "/tasks/42/output", b"")
    api.answer("GET", "/tasks/42/timeline", {"items": [retried], "next_after": None})
    api.answer("GET", "/tasks/42/stream", [b": nothing yet\n\n"])
    async with started("task", "logs", "-f", "--json", "42", env=environment(api)) as process:
        assert process.stderr
        line = (await process.stderr.readline()).decode()
        process.send_signal(signal.SIGINT)
        assert process.stdout
        assert await process.stdout.read() == b""
    assert line.startswith("waits: retry in ")
    assert api.asked[-1].query == {"after": str(position - 1), "limit": "1"}


def stream_with_progress(*texts: str) -> list[bytes]:
    """Return the stream of a task that starts, says how far it is, writes and completes."""
    begun, _, end, _ = stream_to(Status.COMPLETED)
    told = {"execution_id": CONFIRMATION, "progress": 40, "message": "half\x1b[2J"}
    chunks = [begun, message("12", "task.progressed", recorded(12, "task.progressed", told))]
    offset = 0
    for text in texts:
        written = {"attempt": 1, "offset": offset, "text": text}
        offset += len(text.encode())
        chunks.append(message(f"12.1.{offset}", "output", written))
    return [*chunks, end.replace(b'"output_bytes": 8', b'"output_bytes": %d' % offset)]


async def on_terminal(api: RecordedApi, stream: list[bytes], *, alone: bool) -> tuple[str, str]:
    """Return what following says on a terminal, and beside it when ``alone`` stderr is one."""
    api.answer("GET", "/tasks/42", PENDING, ENDED[Status.COMPLETED])
    api.answer("GET", "/tasks/42/output", b"")
    api.answer("GET", "/tasks/42/stream", stream)
    ours, theirs = pty.openpty()
    env = environment(api, TERM="xterm", COLUMNS="80", NO_COLOR="1")
    stdout = asyncio.subprocess.PIPE if alone else theirs
    arguments = ("task", "logs", "-f", "42")
    async with started(*arguments, env=env, stdout=stdout, stderr=theirs) as process:
        os.close(theirs)
        out = await process.stdout.read() if process.stdout else b""
        assert await process.wait() == 0
    said = os.read(ours, 65_536).decode()
    os.close(ours)
    return said.replace("\r\n", "\n"), out.decode()


END = "completed  task 42  Nightly audit  after 1.5 s\n"
ERASE = "\r\x1b[K"


async def test_progress_is_one_line_that_goes_away(api: RecordedApi) -> None:
    """A person sees how far it is, above nothing and below nothing: it leaves no trace."""
    said, out = await on_terminal(api, stream_with_progress("whole\n"), alone=True)
    assert out == "whole\n"
    assert said == f"{ERASE}40%  half{ERASE}{ERASE}40%  half{ERASE}{END}"


async def test_progress_covers_no_output(api: RecordedApi) -> None:
    """Where output and progress share a screen, an unfinished line stays as it is."""
    stream = stream_with_progress("part", "\x1b]9;4;1;40\x1b\\", "ly\n", "\x1b]9;4;1;40\x1b\\")
    said, _ = await on_terminal(api, stream, alone=False)
    drawn = f"{ERASE}40%  half"
    assert said == f"{drawn}{ERASE}partly\n{drawn}{ERASE}{drawn}{ERASE}{END}"
