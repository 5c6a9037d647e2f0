"""A whole Pandar as processes that may be killed and stopped, two of each that may be two."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.process.tree import tree
from pandar_daemon.config import Settings
from pandar_daemon.wiring.parts import tokens
from tests.support.daemon import Program
from tests.support.proxy import Proxy
from tests.support.servers import TestServers
from tests.support.trees import status_of

MEMBERS = (
    "commands-1",
    "commands-2",
    "relay-1",
    "relay-2",
    "projector-1",
    "projector-2",
    "reaper-1",
    "scheduler-1",
    "runner-1",
    "runner-2",
)
LEASE_SEC = 3.0
SLOTS = 4
LOOK_SEC = 0.02
PATIENCE_SEC = 60.0
_GUARDIAN = b"pandar_daemon.adapters.process."


class Fleet:
    """Processes by member, on servers that run already.

    Members ending in the same number are one machine: they reach the servers by a link of their
    own. Each role has its own data directory; runners know neither the database nor the secret.
    """

    def __init__(
        self,
        root: Path,
        servers: TestServers,
        database_url: str,
        *,
        members: Sequence[str] = MEMBERS,
        **extra: str,
    ) -> None:
        self.root = root
        self.members = members
        self._servers = servers
        self._programs: dict[str, Program] = {}
        self._life = Counter[str]()
        self._extra = {
            "PANDAR_DATABASE_URL": database_url,
            "PANDAR_NATS_URL": servers.nats_url,
            "PANDAR_LEASE_TTL_SEC": str(LEASE_SEC),
            "PANDAR_SLOTS": str(SLOTS),
            "PANDAR_SANDBOX": "none",  # tasks leave their marks where we look, unless a test says
            **extra,
        }
        self.links = {
            number: (Proxy(database_url), Proxy(servers.nats_url)) for number in ("1", "2")
        }
        self.home = self._folder("1")
        self._tokens = tokens(Settings(data=self.home), SystemClock())

    @property
    def spools(self) -> list[Path]:
        """Return what lies on disk and is not yet on the bus."""
        return list(self.root.glob("*/spool/*"))

    def token(self) -> str:
        """Return an administrator's token."""
        return self._tokens.mint("1", ["admin"], 3600)

    def _folder(self, number: str) -> Path:
        folder = self.root / f"data-{number}"
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder

    def _settings(self, member: str) -> dict[str, str]:
        role, _, number = member.partition("-")
        settings = dict(self._extra)
        if number in self.links:
            database, bus = self.links[number]
            settings |= {"PANDAR_DATABASE_URL": database.url, "PANDAR_NATS_URL": bus.url}
        if role != "runner":
            return {**settings, "PANDAR_JWT_SECRET_FILE": str(self.home / "jwt.secret")}
        del settings["PANDAR_DATABASE_URL"]
        return {**settings, "PANDAR_RUNNER_TOKEN": self._tokens.mint(number, ["runner"], 3600)}

    # --- one member ---

    async def launch(self, member: str) -> Program:
        """Start its process and return at once; what it prints is kept for each of its lives."""
        role, _, number = member.partition("-")
        self._life[member] += 1
        program = await Program.start(
            *("serve", "--role", role),
            data=self._folder(number if role == "runner" else f"{role}-{number}"),
            name=f"{member}.{self._life[member]}",
            extra=self._settings(member),
        )
        self._programs[member] = program
        return program

    async def start(self, member: str) -> None:
        """Start its process, again and again until it stays and says that it is ready.

        A supervisor would do the same: what it needs may be away.
        """
        async with asyncio.timeout(PATIENCE_SEC):
            while not await _ready(await self.launch(member)):
                pass

    async def start_all(self) -> None:
        """Start all; the first is a command service, which makes the project all tasks are of."""
        for proxy in self._proxies():
            await proxy.open()
        await self.start(self.members[0])
        async with asyncio.TaskGroup() as group:
            for member in self.members[1:]:
                group.create_task(self.start(member))

    def __getitem__(self, member: str) -> Program:
        """Return the process of a member in its present life."""
        return self._programs[member]

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Run a command of ``pandar`` to its end; return its exit code and what it printed."""
        program = await Program.start(
            *arguments, data=self.home, name=arguments[0], extra=self._extra
        )
        return await program.process.wait(), program.printed

    # --- whom a fault may hit ---

    def pids(self, victim: str) -> list[int]:
        """Return the processes a victim is made of, parents first; none when it is gone."""
        if victim == "nats":
            return _whole(self._servers.nats.child)
        if victim == "postgres":
            return _whole(self._servers.postgres.child)
        return _living(self._programs.get(victim))

    def guardians(self, runner: str) -> list[int]:
        """Return the guardians of a runner, whoever started them."""
        return [pid for root in self.pids(runner) for pid in descendants(root) if _guards(pid)]

    def _proxies(self) -> Iterator[Proxy]:
        for both in self.links.values():
            yield from both

    async def kill_server(self, victim: str) -> None:
        """Kill Postgres or NATS with SIGKILL; it stays away until revived."""
        await (self._servers.kill_nats() if victim == "nats" else self._servers.kill_postgres())

    async def revive_server(self, victim: str) -> None:
        """Start Postgres or NATS on its port and data again."""
        await (self._servers.start_nats() if victim == "nats" else self._servers.start_postgres())

    # --- the end ---

    async def stop(self) -> list[str]:
        """Stop every process in order; return who did not go, and who was left behind."""
        faults: list[str] = []
        for member in reversed(self.members):
            for pid in self.pids(member):
                send(pid, signal.SIGCONT)
        for member in [each for each in reversed(self.members) if each in self._programs]:
            program = self._programs[member]
            try:
                await program.stop()
            except TimeoutError:
                await program.kill()
                faults.append(f"stop: {member} did not end in time")
        for proxy in self._proxies():
            await proxy.close()
        return [*faults, *self._left()]

    def _left(self) -> Iterator[str]:
        for member in self.members:
            role, _, number = member.partition("-")
            folder = self.root / f"data-{number if role == 'runner' else f'{role}-{number}'}"
            for entry in tree(f"PANDAR_DATA={folder}") + tree(
                f"PANDAR_RUNNER_HOME={folder.resolve()}"
            ):
                yield f"stop: process {entry.pid} of {member} is left: {_command(entry.pid)!r}"


async def _ready(program: Program) -> bool:
    while "serve.ready" not in program.printed:
        if program.process.returncode is not None:
            return False
        await asyncio.sleep(LOOK_SEC)
    return True


def _living(program: Program | None) -> list[int]:
    gone = program is None or program.process.returncode is not None
    return [] if gone or program is None else [program.process.pid]


def _whole(child: object) -> list[int]:
    pid, ended = getattr(child, "pid", 0), getattr(child, "exit_code", None)
    return [] if not pid or ended is not None else [pid, *descendants(pid)]


def descendants(pid: int) -> list[int]:
    """Return all who descend from a process, parents first."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                found += [int(child), *descendants(int(child))]
    return found


def _guards(pid: int) -> bool:
    """Whether it answers for an execution now, or is the nursery."""
    return _GUARDIAN in _command(pid) and status_of(pid).get("Name") != "pandar-idle"


def is_nursery(pid: int) -> bool:
    """Return whether a process is the one that guardians are forked from."""
    return status_of(pid).get("Name") == "pandar-nursery"


def _command(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal, unless it is gone."""
    if status_of(pid):
        with suppress(ProcessLookupError):
            os.kill(pid, number)
