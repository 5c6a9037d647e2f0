"""A project's repository, a clone in a task's workspace, and a runner that pushes for it."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
from msgspec.structs import replace

from events.calls import ToolCall
from events.running import ReportPush
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.process.host import Host
from pandar_daemon.ports import Ending, Order, Permission
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.git import Git
from pandar_daemon.services.git_access import Admission
from pandar_daemon.services.line import Line
from pandar_daemon.services.pushing import Pushing, Site
from tests.support.agent_runs import ASSIGNMENT, Daemon

OWN = "pandar/42-tidy"
PROTECTED = ("main", "master", "release/*", "production")
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_AUTHOR_NAME": "a",
    "GIT_AUTHOR_EMAIL": "a@b",
    "GIT_COMMITTER_NAME": "a",
    "GIT_COMMITTER_EMAIL": "a@b",
    "GIT_AUTHOR_DATE": "2026-01-01T00:00:00Z",
    "GIT_COMMITTER_DATE": "2026-01-01T00:00:00Z",
}


def git(cwd: Path, *argv: str) -> str:
    """Run the real git; return what it wrote."""
    done = subprocess.run(
        ["git", *argv], cwd=cwd, env=ENVIRONMENT, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


class Screen:
    """See `ports.Show`."""

    def __init__(self) -> None:
        self.out = self.err = self.kept = b""

    async def output(self, data: bytes) -> None:
        """See `ports.Show`."""
        self.out += data

    async def error(self, data: bytes) -> None:
        """See `ports.Show`."""
        self.err += data

    async def file(self, data: bytes) -> None:
        """See `ports.Show`."""
        self.kept += data


class Ground:
    """The repository, the clone, and what was asked and moved."""

    def __init__(self, folder: Path) -> None:
        self.bare, self.tree = folder / "project.git", folder / "task"
        self.data = folder / "data"
        self.asked: list[ToolCall] = []
        self.daemon = Daemon()
        self.allows: Callable[[ToolCall], Awaitable[Permission]] = _yes
        self._make(folder)
        clock = SystemClock()
        line = Line(ASSIGNMENT, "r1", Asker(self.daemon, lambda: "token"), clock)
        home = folder / "home"
        home.mkdir()
        runs = Git(Host(folder / "host"), clock, home=home, path=ENVIRONMENT["PATH"])
        site = Site(url=str(self.bare), own=OWN, protected=PROTECTED, admit=_admit)
        self.pushing = Pushing(
            site, runs, self.data / "quarantine", inquire=self._inquire, line=line, clock=clock
        )

    def _make(self, folder: Path) -> None:
        git(folder, "init", "-q", "--bare", "-b", "main", str(self.bare))
        git(folder, "clone", "-q", str(self.bare), str(self.tree))
        git(self.tree, "checkout", "-q", "-b", "main")
        self.commit("first")
        git(self.tree, "push", "-q", "origin", "main")
        git(self.tree, "checkout", "-q", "-b", OWN)

    async def _inquire(self, call: ToolCall, why: str) -> Permission:
        assert why
        self.asked.append(call)
        return await self.allows(call)

    def commit(self, name: str, text: str = "x") -> str:
        """Commit a file; return the commit."""
        (self.tree / name).write_text(text)
        git(self.tree, "add", name)
        git(self.tree, "commit", "-q", "-m", f"add {name}")
        return self.at("HEAD")

    def at(self, name: str) -> str:
        """Return the commit of a name in the clone."""
        return git(self.tree, "rev-parse", name)

    def remote(self) -> dict[str, str]:
        """Return the references of the repository, by name."""
        lines = git(self.bare, "for-each-ref", "--format=%(refname) %(objectname)").splitlines()
        return dict(line.split(" ", 1) for line in lines)

    async def push(self, *words: str, cwd: Path | None = None) -> tuple[Ending, str]:
        """Push from the clone; return how it ended, and what was shown."""
        screen = Screen()
        order = Order(tool="git", argv=words, cwd=str(cwd or self.tree))
        async with asyncio.timeout(30):
            ending = await self.pushing.push(order, screen)
        return ending, (screen.out + screen.err).decode()

    @property
    def reported(self) -> list[ReportPush]:
        """Return what was recorded as moved."""
        return self.daemon.told("pushed", ReportPush)


async def _admit() -> Admission:
    return Admission()


async def _yes(_call: ToolCall) -> Permission:
    return Permission(allowed=True)


async def no(_call: ToolCall) -> Permission:
    """Refuse."""
    return Permission(allowed=False, text="This was denied.")


def again(call: ToolCall) -> ToolCall:
    """Return a call as it is after it was stored and read."""
    return replace(msgspec.json.decode(msgspec.json.encode(call), type=ToolCall))
