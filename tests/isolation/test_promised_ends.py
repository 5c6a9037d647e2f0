"""A task in its box harms nobody by what it uses, and leaves nothing when it ends."""

from __future__ import annotations

import secrets
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.isolation.grounds import Grounds, filed
from tests.support.api import Person
from tests.support.waiting import until

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("promises")]

TOO_MUCH = {"bomb": {"processes": 32}, "hog": {"memory_mb": 96}, "fill": {"disk_mb": 48}}
LEFTOVERS = """
sleep {mark} &
(setsid nohup sleep {mark} >/dev/null 2>&1 &) &
(trap '' TERM HUP INT; exec setsid sleep {mark}) &
(env -i setsid sh -c 'sleep {mark} & sleep {mark}' &) &
"""


def left(mark: int) -> list[int]:
    """Return the processes of this machine that sleep for so long."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if words[:2] == [b"sleep", str(mark).encode()]:
            found.append(int(folder.name))
    return found


def new_mark() -> int:
    """Return for how long nobody else sleeps."""
    return 10**8 + secrets.randbelow(10**8)


async def test_who_takes_too_much_fails_alone(grounds: Grounds, owner: Person) -> None:
    """Too many processes, too much memory, too much disk: a task beside goes on, and ends well."""
    async with AsyncExitStack() as stack:
        beside = await stack.enter_async_context(filed(grounds, owner, "python3 hostile.py wait"))
        await until((beside.workspace / "ready").exists)
        greedy = [
            await stack.enter_async_context(
                filed(grounds, owner, f"python3 hostile.py {act}", sandbox={"limits": limits})
            )
            for act, limits in TOO_MUCH.items()
        ]
        for task in greedy:
            assert (await task.end("task.failed"))["error"]
        (beside.workspace / "go").touch()
        await beside.end()
        assert sum(f.stat().st_size for f in greedy[2].workspace.glob("big-*")) < 2**28
        assert [each for task in greedy for each in task.processes] == []


@pytest.mark.parametrize("end", ["by itself", "cancelled"])
async def test_nothing_is_left(grounds: Grounds, owner: Person, end: str) -> None:
    """Whatever it started, in whatever session, and however it ends."""
    mark = new_mark()
    command = LEFTOVERS.format(mark=mark) + "trap '' TERM HUP INT; python3 hostile.py wait"
    async with filed(grounds, owner, command) as task:
        await until((task.workspace / "ready").exists)
        await until(lambda: len(left(mark)) >= 5)
        if end == "cancelled":
            await task.cancel()
            await task.end("task.cancelled")
        else:
            (task.workspace / "go").touch()
            await task.end()
        assert left(mark) == []
        assert task.processes == []


async def test_nothing_is_left_of_an_agent(grounds: Grounds, owner: Person) -> None:
    """That left a daemon, heeds no cancellation and no signal."""
    mark = new_mark()
    script = (
        f"[[write:left.sh={LEFTOVERS.format(mark=mark)}]] [[run:sh left.sh]] [[fork]]"
        "[[ignore-cancel]] [[run:python3 hostile.py wait]]"
    )
    async with filed(grounds, owner, script, agent="demo", approval_policy="auto") as task:
        await until((task.workspace / "ready").exists)
        assert left(mark)
        await task.cancel()
        await task.end("task.cancelled")
        assert left(mark) == []
        assert task.processes == []
