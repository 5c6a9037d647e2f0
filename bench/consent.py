"""What approvals cost: until a card is seen, until the agent is told, for who asks nothing."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path

import aiohttp
import msgspec

from bench import clocked, process
from bench.daemon import SLOTS, Daemon, daemon
from bench.distribution import Distribution
from bench.figures import Figure, at_most, ratio, typical
from bench.scale import Scale
from events.task import Json
from pandar_daemon.cli.sse import Reader

PART = "approvals"
AGENT = shlex.join([sys.executable, "-P", "-c", Path(clocked.__file__).read_text()])
"""In its box there is Python, but not this folder."""
BOXED = "bwrap"
"""Who may run without asking must be in a box."""
ASKED, PARKED, COMPLETED = "task.confirmation_requested", "task.parked", "task.completed"
ENDS = frozenset({COMPLETED, "task.failed", "task.cancelled"})
MIB = 2**20


async def measure(data: Path, scale: Scale) -> list[Figure]:
    """Return the figures of a daemon on data of its own."""
    async with daemon(data, PANDAR_AGENT_CLOCKED_COMMAND=AGENT, PANDAR_SANDBOX=BOXED) as pandar:
        figures = await waits(pandar, data, scale)
        figures += await turns(pandar, scale)
        return [*figures, *await parking(pandar, scale)]


# --- asking ------------------------------------------------------------------------------------


async def waits(pandar: Daemon, data: Path, scale: Scale) -> list[Figure]:
    """Return how long a card and a decision take, asked and decided one after the other.

    Both ends of each are taken from the same clock, which all processes of a machine share.
    """
    task = await _file(pandar, f"ask {scale.consents}", agent="clocked", approval_policy="manual")
    shown, sent = list[float](), list[float]()
    async with aclosing(_events(pandar, task)) as events:
        async for kind, at in events:
            if kind == ASKED:
                shown.append(at)
                sent.append(time.monotonic())
                await _decide(pandar, task)
    stamps = data / "workspaces" / f"task-{task}" / clocked.STAMPS
    times = [msgspec.json.decode(line) for line in stamps.read_text().splitlines()]
    return [
        _milliseconds("asked → card on SSE", [each["asked"] for each in times], shown, 20),
        _milliseconds("decided over HTTP → agent told", sent, [each["told"] for each in times], 20),
    ]


def _milliseconds(what: str, begun: list[float], ended: list[float], goal: float) -> Figure:
    taken = Distribution()
    for begin, end in zip(begun, ended, strict=True):
        taken.add(end - begin)
    p50, note = taken.p50 * 1e3, f"p99: {taken.p99 * 1e3:.1f} ms, of {taken.count}"
    return Figure(
        part=PART, what=f"{what} p50", value=p50, unit="ms", goal=at_most(goal), note=note
    )


# --- asking nothing ----------------------------------------------------------------------------


async def turns(pandar: Daemon, scale: Scale) -> list[Figure]:
    """Return how much longer a turn takes whose calls would be judged, though it makes none."""
    free, judged = list[float](), list[float]()
    for _ in range(scale.turns):
        free.append(await _turn(pandar, scale, "auto"))
        judged.append(await _turn(pandar, scale, "auto_with_gates"))
    free_sec, judged_sec = typical(free), typical(judged)
    return [
        Figure(
            part=PART,
            what="a turn that asks nothing, with gates, of one without",
            value=ratio(judged_sec, free_sec),
            unit="x",
            goal=at_most(1.05),
            note=f"{scale.turn_words:,} words in {free_sec * 1e3:.0f} ms",
        )
    ]


async def _turn(pandar: Daemon, scale: Scale, policy: str) -> float:
    """Return how long a task takes from its start to its end."""
    prompt = f"chat {scale.turn_words}"
    task = await _file(pandar, prompt, agent="clocked", approval_policy=policy)
    began = ended = 0.0
    async with aclosing(_events(pandar, task)) as events:
        async for kind, at in events:
            began = at if kind == "task.started" else began
            ended = at
    return ended - began


# --- waiting for days --------------------------------------------------------------------------


async def parking(pandar: Daemon, scale: Scale) -> list[Figure]:
    """Return what a task costs that waits without a process."""
    await _park(pandar, SLOTS)
    before = process.usage(pandar.pid).own.rss
    await _park(pandar, scale.parked)
    after = process.usage(pandar.pid)
    each = max(0, after.own.rss - before) / scale.parked / MIB
    note = f"{scale.parked} of them; processes left: {after.others.rss / MIB:.0f} MiB in all"
    what, goal = "RSS of the daemon per parked task", at_most(1)
    return [Figure(part=PART, what=what, value=each, unit="MiB", goal=goal, note=note)]


async def _park(pandar: Daemon, tasks: int) -> None:
    """Return when so many more tasks are parked."""
    left = {
        f"task-{await _file(pandar, '[[ask:git push]]', agent='demo', park_after_sec=1)}"
        for _ in range(tasks)
    }
    lines = _stream(pandar, "/api/v1/events", {"type": PARKED}, after="0")
    async with aclosing(lines) as messages:
        async for _, data in messages:
            left.discard(data["stream"])
            if not left:
                return
    raise RuntimeError(f"{len(left)} tasks were not parked")


# --- the API -----------------------------------------------------------------------------------


async def _file(pandar: Daemon, prompt: str, **metadata: object) -> int:
    body = {"name": "consent", "prompt": prompt, "project_id": 1, "metadata": metadata}
    async with pandar.http.post("/api/v1/tasks", json=body) as reply:
        answer = msgspec.json.decode(await reply.read())
        if reply.status != 201:
            raise RuntimeError(str(answer))
        return int(answer["id"])


async def _decide(pandar: Daemon, task: int) -> None:
    async with pandar.http.post(f"/api/v1/tasks/{task}/confirm", json={}) as reply:
        if reply.status != 200:
            raise RuntimeError(await reply.text())


async def _events(pandar: Daemon, task: int) -> AsyncGenerator[tuple[str, float], None]:
    """Yield the events of a task, and when they came; one that does not complete is an error."""
    path = f"/api/v1/tasks/{task}/stream"
    async with aclosing(_stream(pandar, path, {"output": "false"})) as messages:
        async for kind, data in messages:
            yield kind, time.monotonic()
            if kind in ENDS:
                if kind != COMPLETED:
                    raise RuntimeError(str(data))
                return


async def _stream(
    pandar: Daemon, path: str, params: dict[str, str], *, after: str = ""
) -> AsyncGenerator[tuple[str, Json], None]:
    reader, headers = Reader(), {"Last-Event-ID": after} if after else {}
    endless = aiohttp.ClientTimeout(total=None, sock_read=60)
    async with pandar.http.get(path, params=params, headers=headers, timeout=endless) as reply:
        reply.raise_for_status()
        async for line in reply.content:
            message = reader.line(line.decode())
            if message is not None:
                yield message.event, msgspec.json.decode(message.data)
