"""A real Pandar in processes of its own, as its users run it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from pandar_daemon.adapters.agents.places import of_python
from tests.support.waiting import until

START_SEC = 60.0


def free_port() -> int:
    """Return a port of the loopback address nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def clean_environment(data: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return an environment made from nothing but what a program needs to run."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(data),
        "LANG": "C.UTF-8",
        "NO_COLOR": "1",
        "PANDAR_DATA": str(data),
        "PANDAR_LOG_FORMAT": "json",
        **{name: os.environ[name] for name in ("PANDAR_SANDBOX",) if name in os.environ},
        **(extra or {}),
    }


def for_tests(data: Path) -> None:
    """Let one user do what a crowd does, and boxes see our agents, unless a test sets its own."""
    file = data / "pandar.toml"
    if data.exists() and not file.exists():
        many = ("requests_per_minute", "commands_per_minute")
        readable = json.dumps([*of_python(), str(Path(__file__).parents[1])])
        limits = [f"{name} = 1_000_000" for name in many]
        file.write_text("\n".join(["[limits]", *limits, "[sandbox]", f"readable = {readable}"]))


class Program:
    """One ``pandar …`` process and what it printed."""

    def __init__(self, process: asyncio.subprocess.Process, out: Path) -> None:
        self.process = process
        self._out = out

    @classmethod
    async def start(
        cls, *arguments: str, data: Path, name: str, extra: Mapping[str, str] | None = None
    ) -> Program:
        """Start ``python -m pandar_daemon`` with arguments in a session of its own."""
        for_tests(data)
        out = data / f"{name}.out"
        with out.open("wb") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "pandar_daemon",
                *arguments,
                env=clean_environment(data, extra),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=file,
                stderr=asyncio.subprocess.STDOUT,
                start_new_session=True,
            )
        return cls(process, out)

    @property
    def printed(self) -> str:
        """Return all it printed so far."""
        return self._out.read_text(errors="replace")

    async def says(self, pattern: str) -> str:
        """Return the first line matching a pattern, once it is there; fails if it ends before."""
        found: list[str] = []

        def there() -> bool:
            found[:] = [line for line in self.printed.splitlines() if re.search(pattern, line)]
            return bool(found) or self.process.returncode is not None

        await until(there, patience_sec=START_SEC)
        assert found, f"it never said {pattern}:\n{self.printed}"
        return found[0]

    async def kill(self) -> None:
        """End it with SIGKILL and wait until it is gone."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> int:
        """End it with SIGTERM and return its exit code; fails when it takes over 30 s."""
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(30):
            return await self.process.wait()


class Roles:
    """A Pandar as separate processes, one a role, on servers that run already."""

    def __init__(self, data: Path, database_url: str, nats_url: str, **extra: str) -> None:
        self.data = data
        self.http_port = free_port()
        self._extra = {
            "PANDAR_DATABASE_URL": database_url,
            "PANDAR_NATS_URL": nats_url,
            "PANDAR_HTTP_PORT": str(self.http_port),
            "PANDAR_SANDBOX": "none",  # tasks of these tests leave their marks where we look
            **extra,
        }
        self._programs: dict[str, Program] = {}

    async def start(self, *roles: str) -> None:
        """Start a process for each role, or again if it ended."""
        for role in roles:
            program = await Program.start(
                "serve", "--role", role, data=self.data, name=role, extra=self._extra_of(role)
            )
            self._programs[role] = program
        for role in roles:
            await self._programs[role].says("serve.ready")

    def _extra_of(self, role: str) -> dict[str, str]:
        """Return the role's own settings: a runner is not told where the database is."""
        hidden = {"PANDAR_DATABASE_URL"} if role == "runner" else set()
        return {name: value for name, value in self._extra.items() if name not in hidden}

    def __getitem__(self, role: str) -> Program:
        """Return the process of a role."""
        return self._programs[role]

    async def kill(self, role: str) -> None:
        """Kill a role with SIGKILL."""
        await self._programs[role].kill()

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Run another command of ``pandar`` to its end; return its exit code and output."""
        program = await Program.start(*arguments, data=self.data, name="command", extra=self._extra)
        return await program.process.wait(), program.printed

    async def stop(self) -> None:
        """Stop every role in order; kills what does not stop."""
        for program in self._programs.values():
            try:
                await program.stop()
            except TimeoutError:
                await program.kill()
                raise
