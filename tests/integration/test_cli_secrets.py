"""``pandar project secret`` as a process: where a value comes from, and that it is not shown."""

from __future__ import annotations

import asyncio
import json
import os
import pty
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.recorded_api import Ran, RecordedApi, environment, pandar, recorded_api, started

ROW = {
    "project_id": 7,
    "name": "TOKEN",
    "use": "env",
    "description": "of the registry",
    "set_by": "user:ann",
    "set_at": "2026-01-31T12:00:00Z",
}
SET = ("project", "secret", "set", "7", "TOKEN")
KEY = "-----BEGIN X-----\n\nend\n"


@pytest.fixture
async def api() -> AsyncIterator[RecordedApi]:
    """Return a server that takes a secret."""
    async with recorded_api() as server:
        server.answer("PUT", "/projects/7/secrets/TOKEN", ROW)
        yield server


async def fed(api: RecordedApi, data: bytes, *arguments: str) -> Ran:
    """Run a command with something on its stdin."""
    piped = asyncio.subprocess.PIPE
    async with started(*arguments, env=environment(api), stdin=piped) as process:
        out, err = await process.communicate(data)
        return Ran(process.returncode or 0, out.decode(), err.decode())


@pytest.mark.parametrize(
    ("given", "value"),
    [
        (b"hunter2", "hunter2"),
        (b"hunter2\n", "hunter2"),
        (b"hunter2\r\n", "hunter2"),
        (b"hunter2\n\n", "hunter2\n"),
        ("žluťoučký\n".encode(), "žluťoučký"),
        (b"v" * 65_536 + b"\r\n", "v" * 65_536),
    ],
)
async def test_a_value_comes_from_stdin(api: RecordedApi, given: bytes, value: str) -> None:
    """Without the end of its last line; what is printed does not show it."""
    ran = await fed(api, given, *SET)
    assert (ran.code, ran.out) == (0, "TOKEN is set in project 7\n"), ran.err
    assert api.asked[0].body == {"value": value, "use": "env", "description": ""}
    assert api.asked[0].headers["Idempotency-Key"]


async def test_a_value_comes_from_a_file(api: RecordedApi, tmp_path: Path) -> None:
    """With all its lines; with --json the row is printed, which has no value."""
    file = tmp_path / "key"
    file.write_text(KEY)
    more = ("--from-file", str(file), "--use", "git", "--description", "deploys", "--json")
    ran = await pandar(api, *SET, *more)
    assert (ran.code, json.loads(ran.out)) == (0, ROW)
    assert api.asked[0].body == {
        "value": KEY.rstrip("\n"),
        "use": "git",
        "description": "deploys",
    }


async def test_a_value_is_asked_for_on_a_terminal(api: RecordedApi) -> None:
    """Without an echo."""
    ours, theirs = pty.openpty()
    try:
        env = environment(api, TERM="xterm")
        async with started(*SET, env=env, stdin=theirs, session=True) as process:
            assert process.stderr is not None
            asked = await process.stderr.readuntil(b": ")
            os.write(ours, b"hunter2\n")
            out, err = await process.communicate()
        assert process.returncode == 0, err
        assert asked == b"Value of TOKEN: "
        assert b"hunter2" not in out + err
        os.close(theirs)
        theirs = -1
        assert b"hunter2" not in _left(ours)
    finally:
        for end in {ours, theirs} - {-1}:
            os.close(end)
    assert api.asked[0].body["value"] == "hunter2"


def _left(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # nobody has the other end any more
        return b""


@pytest.mark.parametrize(
    ("given", "said"),
    [(b"\xff\xfe", "not UTF-8 text: base64 it"), (b"\xc3\xa9" * 33_000, "at most 65,536 bytes")],
)
async def test_what_cannot_be_a_value_is_not_sent(
    api: RecordedApi, given: bytes, said: str
) -> None:
    """It is told at once."""
    ran = await fed(api, given, *SET)
    assert (ran.code, said in ran.err, api.asked) == (2, True, [])


async def test_a_value_is_no_argument(api: RecordedApi) -> None:
    """All users of a machine see arguments."""
    ran = await fed(api, b"", *SET, "hunter2")
    assert (ran.code, api.asked) == (2, [])


async def test_secrets_are_listed(api: RecordedApi) -> None:
    """A line each; without any, how to set one; with --json as the API says it."""
    api.answer("GET", "/projects/7/secrets", {"items": [ROW]}, {"items": []}, {"items": [ROW]})
    ran = await pandar(api, "project", "secret", "list", "7")
    heads, line = ran.out.splitlines()
    assert heads.split() == ["NAME", "USE", "SET", "BY", "ABOUT"]
    for word in ("TOKEN", "env", "user:ann", "of the registry"):
        assert word in line
    ran = await pandar(api, "project", "secret", "list", "7")
    assert ran.out == "No secrets. Set one:  pandar project secret set 7 NAME\n"
    ran = await pandar(api, "project", "secret", "list", "7", "--json")
    assert json.loads(ran.out) == {"items": [ROW]}


async def test_a_secret_is_removed(api: RecordedApi) -> None:
    """One that is not there is an error: it was perhaps misspelt."""
    gone = {"type": "x", "title": "Not found", "status": 404, "detail": "there is no secret"}
    api.answer("DELETE", "/projects/7/secrets/TOKEN", b"", gone)
    ran = await pandar(api, "project", "secret", "remove", "7", "TOKEN")
    assert (ran.code, ran.out) == (0, "TOKEN is no more in project 7\n")
    ran = await pandar(api, "project", "secret", "remove", "7", "TOKEN")
    assert (ran.code, "there is no secret" in ran.err) == (6, True)


async def test_rekeying_says_what_cannot_be_opened(api: RecordedApi) -> None:
    """And exits with 1 then."""
    fine: dict[str, object] = {"resealed": 2, "present": 3, "locked": []}
    api.answer("POST", "/secrets/rekey", fine, {**fine, "locked": ["project 9: no"]}, fine)
    ran = await pandar(api, "secrets", "rekey")
    said = "3 data keys are under the present master key, 2 newly so\n"
    assert (ran.code, ran.out) == (0, said)
    ran = await pandar(api, "secrets", "rekey")
    assert (ran.code, ran.out) == (1, f"{said}  project 9: no\n")
    ran = await pandar(api, "secrets", "rekey", "--json")
    assert json.loads(ran.out) == fine
