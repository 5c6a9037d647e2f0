"""A whole `pandar up`, killed, stopped, or robbed of a server while tasks run in their boxes."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

from tests.support.load import all_over, asking, file_task, marks_of
from tests.support.processes import ended
from tests.support.trees import LEFT, LEFTOVERS, running_in
from tests.support.up import Up, eventually, is_ready, row_of_ended, up
from tests.support.waiting import until

pytestmark = [pytest.mark.servers, pytest.mark.fault, pytest.mark.timeout(180)]

MARKS = "marks"
RETRY = {"max_retries": 2, "on_lost": "retry"}
FIRST_TIME = '[ "$PANDAR_ATTEMPT" -gt 1 ] || { %s sleep 600; }'
COUNTING = """
n=0
while [ ! -e go ]; do
    n=$((n + 1))
    echo "line $n" && echo $n >> marks
    sleep 0.02
done
echo the end
"""


def folder_of(running: Up, stream: str) -> Path:
    """Return where a task works."""
    return running.data.resolve() / "workspaces" / stream


def all_marks(running: Up, streams: list[str]) -> Counter[str]:
    """Return how often each attempt of these tasks ran."""
    return sum((marks_of(folder_of(running, each) / MARKS) for each in streams), Counter())


async def file_all(running: Up) -> list[str]:
    """File tasks that hang at their first attempt, one with children that hide."""
    hidden, plain = FIRST_TIME % LEFTOVERS.strip(), FIRST_TIME % ""
    async with asking(running.nats_url, running.token) as asker:
        tasks = [
            await file_task(asker, n, MARKS, RETRY, command)
            for n, command in enumerate((hidden, plain, plain))
        ]
    return [task.stream for task in tasks]


async def all_run(running: Up, streams: list[str]) -> None:
    """Return once every task runs, the first one with all its children."""
    await until(lambda: len(all_marks(running, streams)) == len(streams))
    await until(lambda: len(running_in(folder_of(running, streams[0]))) >= LEFT)


async def test_killed_as_a_whole() -> None:
    """Every process ends by itself; the next start finishes every task, no attempt run twice."""
    async with up(PANDAR_LEASE_TTL_SEC="2") as running:
        streams = await file_all(running)
        await all_run(running, streams)
        pids = running.processes()
        assert {running.server("postgres"), running.server("nats-server")} <= pids
        await running.program.kill()
        async with asyncio.timeout(30):
            for pid in pids:
                await ended(pid)
        assert running.left() == []

        await running.start()
        await all_over(running.database_url, streams)
        attempts = [f"{n}/{attempt}" for n in range(len(streams)) for attempt in (1, 2)]
        assert all_marks(running, streams) == dict.fromkeys(attempts, 1)
        async with running.owner() as owner:
            for stream in streams:
                row = await row_of_ended(owner, int(stream.partition("-")[2]))
                assert (row["status"], row["attempt"]) == ("completed", 2)
        code, printed = await running.run("verify", "--json")
        assert code == 0, printed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stopped_while_a_task_runs(number: signal.Signals) -> None:
    """It ends with 0, and no process of it or of the task is left."""
    async with up() as running:
        streams = await file_all(running)
        await all_run(running, streams)
        pids = running.processes()
        assert await running.stop(number) == 0, running.program.printed
        assert running.left() == []
        assert [pid for pid in pids if _lives(pid)] == []
        assert not (running.data / "running.json").exists()


@pytest.mark.parametrize("victim", ["postgres", "nats-server"])
async def test_a_killed_server_is_replaced(victim: str) -> None:
    """A task that runs meanwhile ends as the attempt it began as, with all its output."""
    async with up() as running, running.owner() as owner:
        task = await owner.task(1, command=COUNTING, auto_start=True)
        folder = folder_of(running, f"task-{task}")
        go, marks = folder / "go", folder / MARKS
        await until(lambda: len(marks_of(marks)) >= 10)
        killed = running.server(victim)
        assert killed is not None
        os.kill(killed, signal.SIGKILL)
        await until(lambda: running.server(victim) not in {None, killed})
        await eventually(lambda: is_ready(owner))
        before = len(marks_of(marks))
        await until(lambda: len(marks_of(marks)) >= before + 10)
        go.touch()
        row = await row_of_ended(owner, task)
        assert (row["status"], row["attempt"]) == ("completed", 1)
        _, text = await owner.call("GET", f"/tasks/{task}/output?follow=true")
        assert text.splitlines() == [
            *(f"line {n}" for n in range(1, len(marks_of(marks)) + 1)),
            "the end",
        ]
        code, printed = await running.run("verify", "--json")
        assert code == 0, printed


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()
