"""The real agents without a key: each calls its model by the door of the proxy, which adds it."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pandar_daemon.adapters.agents.registry import Registry
from pandar_daemon.domain.egress import proxy_variables
from pandar_daemon.domain.hearing import Called, CallStatus, Stop
from pandar_daemon.ports import Launch, Outward
from pandar_daemon.ports.sandbox import PROXY_PORT, PROXY_URL
from tests.agents.conftest import PATH, QUICK
from tests.agents.installed import FOLDER
from tests.support.agent_process import agent_process
from tests.support.egress import way_out
from tests.support.fake_models import FakeModels
from tests.support.receiver import LOCAL

KEY = "sk-ant-real-key-of-the-owner-0123456789"
TOKEN = {"PANDAR_AGENT_CLAUDE_API_KEY": "", "PANDAR_AGENT_CLAUDE_ENV_CLAUDE_CODE_OAUTH_TOKEN": KEY}
NATIVE = {"PANDAR_AGENT_CODEX_DRIVER": "app-server"}
BEARER = ("Authorization", f"Bearer {KEY}")


@pytest.fixture
def door() -> socket.socket:
    """Return the door where a box has it."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((LOCAL, PROXY_PORT))
    except OSError:
        made.close()
        pytest.skip(f"port {PROXY_PORT} is taken, and there is no network namespace here")
    made.listen(100)
    made.setblocking(False)
    return made


@pytest.mark.parametrize(
    ("name", "settings", "header"),
    [
        ("claude", {}, ("X-Api-Key", KEY)),
        ("claude", TOKEN, BEARER),
        ("codex", {}, BEARER),
        ("codex", NATIVE, BEARER),
        ("gemini", {}, ("X-Goog-Api-Key", KEY)),
    ],
    ids=["claude", "claude by token", "codex", "codex by app-server", "gemini"],
)
async def test_its_model_is_behind_a_door(
    models: FakeModels,
    home: Path,
    cwd: Path,
    door: socket.socket,
    name: str,
    settings: dict[str, str],
    header: tuple[str, str],
) -> None:
    """It works, the model's server sees the owner's key alone, and inside nobody can."""
    given = {k: KEY if k.endswith("_API_KEY") else v for k, v in models.settings().items()}
    launch = _launched(name, home, {**given, **QUICK, **settings})
    seen = cwd / "seen.txt"
    async with way_out(Outward(models=launch.models), at=door) as way:
        environment = {**launch.environment, **proxy_variables(PROXY_URL)}
        driver = Registry(
            lambda: datetime.now(UTC), {**given, **settings}, packages=FOLDER, path=PATH
        ).driver(name)
        async with agent_process(launch.argv, environment, cwd, driver) as running:
            await running.open(cwd)
            end = await running.turn(f"[[run:env > {seen}]][[done:All finished.]]")
            assert end.stop is Stop.DONE
            assert running.of(Called)[-1].status is CallStatus.DONE
        assert (way.blocked, way.people.asked) == ([], [])
    assert models.keys == {header}
    assert "PROXY" in seen.read_text()
    assert _holding(KEY, home, cwd) == []


def _holding(text: str, *folders: Path) -> list[Path]:
    """Return the files that hold a text."""
    files = [each for folder in folders for each in folder.rglob("*") if each.is_file()]
    return [file for file in files if text.encode() in file.read_bytes()]


def _launched(name: str, home: Path, given: Mapping[str, str]) -> Launch:
    agents = Registry(lambda: datetime.now(UTC), given, packages=FOLDER, path=PATH)
    launch = agents.launched(name, home, boxed=True)
    for path, text in launch.files.items():
        (home / path).parent.mkdir(parents=True, exist_ok=True)
        (home / path).write_text(text)
    return launch
