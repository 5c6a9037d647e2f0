"""``pandar guard check``: arguments, lines, JSON, and what is no JSON."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pandar_daemon.cli.app import run


class Bytes(io.TextIOWrapper):
    """Standard input of these bytes."""

    def __init__(self, content: bytes) -> None:
        super().__init__(io.BytesIO(content))


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the data folder of these tests."""
    monkeypatch.setenv("PANDAR_DATA", str(tmp_path))
    return tmp_path


def said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, content: bytes, *args: str
) -> list[str]:
    """Return the lines it prints for some input; it ends with 0 and complains about nothing."""
    monkeypatch.setattr(sys, "stdin", Bytes(content))
    assert run(("guard", "check", *args)) == 0
    found = capsys.readouterr()
    assert found.err == ""
    return found.out.splitlines()


def test_each_argument_is_a_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line for each, the decision first."""
    lines = said(capsys, monkeypatch, b"", "ls", "rm -rf /", "git push", "foo")
    assert [line.split()[1] for line in lines] == ["allow", "deny", "gate", "ask"]
    assert "git_push_protected" in lines[2]


def test_arguments_as_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With --json an argument is still the text itself, and no JSON."""
    (line,) = said(capsys, monkeypatch, b"", "--json", "git push -f")
    assert json.loads(line) == {
        "decision": "gate",
        "rule": "git_push_protected.force",
        "gates": ["git_push_protected"],
        "why": "pushes over what is on the remote",
    }


def test_each_line_is_a_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines of standard input are judged one by one, the last one without its end too."""
    lines = said(capsys, monkeypatch, b"ls\r\nsudo id\n\nls")
    assert [line.split()[1] for line in lines] == ["allow", "deny", "allow", "allow"]


BAD = [
    b"no json",
    b"5",
    b"",
    b"[1]",
    b"{",
    b"\xff\xfe",
    b"null",
    b"[" * 100_000,
    b'"' + b"x" * 1_000_001 + b'"',
]


def test_bad_input_is_asked_about(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no JSON string gets an answer of its own, and the next line is judged."""
    content = b"".join(bad + b'\n"ls"\n' for bad in BAD)
    found = [json.loads(line) for line in said(capsys, monkeypatch, content, "--json")]
    assert [each["rule"] for each in found[::2]] == ["input.no_json_string"] * len(BAD)
    assert [each["decision"] for each in found[::2]] == ["ask"] * len(BAD)
    assert [each["decision"] for each in found[1::2]] == ["allow"] * len(BAD)


def test_half_characters_are_judged(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """JSON can name halves of characters; they change nothing of what stands beside them."""
    (line,) = said(capsys, monkeypatch, b'"sudo \\ud800 id"\n', "--json")
    assert json.loads(line)["decision"] == "deny"


def test_it_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """With --fail a script learns by the exit code that something is not allowed."""
    monkeypatch.setattr(sys, "stdin", Bytes(b""))
    assert run(("guard", "check", "--fail", "ls")) == 0
    assert run(("guard", "check", "--fail", "ls", "foo")) == 1


def test_the_owner_has_a_say(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, data: Path
) -> None:
    """What pandar.toml denies, allows and gates counts, for a project what is its own."""
    (data / "pandar.toml").write_text(
        "[deny.x]\nmatch = { commands = ['ls *'] }\n"
        "[projects.7.allow.y]\nmatch = { commands = ['foo *'] }\n"
    )
    assert [line.split()[1] for line in said(capsys, monkeypatch, b"", "ls a", "foo b")] == [
        "deny",
        "ask",
    ]
    lines = said(capsys, monkeypatch, b"", "--project", "7", "ls a", "foo b")
    assert [line.split()[1:3] for line in lines] == [["deny", "deny.x:"], ["allow", "allow.y:"]]


def test_a_driver_may_write_and_read_in_turn(tmp_path: Path) -> None:
    """Each answer comes as soon as its line was read."""
    with subprocess.Popen(
        [sys.executable, "-m", "pandar_daemon", "guard", "check", "--json"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PANDAR_DATA": str(tmp_path)},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for text, decision in (("ls", "allow"), ("sudo id", "deny"), ("don't", "ask")):
            process.stdin.write(json.dumps(text).encode() + b"\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["decision"] == decision
        process.stdin.close()
        assert process.wait() == 0
