"""Installing agents, listing them, and trying whether they work."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from events.task import Json
from pandar_daemon.adapters.agents.greeting import furnish, greet, prepared
from pandar_daemon.adapters.agents.install import chosen, install, installed, pinned
from pandar_daemon.adapters.agents.profiles import PROFILES
from pandar_daemon.adapters.agents.registry import Registry
from pandar_daemon.adapters.process.host import Host
from pandar_daemon.cli.app import run
from pandar_daemon.ports import Spec
from pandar_daemon.wiring.agents import Agent

GEMINI = PROFILES["gemini"].package
NPM = f"""#!{sys.executable}
import json, pathlib, sys
assert sys.argv[1:] == ["ci", "--ignore-scripts", "--no-audit", "--no-fund"], sys.argv
lock = json.loads(pathlib.Path("package-lock.json").read_text())
for name, package in lock["packages"].items():
    if name:
        folder = pathlib.Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text(json.dumps({{"version": package["version"]}}))
"""
BROKEN_NPM = """#!/bin/sh
echo 'npm warn something' >&2
echo 'npm error code E404' >&2
exit 1
"""


@pytest.fixture
def npm(tmp_path: Path) -> Path:
    """Return a program that does what ``npm ci`` does, without a registry."""
    return program(tmp_path / "npm", NPM)


def program(path: Path, text: str) -> Path:
    """Write a program."""
    path.write_text(text)
    path.chmod(0o755)
    return path


def test_installs(tmp_path: Path, npm: Path) -> None:
    """An agent is installed by its lock; again replaces it, and nothing else is left."""
    packages = tmp_path / "agents"
    assert installed(packages, "gemini") is None
    for _ in range(2):
        assert install(packages, "gemini", npm=str(npm)) == pinned("gemini")
        assert installed(packages, "gemini") == pinned("gemini")
    assert [path.name for path in packages.iterdir()] == ["gemini"]


def test_installs_all_or_nothing(tmp_path: Path, npm: Path) -> None:
    """When npm fails it says why, and what was there before stays."""
    packages = tmp_path / "agents"
    install(packages, "gemini", npm=str(npm))
    broken = program(tmp_path / "broken", BROKEN_NPM)
    with pytest.raises(OSError, match="npm could not install it: npm error code E404"):
        install(packages, "gemini", npm=str(broken))
    assert installed(packages, "gemini") == pinned("gemini")
    assert [path.name for path in packages.iterdir()] == ["gemini"]


def test_installs_nothing_without_npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without npm it says what to do."""
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match=r"install Node\.js 20 or later, with npm"):
        install(tmp_path / "agents", "gemini")


def test_installs_what_is_known() -> None:
    """All when none is named; an unknown one is refused with those there are."""
    assert chosen(()) == ["claude", "codex", "gemini"]
    assert chosen(("codex",)) == ["codex"]
    with pytest.raises(ValueError, match="robot cannot be installed; there are claude, codex"):
        chosen(("robot",))


@pytest.mark.parametrize(
    ("command", "wrong"),
    [
        (f"{sys.executable} -P -m pandar_daemon.adapters.agents.demo", ""),
        ("sh -c 'echo no such luck >&2'", "robot ended before it said hello: no such luck"),
        ("yes", "robot broke its protocol 21 times, the last time with 'y'"),
        ("cat", "robot cannot begin: unknown method initialize"),
    ],
)
async def test_tries_an_agent(tmp_path: Path, command: str, wrong: str) -> None:
    """An agent that can be prompted is fine; of another, why not and what it said last."""
    settings = {"PANDAR_AGENT_ROBOT_COMMAND": command}
    path = "/usr/bin:/bin"
    known = Registry(lambda: datetime.now(UTC), settings, packages=tmp_path, path=path)
    launch = known.launched("robot", prepared(tmp_path, "home"))
    furnish(launch)
    work = prepared(tmp_path, "work")
    spec = Spec(
        execution_id=uuid4(),
        argv=launch.argv,
        cwd=str(work),
        environment=launch.environment,
        piped=True,
    )
    process = await Host(tmp_path / "host").start(spec)
    said = await greet(process, known.driver("robot"), work)
    assert said.startswith(wrong)
    assert bool(said) is bool(wrong)


@pytest.fixture
def data(tmp_path: Path, npm: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a data directory, with a known npm on the path and nothing set for agents."""
    for name in PROFILES:
        monkeypatch.delenv(f"PANDAR_AGENT_{name.upper()}_API_KEY", raising=False)
    monkeypatch.setenv("PATH", f"{npm.parent}:/usr/bin:/bin")
    monkeypatch.setenv("PANDAR_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_the_commands_install_and_list(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was installed is listed, with what each agent still needs."""
    assert run(["agents", "install", "gemini"]) == 0
    assert capsys.readouterr().out == f"installed gemini {pinned('gemini')}\n"
    assert run(["agents", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split(None, 2) == [
        "claude", "-", "claude is not installed: run `pandar agents install claude`"
    ]  # fmt: skip
    assert lines[-1].split() == ["demo", "-", "ready"]
    assert run(["agents", "list", "--json"]) == 0
    told = {each["name"]: each for each in json.loads(capsys.readouterr().out)["agents"]}
    assert told["gemini"]["installed"] == told["gemini"]["pinned"] == pinned("gemini")


def test_the_command_refuses_unknown_agents(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that cannot be installed is a mistake on the command line."""
    assert run(["agents", "install", "robot"]) == 2
    assert "robot cannot be installed" in capsys.readouterr().err


def test_the_doctor_starts_them(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is set up is tried; what is not is no fault."""
    assert run(["agents", "doctor", "--json"]) == 0
    checks = {each["name"]: each for each in json.loads(capsys.readouterr().out)["checks"]}
    assert (checks["demo"]["ok"], checks["claude"]["ok"]) == (True, None)
    assert "pandar agents install claude" in checks["claude"]["hint"]
    monkeypatch.setenv("PANDAR_AGENT_ROBOT_COMMAND", "false")
    assert run(["agents", "doctor"]) == 1
    assert "robot ended before it said hello" in capsys.readouterr().out


def test_an_old_version_is_told() -> None:
    """A version this release is not made for is named beside the one it is made for."""
    from pandar_daemon.cli.agents import agents_text  # noqa: PLC0415 - as the command does

    old = Agent(name="codex", installed="1.0.0", pinned="2.0.0")
    assert agents_text([old]) == "codex  1.0.0 (this release is made for 2.0.0)  ready\n"


def told_by_the_doctor(capsys: pytest.CaptureFixture[str], code: int, name: str) -> Json:
    """Return what the doctor says of one agent."""
    assert run(["agents", "doctor", "--json"]) == code
    checks = json.loads(capsys.readouterr().out)["checks"]
    told: dict[str, Json] = {each["name"]: each for each in checks}
    return told[name]


@pytest.mark.parametrize(("level", "said"), [("bwrap", "No such file"), ("none", "only outside")])
def test_the_doctor_starts_them_as_tasks_do(
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    level: str,
    said: str,
) -> None:
    """In a box, unless tasks are to be in none."""
    secret = data.parent / "secret"
    secret.write_text("only outside\n")
    monkeypatch.setenv("PANDAR_SANDBOX", level)
    monkeypatch.setenv("PANDAR_AGENT_ROBOT_COMMAND", f"sh -c 'cat {secret} >&2; exit 1'")
    told = told_by_the_doctor(capsys, 1, "robot")
    assert told["detail"].startswith("robot ended before it said hello: ")
    assert said in told["detail"]


def test_the_doctor_says_that_there_is_no_box(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where none holds they are tried beside one, and why is told."""
    monkeypatch.setenv("PANDAR_SANDBOX", "bwrap")
    monkeypatch.setattr("pandar_daemon.adapters.sandbox.programs.bubblewrap", lambda: None)
    told = told_by_the_doctor(capsys, 0, "demo")
    assert (told["ok"], told["detail"]) == (None, "works, in no box")
    assert "tasks cannot be confined on this machine: there is no bubblewrap" in told["hint"]


def test_the_doctor_says_what_cannot_be_started(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A program that is not there is a fault of its settings."""
    monkeypatch.setenv("PANDAR_AGENT_ROBOT_COMMAND", "/nowhere/robot")
    told = told_by_the_doctor(capsys, 1, "robot")
    assert "PANDAR_AGENT_ROBOT_COMMAND" in told["hint"]
