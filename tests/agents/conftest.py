"""Real agents, each in a clean environment with a model server of its own."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

import pytest

from pandar_daemon.adapters.agents.registry import Registry
from tests.agents.installed import FOLDER, INSIDE
from tests.support.agent_process import AgentProcess, agent_process
from tests.support.fake_models import FakeModels, fake_models
from tests.support.servers import data_root
from tests.support.up import Up

PATH: Final = "/usr/local/bin:/usr/bin:/bin"
QUICK: Final = {
    "PANDAR_AGENT_CODEX_ENV_CODEX_CONFIG": json.dumps(
        {"model_providers": {"owner": {"request_max_retries": 0, "stream_max_retries": 0}}}
    )
}
"""Spares the tests half a minute of patience with a model server that fails."""

Running = Callable[..., AbstractAsyncContextManager[Up]]
"""Starts a Pandar for an agent by its name, with settings of its environment."""


def pytest_ignore_collect() -> bool | None:
    """Leave this folder out of every run but its own."""
    return None if os.environ.get(INSIDE) else True


class Start(Protocol):
    """Starts a real agent."""

    def __call__(self, name: str) -> AbstractAsyncContextManager[AgentProcess]:
        """Start one, in the same folder and home as the others of a test."""


@pytest.fixture
async def models() -> AsyncIterator[FakeModels]:
    """Return a scripted model server."""
    async with fake_models() as running:
        yield running


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Return the HOME of a task."""
    made = tmp_path / "home"
    (made / "tmp").mkdir(parents=True)
    return made


@pytest.fixture
def start(models: FakeModels, home: Path, cwd: Path) -> Start:
    """Return what starts a real agent; nothing of it is left after the test."""

    @asynccontextmanager
    async def started(name: str) -> AsyncIterator[AgentProcess]:
        agent, _, driver = name.partition(" by ")
        chosen = {"PANDAR_AGENT_CODEX_DRIVER": driver} if driver else {}
        given = models.settings() | QUICK | chosen
        agents = Registry(lambda: datetime.now(UTC), given, packages=FOLDER, path=PATH)
        launch = agents.launched(agent, home)
        for path, text in launch.files.items():
            (home / path).parent.mkdir(parents=True, exist_ok=True)
            (home / path).write_text(text)
        made = agents.driver(agent)
        async with agent_process(launch.argv, launch.environment, cwd, made) as running:
            yield running

    return started


@pytest.fixture
def running(models: FakeModels) -> Running:
    """Return what starts a Pandar whose agents talk to the scripted model server."""

    @asynccontextmanager
    async def started(agent: str, **settings: str) -> AsyncIterator[Up]:
        driver = agent.partition(" by ")[2]
        chosen = {"PANDAR_AGENT_CODEX_DRIVER": driver} if driver else {}
        data = Path(tempfile.mkdtemp(prefix="pandar-up-", dir=data_root()))
        (data / "agents").symlink_to(FOLDER)
        pandar = Up(data, **(models.settings() | QUICK | chosen | settings))
        try:
            await pandar.start()
            yield pandar
            assert await pandar.stop() == 0, pandar.program.printed
        finally:
            await pandar.program.kill()
            shutil.rmtree(data, ignore_errors=True)

    return started
