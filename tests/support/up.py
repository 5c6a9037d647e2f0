"""A whole ``pandar up`` of a test's own, which may be killed and started again on its data."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp

from pandar_daemon.adapters.process.host import HOME_TAG
from pandar_daemon.adapters.process.tree import tagged, tree
from tests.support.api import Json, Person
from tests.support.daemon import Program, free_port
from tests.support.servers import data_root
from tests.support.sse import Message

PATIENCE_SEC = 60.0
_LOOK_SEC = 0.02
ENDS = frozenset({"task.completed", "task.failed", "task.cancelled"})


class Up:
    """One ``pandar up``: its data stays, its process comes and goes."""

    def __init__(self, data: Path, **extra: str) -> None:
        self.data = data
        self._environment = {
            "PANDAR_HTTP_PORT": str(free_port()),
            "PANDAR_NATS_PORT": "0",
            "PANDAR_PG_PORT": "0",
            **extra,
        }
        self.program: Program

    async def start(self) -> None:
        """Start it; returns when it says that it is ready."""
        self.program = await Program.start("up", data=self.data, name="up", extra=self._environment)
        await self.program.says("^ready")

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it by a signal and return its exit code; fails when it takes over 30 s."""
        self.program.process.send_signal(number)
        async with asyncio.timeout(30):
            return await self.program.process.wait()

    @property
    def base_url(self) -> str:
        """Return where its HTTP API is."""
        return f"http://127.0.0.1:{self._environment['PANDAR_HTTP_PORT']}"

    @property
    def token(self) -> str:
        """Return the token of its owner."""
        return (self.data / "token").read_text().strip()

    @property
    def nats_url(self) -> str:
        """Return where its bus is, while it runs."""
        return str(self._running["nats_url"])

    @property
    def database_url(self) -> str:
        """Return where its database is, for the administrator, while it runs."""
        return str(self._running["database_url"])

    @property
    def _running(self) -> dict[str, str]:
        return dict(json.loads((self.data / "running.json").read_text()))

    @property
    def log(self) -> str:
        """Return its log until now."""
        return (self.data / "pandar.log").read_text(errors="replace")

    # --- processes ---

    def processes(self) -> set[int]:
        """Return all processes of it: itself, its servers, its guardians and their trees."""
        return {each.pid for each in tree(self._tag, self.program.process.pid)}

    def left(self) -> list[int]:
        """Return the processes of its tasks, whoever their parent is by now."""
        return tagged(self._tag)

    def server(self, name: str) -> int | None:
        """Return the process that is its ``postgres`` or ``nats-server`` now."""
        parent = self.program.process.pid
        for each in tree(self._tag, parent):
            if each.parent == parent and _name_of(each.pid) == name:
                return each.pid
        return None

    @property
    def _tag(self) -> str:
        return f"{HOME_TAG}={self.data.resolve()}"

    # --- what its users do ---

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Run another command of ``pandar`` on its data to the end; return code and output."""
        name = f"command-{arguments[0]}"
        program = await Program.start(
            *arguments, data=self.data, name=name, extra=self._environment
        )
        return await program.process.wait(), program.printed

    @asynccontextmanager
    async def owner(self) -> AsyncIterator[Person]:
        """Yield its owner, talking to its API."""
        async with aiohttp.ClientSession() as session:
            yield Person(session, self.base_url, self.token)


@asynccontextmanager
async def up(**extra: str) -> AsyncIterator[Up]:
    """Yield a running one on data of its own; afterwards nothing of it is left."""
    data = Path(tempfile.mkdtemp(prefix="pandar-up-", dir=data_root()))
    running = Up(data, **extra)
    try:
        await running.start()
        yield running
        if running.program.process.returncode is None:
            assert await running.stop() == 0, running.program.printed
    finally:
        await running.program.kill()
        shutil.rmtree(data, ignore_errors=True)


async def eventually(is_true: Callable[[], Awaitable[object]]) -> None:
    """Return once a question asked again and again is answered with yes."""
    async with asyncio.timeout(PATIENCE_SEC):
        while not await is_true():  # noqa: ASYNC110 - another process works
            await asyncio.sleep(_LOOK_SEC)


async def is_ready(person: Person) -> bool:
    """Return whether the daemon says it can serve requests."""
    try:
        async with person.session.get(f"{person.base_url}/readyz") as reply:
            return reply.status == 200
    except aiohttp.ClientError:
        return False


async def watched(person: Person, task: int) -> list[Message]:
    """Return everything the stream of a task says, up to the task's end."""
    seen: list[Message] = []
    async with person.stream(f"/tasks/{task}/stream") as stream:
        while not seen or not _is_end(seen[-1]):
            seen.append(await stream.next())
    person.position = seen[-1].data["position"]
    return seen


async def row_of_ended(person: Person, task: int) -> Json:
    """Return the row of a task once it has ended."""
    await watched(person, task)
    return await person.get(f"/tasks/{task}")


def _is_end(message: Message) -> bool:
    return message.name in ENDS and not message.data["data"].get("will_retry")


def _name_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
