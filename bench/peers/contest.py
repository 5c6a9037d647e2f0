"""Pandar against others who run tasks from a Postgres: the same ``true``, on the same server.

In a turn a contender's client files tasks, 16 at a time, as fast as they are taken, and 16 are at
work; a turn lasts from the first filing until the last end is stored. Each has a process that
works and one that files, and files in its own natural way: Pandar's by commands on the bus,
Procrastinate's by ``defer``, DBOS' by ``enqueue`` from its client. Turns are taken round by round.

What is *not* the same: Pandar runs a shell under a guardian on a terminal, keeps its output and
holds a lease for it; the others spawn a child of their own and wait. Pandar's daemon idles while
they have their turn.
"""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import msgspec
from msgspec import Struct

from bench.bus import Bus, bus
from bench.daemon import SLOTS, Daemon, daemon
from bench.figures import Figure, at_least, ratio, typical, unmeasured
from bench.peers.environment import NoPeers, peers_python, versions
from bench.postgres import Work, work
from bench.scale import Scale
from events import commands as do

PART = f"backlog of `true`, {SLOTS} at work"
PATIENCE_SEC = 120.0
STOP_SEC = 20.0
_LOOK_SEC = 0.05
# What is new, by index: whoever looks must not take from a contender the time it is measured in.
# Planned once, among few rows, a look would read all there are.
_BY_INDEX = "SET enable_seqscan = off; SET enable_bitmapscan = off"
_OURS = """
SELECT coalesce(max(position), $1), count(*) FILTER (WHERE type = 'task.completed')
FROM (SELECT position, type FROM events WHERE position > $1 ORDER BY position LIMIT 1000) new
"""
_BEFORE = {
    "procrastinate": "SELECT coalesce(max(id), 0) FROM procrastinate_jobs",
    "dbos": "SELECT coalesce(max(created_at), 0) FROM dbos.workflow_status",
}
_THEIRS = {
    "procrastinate": """
SELECT count(*) FROM procrastinate_jobs WHERE id > $1 AND status = 'succeeded'
""",
    "dbos": """
SELECT count(*) FROM dbos.workflow_status WHERE created_at > $1 AND status = 'SUCCESS'
""",
}
_SHOWN = {"pandar": "Pandar", "procrastinate": "Procrastinate", "dbos": "DBOS"}


class Turn(Struct, frozen=True):
    """What a contender did."""

    tasks: int
    seconds: float
    done: Work

    @property
    def rate(self) -> float:
        """Tasks a second."""
        return self.tasks / self.seconds


class Filed(Struct, frozen=True):
    """When a client filed its first task and when its last was taken, on the monotonic clock."""

    began: float
    filed: float


Turns = dict[str, list[Turn]]


class Ends:
    """How many of our tasks ended since a position; each event is looked at once."""

    def __init__(self, pandar: Daemon, position: int) -> None:
        self._pandar = pandar
        self._position = position
        self._found = 0

    async def count(self) -> int:
        """Return how many so far."""
        for position, more in await self._pandar.postgres.fetch(_OURS, self._position):
            self._position, self._found = position, self._found + more
        return self._found


async def measure(data: Path, scale: Scale) -> list[Figure]:
    """Return the figures of all contenders, or one line when there are no peers here."""
    try:
        python = await asyncio.to_thread(peers_python)
    except NoPeers as reason:
        return [unmeasured(PART, str(reason))]
    turns: Turns = defaultdict(list)
    async with daemon(data) as pandar, bus(pandar.place.nats_url, pandar.token) as client:
        peers = [await Peer.prepared(name, python, pandar) for name in _THEIRS]
        await _ours(pandar, client, "warm", SLOTS)
        for n in range(scale.peer_rounds):
            turns["pandar"].append(await _ours(pandar, client, str(n), scale.peer_tasks))
            for peer in peers:
                turns[peer.name].append(await peer.turn(pandar, scale.peer_tasks))
    return _figures(turns)


async def _ours(pandar: Daemon, client: Bus, name: str, tasks: int) -> Turn:
    await pandar.postgres.execute(_BY_INDEX)
    ends = Ends(pandar, await pandar.postgres.fetchval("SELECT position FROM log_head"))

    async def file() -> Filed:
        numbers = iter(range(tasks))
        began = time.monotonic()

        async def filer() -> None:
            for number in numbers:
                key = f"contest-{name}-{number}"
                create = do.CreateTask(name=key, command="true", project_id=1)
                await client.ask("task.create", create, key, 1)

        async with asyncio.TaskGroup() as group:
            for _ in range(SLOTS):
                group.create_task(filer())
        return Filed(began, time.monotonic())

    return await _turn(pandar, tasks, file, ends.count)


async def _turn(
    pandar: Daemon,
    tasks: int,
    file: Callable[[], Awaitable[Filed]],
    ended: Callable[[], Awaitable[int]],
) -> Turn:
    """Time a filing until so many more tasks have ended than before."""
    wanted, before = await ended() + tasks, await work(pandar.postgres)
    filing = asyncio.ensure_future(file())
    async with asyncio.timeout(PATIENCE_SEC):
        while await ended() < wanted:  # noqa: ASYNC110 - they end in Postgres
            await asyncio.sleep(_LOOK_SEC)
        over = time.monotonic()
        return Turn(tasks, over - (await filing).began, (await work(pandar.postgres)).since(before))


class Peer:
    """One of the others, with a database of its own."""

    def __init__(self, name: str, python: str, url: str) -> None:
        self.name = name
        self._url = url
        self._argv = (python, str(Path(__file__).with_name(f"with_{name}.py")))

    @classmethod
    async def prepared(cls, name: str, python: str, pandar: Daemon) -> Peer:
        """Return it with its tables made, and after a first few tasks."""
        peer = cls(name, python, await pandar.create(f"bench_{name}"))
        await peer._run("prepare", 0)
        await peer.turn(pandar, SLOTS)
        return peer

    async def turn(self, pandar: Daemon, tasks: int) -> Turn:
        """Let it have its turn."""
        connection = await asyncpg.connect(self._url)
        try:
            await connection.execute(_BY_INDEX)
            before = await connection.fetchval(_BEFORE[self.name])
            async with self._working():
                return await _turn(
                    pandar,
                    tasks,
                    lambda: self._file(tasks),
                    lambda: connection.fetchval(_THEIRS[self.name], before),
                )
        finally:
            await connection.close()

    async def _file(self, tasks: int) -> Filed:
        return msgspec.json.decode(await self._run("file", tasks), type=Filed)

    async def _run(self, verb: str, tasks: int) -> bytes:
        running = await self._start(verb, tasks)
        printed, said = await running.communicate()
        if running.returncode:
            raise RuntimeError(f"{self.name} {verb}: {said.decode(errors='replace')}")
        return printed

    @asynccontextmanager
    async def _working(self) -> AsyncIterator[None]:
        worker = await self._start("work", 0, stderr=subprocess.DEVNULL)
        try:
            if worker.stdout is None or not await worker.stdout.readline():
                raise RuntimeError(f"{self.name} does not work")
            yield
        finally:
            await _stop(worker)

    async def _start(
        self, verb: str, tasks: int, *, stderr: int = subprocess.PIPE
    ) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *(*self._argv, verb, self._url, str(tasks), str(SLOTS)),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
        )


async def _stop(worker: asyncio.subprocess.Process) -> None:
    if worker.returncode is None:
        worker.terminate()
    try:
        async with asyncio.timeout(STOP_SEC):
            await worker.wait()
    except TimeoutError:
        worker.kill()
        await worker.wait()


def _figures(turns: Turns) -> list[Figure]:
    version = versions()
    figures = []
    for name, taken in turns.items():
        shown = f"{_SHOWN[name]} {version.get(name, '')}".strip()
        best = f"best of {len(taken)}: {max(turn.rate for turn in taken):,.0f}/s"
        writes = typical([turn.done.writes / turn.tasks for turn in taken])
        wal = typical([turn.done.wal_bytes / turn.tasks / 1e3 for turn in taken])
        figures += [
            Figure(part=PART, what=shown, value=typical(_rates(taken)), unit="/s", note=best),
            Figure(part=PART, what=f"{shown}: writing commits per task", value=writes),
            Figure(part=PART, what=f"{shown}: WAL per task", value=wal, unit="kB"),
        ]
    return [
        *figures,
        _against(turns, "procrastinate", 1, "Pandar's tasks are filed on the bus"),
        _against(turns, "dbos", 2, "DBOS looks at its queue every 50 ms, 20 times its default"),
    ]


def _against(turns: Turns, peer: str, bound: float, note: str) -> Figure:
    """Return how many times a peer's rate ours is, the median of the rounds."""
    ratios = list(map(ratio, _rates(turns["pandar"]), _rates(turns[peer])))
    return Figure(
        part=PART,
        what=f"Pandar of {_SHOWN[peer]}",
        value=typical(ratios),
        unit="x",
        goal=at_least(bound),
        note=f"{min(ratios):.2f} to {max(ratios):.2f} in {len(ratios)} rounds; {note}",
    )


def _rates(taken: list[Turn]) -> list[float]:
    return [turn.rate for turn in taken]
