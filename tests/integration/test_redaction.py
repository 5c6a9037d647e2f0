"""Secrets that an execution shows or says are nowhere: no disk, no bus, no log, no answer has them.

Commands here have secrets in two halves: what a task is to do is kept as it was filed.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import asyncpg
import pytest

from events.calls import ToolCall
from pandar_daemon.adapters.nats.connection import NatsConnection
from tests.integration.test_runner import (
    daemon,
    stored,
    workspace,
)
from tests.support.agent_tasks import at_work, following
from tests.support.daemon_script import DaemonScript
from tests.support.runners import bus, runner_on, running
from tests.support.secrets_seen import JWT, LINES, SHAPED
from tests.support.up import Up, up
from tests.support.waiting import until

pytestmark = [pytest.mark.servers]
__all__ = ["bus", "daemon"]  # fixtures

VALUE = "correct-horse-battery-staple/77?"
TOKEN = SHAPED["github_token"]
SHA = "9fceb02d0ae598e95dc970b74767f19372d61af8"
UUID = "0195512a-7c00-7000-8000-000000000101"
LINE = LINES.partition("\n")[0]


def halves(text: str) -> str:
    """Return shell words for a text that has none of it in one piece."""
    middle = len(text) // 2
    return f"'{text[:middle]}''{text[middle:]}'"


def piecewise(text: str) -> str:
    """Return what writes a text in pieces, each by a process of its own."""
    return "; ".join(f"printf %s '{text[at : at + 5]}'" for at in range(0, len(text), 5))


def shows(value: str) -> str:
    """Return a command that shows all kinds of secrets in all kinds of ways, and a few hashes."""
    return "\n".join(
        [
            f"{piecewise(value)}; echo",
            f"printf %s {halves(value)} | base64",
            f"printf %s x{halves(value)} | base64",
            f"printf %s {halves(value)} | od -An -v -tx1 | tr -d ' \\n'; echo",
            f"{piecewise(TOKEN)}; echo",
            f"{piecewise(JWT)}; echo",
            "printf -- '-----BEGIN %s-----\\n' 'RSA PRIVATE KEY'",
            f"for i in 1 2 3 4 5 6 7 8; do echo {halves(LINE)}; done",
            "printf -- '-----END %s-----\\n' 'RSA PRIVATE KEY'",
            f"echo {SHA} {UUID} task-1 sk-learn",
        ]
    )


def shown(name: str) -> str:
    """Return what is to be seen of it, where a secret of this name is known."""
    return "\n".join(
        [
            f"[REDACTED:{name}]",
            f"[REDACTED:{name}]",
            f"[REDACTED:{name}]",
            f"[REDACTED:{name}]",
            "[REDACTED:github_token]",
            "[REDACTED:jwt]",
            "[REDACTED:private_key]",
            f"{SHA} {UUID} task-1 sk-learn",
            "",
        ]
    )


def traces(value: str) -> list[bytes]:
    """Return what nobody may find of the secrets."""
    data = value.encode()
    encoded = base64.b64encode(b"x" + data)[4:-4]
    return [data, base64.b64encode(data)[:-4], encoded, data.hex().encode(), *OTHERS]


OTHERS = [TOKEN.encode(), JWT.encode(), JWT[:30].encode(), LINE.encode()]


def without_edges(text: str) -> str:
    """Return output without the characters that stand at the ends of base64."""
    lines = (line for line in text.replace("\r", "").split("\n"))
    return "\n".join(_bare(line) for line in lines)


def _bare(line: str) -> str:
    begin, mark, _ = line.partition("[REDACTED:")
    return line[len(begin) :].partition("]")[0] + "]" if mark and len(begin) < 4 else line


async def test_no_spool_holds_a_secret(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """Neither the file nor the bus, nor the report; and what is counted is what is kept."""
    until_ = "touch {0}-due; until test -e {0}; do sleep 0.05; done".format
    rest = f"{until_('ask')}; printf 'Password: '; {until_('end')}"
    execution = daemon.offer(f"{shows(VALUE)}\n{rest}")
    async with running(runner_on(bus, tmp_path, known={"PASSPHRASE": VALUE})):
        await until((workspace(tmp_path) / "ask-due").exists)
        await until(lambda: SHA.encode() in spooled(tmp_path))
        kept = spooled(tmp_path)
        assert [trace for trace in traces(VALUE) if trace in kept] == []
        (workspace(tmp_path) / "ask").touch()
        await until(lambda: spooled(tmp_path).endswith(b"Password: "))
        (workspace(tmp_path) / "end").touch()
        await until(lambda: execution in daemon.finished)
    report, output = daemon.finished[execution], await stored(bus)
    assert without_edges(output.decode()) == f"{shown('PASSPHRASE')}Password: "
    assert report.output_bytes == len(output)
    assert report.output_tail == output.decode().replace("\r", "")


def spooled(data: Path) -> bytes:
    """Return what is in the spools."""
    return b"".join(path.read_bytes() for path in (data / "spool").glob("*"))


@pytest.mark.fault
async def test_nothing_of_a_whole_pandar_holds_a_secret() -> None:
    """A key of an agent, and a secret of a project: no file, no row, no answer has it."""
    async with up(PANDAR_AGENT_CLAUDE_API_KEY=VALUE) as pandar, pandar.owner() as owner:
        body = {"name": "t", "command": shows(VALUE), "project_id": 1}
        number = int((await owner.post("/tasks", body))["id"])
        async with following(owner, number, pandar.data) as task:
            await task.end()
            output = await task.output()
        assert without_edges(output) == shown("PANDAR_AGENT_CLAUDE_API_KEY")
        timeline = json.dumps(await owner.get(f"/tasks/{number}/timeline"))
        log, row = await logged(pandar), json.dumps(await owner.get(f"/tasks/{number}"))
        told = f"{output}{timeline}{row}{log}{pandar.log}".encode()
        assert [trace for trace in traces(VALUE) if trace in told] == []
        kept = [(trace, path) for path, trace in found(pandar.data, traces(VALUE))]
        assert kept == []


async def logged(pandar: Up) -> str:
    """Return all events of the log as text."""
    connection = await asyncpg.connect(pandar.database_url)
    try:
        rows = await connection.fetch("SELECT events::text AS row FROM events")
    finally:
        await connection.close()
    return "\n".join(row["row"] for row in rows)


def found(folder: Path, sought: list[bytes]) -> list[tuple[str, bytes]]:
    """Return which files under a folder have which of some texts in them."""
    return [
        (str(path), text)
        for path in folder.rglob("*")
        if path.is_file() and not path.is_symlink()
        for data in [path.read_bytes()]
        for text in sought
        if text in data
    ]


async def test_a_call_with_a_secret_is_approved_as_it_is() -> None:
    """People see it without the secret; what they approve is the call that has it."""
    push = "git push https://ann:{}@example.org/r main"
    call = ToolCall(command=push.format("hunter22"))
    async with (
        up() as pandar,
        pandar.owner() as owner,
        at_work(owner, pandar.data, f"[[ask:{call.command}]]") as task,
    ):
        asked = await task.asked()
        seen = push.format("[REDACTED:url_password]")
        assert asked["card"]["command"] == seen
        await task.decide(confirmation_id=asked["confirmation_id"])
        await task.end()
        assert task.pushed == [call.command]
        [used] = task.used()
        assert used["call"]["command"] == seen
        assert used["call_sha256"] == asked["call_sha256"] == asked["card"]["call_sha256"]
        assert "hunter22" not in await task.output()
