"""A crowd on one daemon: many clients who watch, many runners, and all their slots taken.

The daemon is one process with every role but the runner's. Ten projects have two members each; a
member has 50 streams open, as many as one may have, and sees the events of one project. The tasks
wait for a lock that is held until all of them run, and end when it is let go: while they wait they
cost nothing. Clients and runners share the machine with the daemon.
"""

from __future__ import annotations

import asyncio
import fcntl
import shlex
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path

from msgspec import Struct

from bench.audience import Audience, Seat, audience
from bench.crew import Crew, at_work
from bench.figures import Figure, at_least, at_most, ratio
from bench.scale import Scale
from bench.stage import Stage, stage
from events import commands as do
from events import subjects

PROJECTS = 10
STREAMS_PER_USER = 50
RUNNERS_PER_PROCESS = 10
SLOTS = 10
ROUNDS = 2
FILERS = 16
PATIENCE_SEC = 180.0
_LOOK_SEC = 0.2
_EVENTS = "SELECT project_id, position FROM events WHERE position > $1 ORDER BY position"
_COMPLETED = "SELECT count(*) FROM events WHERE type = 'task.completed'"
_LOST = "SELECT count(*) FROM events WHERE type = 'task.execution_lost'"

Positions = dict[int, list[int]]


class Round(Struct, frozen=True, kw_only=True):
    """All slots filled once, and emptied."""

    filling_sec: float
    resting: float  # processors the daemon uses while all tasks run and none begins or ends
    cpu_sec: float
    rss: float
    expected: int  # events, counted once for each client that should get them
    heard: int
    completed: int  # tasks, since the beginning
    lost: int  # executions, likewise
    served: int  # clients who have got exactly their events, in order


async def measure(data: Path, scale: Scale) -> list[Figure]:
    """Return the figures of a crowd of the scale's size, with data under ``data``."""
    async with stage(data) as on, AsyncExitStack() as stack:
        seats = await _members(on, scale.crowd_clients // STREAMS_PER_USER)
        alone = on.rss()
        await _hire(on, data, scale.crowd_runners, stack)
        watching = stack.enter_context(audience())
        play = _Play(on, watching, data / "lock", scale)
        play.begins_after = await on.head()
        await watching.seat(on.port, play.begins_after, seats)
        seated = on.rss()
        rounds = [await play.round(number) for number in range(ROUNDS)]
    part = f"crowd: {len(seats):,} SSE clients, {scale.crowd_runners} runners, {play.tasks} tasks"
    return _figures(part, play.tasks, watching, rounds, alone, seated)


async def _members(on: Stage, users: int) -> list[Seat]:
    """Make the projects and let the users in; return where each of their streams sits."""
    projects = []
    for number in range(PROJECTS):
        made = await on.bus.ask("project.create", do.CreateProject(name=f"p{number}"), f"p{number}")
        projects.append(int(made.id))
    seats: list[Seat] = []
    for number in range(users):
        user, project = f"user-{number}", projects[number % PROJECTS]
        await on.bus.ask("project.add_member", do.AddMember(user=user), user, project, project)
        seats += [Seat(project, on.token(user, "user"))] * STREAMS_PER_USER
    return seats


async def _hire(on: Stage, data: Path, runners: int, stack: AsyncExitStack) -> None:
    """Start the runners, and return when each has been heard of."""
    seen: set[str] = set()
    async with on.bus.wire.subscribe(subjects.heartbeat("*")) as beats:
        for first in range(0, runners, RUNNERS_PER_PROCESS):
            crew = Crew(
                data=str(data / f"crew-{first}"),
                nats_url=on.nats_url,
                secret_file=str(on.secret),
                runners=min(RUNNERS_PER_PROCESS, runners - first),
                slots=SLOTS,
            )
            await stack.enter_async_context(at_work(crew))
        async with asyncio.timeout(PATIENCE_SEC):
            async for beat in beats:
                seen.add(beat.subject)
                if len(seen) == runners:
                    return


class _Play:
    """What happens before the audience."""

    def __init__(self, on: Stage, watching: Audience, lock: Path, scale: Scale) -> None:
        self.tasks = scale.crowd_runners * SLOTS
        self.begins_after = 0
        self._on = on
        self._watching = watching
        self._lock = lock
        self._rest_sec = scale.crowd_rest_sec

    async def round(self, number: int) -> Round:
        """Fill all slots, rest, let all tasks end, and wait until every client has heard of it."""
        on, cpu_sec = self._on, self._on.cpu_sec()
        async with on.bus.events("task", "started") as started, on.ends() as ends:
            with _held(self._lock):
                began = time.perf_counter()
                await self._file(number)
                await _take(started, self.tasks)
                filling_sec = time.perf_counter() - began
                resting = await self._rest()
            await _take(ends, self.tasks)
        return await self._applause(filling_sec, resting, cpu_sec)

    async def _applause(self, filling_sec: float, resting: float, cpu_sec: float) -> Round:
        log = await self._heard_of()
        return Round(
            filling_sec=filling_sec,
            resting=resting,
            cpu_sec=self._on.cpu_sec() - cpu_sec,
            rss=self._on.rss(),
            expected=self._expected(log),
            heard=self._watching.heard(),
            served=self._watching.served(log),
            completed=await self._on.log.fetchval(_COMPLETED),
            lost=await self._on.log.fetchval(_LOST),
        )

    async def _heard_of(self) -> Positions:
        """Return what the log holds once all of it has been heard, or patience ends."""
        deadline = time.perf_counter() + PATIENCE_SEC
        while True:
            log = await self._log()
            if self._watching.heard() == self._expected(log) or time.perf_counter() > deadline:
                return log
            await asyncio.sleep(_LOOK_SEC)

    def _expected(self, log: Positions) -> int:
        return sum(len(log[client.project_id]) for client in self._watching.clients)

    async def _file(self, number: int) -> None:
        line = f"flock --shared {shlex.quote(str(self._lock))} true"
        projects = sorted({client.project_id for client in self._watching.clients})
        numbers = iter(range(self.tasks))

        async def filer() -> None:
            for n in numbers:
                key, project = f"crowd-{number}-{n}", projects[n % len(projects)]
                create = do.CreateTask(name=key, command=line, project_id=project)
                await self._on.bus.ask("task.create", create, key, project)

        async with asyncio.TaskGroup() as group:
            for _ in range(FILERS):
                group.create_task(filer())

    async def _rest(self) -> float:
        began, before = time.perf_counter(), self._on.cpu_sec()
        await asyncio.sleep(self._rest_sec)
        return (self._on.cpu_sec() - before) / (time.perf_counter() - began)

    async def _log(self) -> Positions:
        """Return the positions of each project since the audience sat down."""
        log: Positions = defaultdict(list)
        for project, position in await self._on.log.fetch(_EVENTS, self.begins_after):
            log[project].append(position)
        return log


@contextmanager
def _held(lock: Path) -> Iterator[None]:
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


async def _take(events: AsyncIterator[str], number: int) -> None:
    """Return when so many different ids have come; raises ``TimeoutError``."""
    seen: set[str] = set()
    async with asyncio.timeout(PATIENCE_SEC):
        async for id_ in events:
            seen.add(id_)
            if len(seen) == number:
                return


def _figures(
    part: str, tasks: int, watching: Audience, rounds: list[Round], alone: float, seated: float
) -> list[Figure]:
    last = rounds[-1]

    def figure(what: str, value: float, unit: str, **more: object) -> Figure:
        return Figure(part=part, what=what, value=value, unit=unit, **more)  # type: ignore[arg-type]

    cpu = sum(one.cpu_sec for one in rounds)
    return [
        figure("filed → all run", max(one.filling_sec for one in rounds), "s", note="slower round"),
        figure(
            "clients who got every event of their project, once and in order",
            last.served,
            "",
            goal=at_least(len(watching.clients)),
            note=f"{last.heard:,} events of {last.expected:,}; {watching.broken()} streams broke",
        ),
        figure(
            "tasks completed",
            last.completed,
            "",
            goal=at_least(tasks * len(rounds)),
            note=f"{last.lost} executions lost",
        ),
        figure("recorded → client p50", watching.taken.p50 * 1e3, "ms"),
        figure("recorded → client p99", watching.taken.p99 * 1e3, "ms"),
        figure("CPU while all run", last.resting * 100, "%", note="of one processor"),
        figure("CPU of the daemon per event and client", cpu / last.heard * 1e6, "us"),
        figure("RSS, nobody there", alone, "MiB"),
        figure("RSS, all clients and runners there", seated, "MiB"),
        *(figure(f"RSS, after round {n}", one.rss, "MiB") for n, one in enumerate(rounds, 1)),
        figure(
            "RSS, last round of the one before",
            ratio(last.rss, rounds[-2].rss),
            "x",
            goal=at_most(1.1),
        ),
    ]
