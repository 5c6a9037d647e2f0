"""The command line as a process: what it asks, what it prints."""

from __future__ import annotations

import asyncio
import json
import os
import pty
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pandar_daemon.adapters.embedded.data import DataDirectory
from pandar_daemon.config import Settings
from pandar_daemon.wiring.places import Place, announce
from tests.support.recorded_api import (
    CONFIRMATION,
    PENDING,
    TOKEN,
    WAITING,
    Ran,
    RecordedApi,
    environment,
    message,
    pandar,
    recorded,
    recorded_api,
    started,
)


@pytest.fixture
async def api() -> AsyncIterator[RecordedApi]:
    """Return a server that answers as told."""
    async with recorded_api() as server:
        yield server


async def test_list_shows_what_waits_however_old(api: RecordedApi) -> None:
    """A task that waits for somebody is fetched beyond the page, and comes first."""
    api.answer("GET", "/tasks", {"items": [PENDING], "next_cursor": "c"}, {"items": [WAITING]})
    ran = await pandar(api, "task", "list", "--project", "1")
    assert ran.code == 0, ran.err
    assert ran.out.index("Older, waits") < ran.out.index("Nightly audit")
    assert [asked.query.get("status") for asked in api.asked] == [None, "waiting_confirmation"]
    assert api.asked[0].query["project_id"] == "1"


async def test_list_in_json_is_the_page_of_the_api(api: RecordedApi) -> None:
    """Programs get one document, unchanged."""
    page = {"items": [PENDING], "limit": 20, "next_cursor": None, "total": 1}
    api.answer("GET", "/tasks", page)
    ran = await pandar(api, "task", "list", "--json", "--status", "pending", "--status", "failed")
    assert json.loads(ran.out) == page
    assert api.asked[0].query["status"] == "pending,failed"


async def test_create_sends_what_was_said(api: RecordedApi) -> None:
    """Words after -- become one shell line, -m entries typed values, and a retry is harmless."""
    api.answer("POST", "/tasks", PENDING)
    ran = await pandar(
        api, "task", "create", "--name", "Audit", "-m", "agent=codex", "-m", "timeout_sec=60",
        "--no-start", "--", "echo", "it's", "$HOME",
    )  # fmt: skip
    assert ran == Ran(0, "pending  task 42  Nightly audit  queued\n", "")
    assert api.asked[0].body == {
        "name": "Audit",
        "command": """echo 'it'"'"'s' '$HOME'""",
        "project_id": 1,
        "metadata": {"agent": "codex", "timeout_sec": 60},
        "auto_start": False,
    }
    assert api.asked[0].headers["Idempotency-Key"]


async def test_one_word_is_a_shell_line_already(api: RecordedApi) -> None:
    """A quoted line is taken as it is, and names the task when nobody else does."""
    api.answer("POST", "/tasks", PENDING)
    await pandar(api, "task", "create", "--", "echo hi && ls")
    assert api.asked[0].body["command"] == "echo hi && ls"
    assert api.asked[0].body["name"] == "echo hi && ls"


async def test_the_token_of_this_machine_stays_on_it(api: RecordedApi, tmp_path: Path) -> None:
    """The local token is found by itself, and never offered to another host."""
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    api.answer("GET", "/tasks", {"items": []})
    ran = await pandar(None, "--url", api.url, "task", "list", PANDAR_DATA=str(tmp_path))
    assert ran.code == 0, ran.err
    away = await pandar(
        None, "task", "list", "--url", "http://pandar.example", PANDAR_DATA=str(tmp_path)
    )
    assert away.code == 2
    assert "not sent to http://pandar.example" in away.err


async def test_show_in_json_has_all_three_parts(api: RecordedApi) -> None:
    """Task, attempts and timeline come as one document."""
    happened = [{"position": 1, "type": "task.created", "summary": "Filed", "actor": "user:7"}]
    api.answer("GET", "/tasks/42", PENDING)
    api.answer("GET", "/tasks/42/executions", {"items": []})
    api.answer("GET", "/tasks/42/timeline", {"items": happened, "next_after": None})
    ran = await pandar(api, "task", "show", "42", "--json")
    assert json.loads(ran.out) == {"task": PENDING, "executions": [], "timeline": happened}
    assert "Filed" in (await pandar(api, "task", "show", "42")).out


@pytest.mark.parametrize("status", ["running", "waiting_confirmation"])
async def test_show_has_the_output_before_its_end(api: RecordedApi, status: str) -> None:
    """The row has none until the attempt ends: what was written so far is asked for."""
    api.answer("GET", "/tasks/42", {**PENDING, "status": status, "attempt": 2})
    api.answer("GET", "/tasks/42/executions", {"items": []})
    api.answer("GET", "/tasks/42/timeline", {"items": [], "next_after": None})
    api.answer("GET", "/tasks/42/output", {"output": "one\n", "cut": {"start": 2, "end": 4_002}})
    ran = await pandar(api, "task", "show", "42")
    assert "logs 42\n  4.0 kB cut from the middle\n  one\n" in ran.out, ran.err
    assert api.asked[-1].query == {"attempt": "2", "tail": "12"}


async def test_show_asks_for_no_output_where_there_is_none(api: RecordedApi) -> None:
    """A task that never ran wrote nothing; of one that ended the row has it."""
    api.answer("GET", "/tasks/42/executions", {"items": []})
    api.answer("GET", "/tasks/42/timeline", {"items": [], "next_after": None})
    for more in ({}, {"attempt": 1, "status": "completed", "output": ""}):
        api.answer("GET", "/tasks/42", {**PENDING, **more})
        assert (await pandar(api, "task", "show", "42")).code == 0
    assert not [asked for asked in api.asked if asked.path.endswith("/output")]


@pytest.mark.parametrize("options", [("--status", "failed"), ("--search", "x"), ("--project", "2")])
async def test_a_list_without_a_match_says_so(api: RecordedApi, options: tuple[str, ...]) -> None:
    """Only who has no task at all is told how to file one."""
    api.answer("GET", "/tasks", {"items": [], "total": 0})
    assert (await pandar(api, "task", "list", *options)).out == "No task matches.\n"
    assert "pandar task create" in (await pandar(api, "task", "list")).out


async def test_a_list_says_of_how_many(api: RecordedApi) -> None:
    """Its counts are those of the page."""
    page = {"items": [PENDING], "next_cursor": "c", "total": 137}
    api.answer("GET", "/tasks", page, {"items": []})
    ran = await pandar(api, "task", "list")
    assert ran.out.endswith("\n1 pending  (1 of 137 shown, see --limit)\n")


async def test_confirm_names_what_it_decides(api: RecordedApi) -> None:
    """The pending confirmation is named, so that a newer one is not decided by mistake."""
    api.answer("GET", "/tasks/41", WAITING)
    api.answer("POST", "/tasks/41/confirm", {**WAITING, "status": "running"})
    ran = await pandar(api, "task", "confirm", "41", "--changes", "smaller steps")
    assert ran.code == 0, ran.err
    assert api.asked[-1].body == {
        "decision": "changes",
        "reason": "smaller steps",
        "confirmation_id": CONFIRMATION,
    }


@pytest.mark.parametrize("action", ["start", "cancel", "retry"])
async def test_actions_carry_their_reason(api: RecordedApi, action: str) -> None:
    """Start, cancel and retry are one endpoint with a reason."""
    api.answer("POST", "/tasks/42/action", PENDING)
    ran = await pandar(api, "task", action, "42", "--reason", "because", "--json")
    assert json.loads(ran.out) == PENDING
    assert api.asked[0].body == {"action": action, "reason": "because"}


async def test_logs_are_harmless_unless_raw(api: RecordedApi) -> None:
    """Escapes of others do not reach the terminal; --raw is exact to the byte."""
    written = b"\x1b]0;x\x07ok\r\n\xff\x1b[31mred\x1b[0m\r\n"
    api.answer("GET", "/tasks/42", {**PENDING, "status": "completed", "attempt": 1})
    api.answer("GET", "/tasks/42/output", written, b"")
    assert (await pandar(api, "task", "logs", "42")).out == "ok\n\ufffdred\n"
    api.answer("GET", "/tasks/42/output", written, b"")
    async with started("task", "logs", "42", "--raw", env=environment(api)) as process:
        out, _ = await process.communicate()
    assert out == written


async def test_a_reader_that_leaves_ends_it_quietly(api: RecordedApi) -> None:
    """`| head` is no error to talk about."""
    parked = recorded(8, "task.parked", {"execution_id": CONFIRMATION})
    api.answer("GET", "/events", [message("8", "task.parked", parked) * 5_000])
    read_end, write_end = os.pipe()
    async with started("events", "tail", env=environment(api), stdout=write_end) as process:
        os.close(write_end)
        await asyncio.to_thread(os.read, read_end, 1)
        os.close(read_end)
        assert process.stderr
        assert await process.stderr.read() == b""
        assert await process.wait() == 141


async def test_colour_where_a_person_looks(api: RecordedApi) -> None:
    """On a terminal there are glyphs and colour; NO_COLOR takes both away."""
    api.answer("GET", "/tasks", {"items": [PENDING]})
    shown = {}
    for name, more in {"colour": {}, "plain": {"NO_COLOR": "1"}}.items():
        ours, theirs = pty.openpty()
        env = environment(api, TERM="xterm", COLUMNS="80", PYTHONIOENCODING="utf-8", **more)
        async with started("task", "list", env=env, stdout=theirs) as process:
            os.close(theirs)
            assert await process.wait() == 0
        shown[name] = os.read(ours, 65_536).decode()
        os.close(ours)
    assert "○ pending" in shown["colour"]
    assert "\x1b[" in shown["colour"]
    assert "\x1b" not in shown["plain"]
    assert "○" not in shown["plain"]


async def test_token_prints_the_token_alone(tmp_path: Path) -> None:
    """It can stand in a command substitution."""
    data = tmp_path / "data"
    ran = await pandar(None, "token", "--ttl", "1h", "--role", "viewer", PANDAR_DATA=str(data))
    assert ran.code == 0, ran.err
    assert ran.err == ""
    assert ran.out.count(".") == 2
    assert ran.out.count("\n") == 1


@pytest.mark.parametrize(
    ("server", "url"),
    [
        ("nats", "nats://secret@127.0.0.1:4222"),
        ("api", "http://127.0.0.1:8000"),
        ("postgres", "postgresql://u:secret@127.0.0.1:5432/pandar"),
    ],
)
async def test_url_prints_where_the_running_pandar_is(
    tmp_path: Path, server: str, url: str
) -> None:
    """It can stand in a command substitution, whatever the environment says of other servers."""
    place = Place(
        nats_url="nats://secret@127.0.0.1:4222",
        api_url="http://127.0.0.1:8000",
        database_url="postgresql://u:secret@127.0.0.1:5432/pandar",
    )
    data = tmp_path / "data"
    async with DataDirectory(data).owned():
        announce(Settings(data=data), place)
        more = {"PANDAR_DATA": str(data), "PANDAR_NATS_URL": "nats://other"}
        assert await pandar(None, "url", server, **more) == Ran(0, f"{url}\n", "")


async def test_url_needs_a_pandar_that_runs(tmp_path: Path) -> None:
    """What a Pandar that is gone announced is not taken for true; nothing is made."""
    data = tmp_path / "data"
    ran = await pandar(None, "url", "nats", PANDAR_DATA=str(data))
    assert (ran.code, ran.out) == (5, "")
    assert ran.err.startswith(f"pandar: no Pandar runs on {data}\n")
    assert not data.exists()
    announce(Settings(data=data), Place(nats_url="nats://x", database_url="y"))
    assert (await pandar(None, "url", "nats", PANDAR_DATA=str(data))).code == 5


async def test_a_diff_is_printed_as_it_is(api: RecordedApi) -> None:
    """Into a pipe byte by byte, for `git apply`; the options are those of the API."""
    patch = b"--- a/x\n+++ b/x\n+caf\xc3\xa9\x1b[2J\r\n"
    api.answer("GET", "/tasks/42/diff", patch)
    ran = await pandar(api, "task", "diff", "42", "--checkpoint", "1-2")
    assert (ran.code, ran.out) == (0, patch.decode())
    assert api.asked[0].query == {"format": "patch", "checkpoint": "1-2"}
    await pandar(api, "task", "diff", "42", "--stat")
    assert api.asked[1].query == {"format": "stat"}
