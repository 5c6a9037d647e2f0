"""What is tried on whole boxes: those that use too much, and those that will not end.

``python -m tests.isolation.trials LEVEL NAME…`` prints a line of JSON for each, as `arena` does.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import secrets
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from events.confinement import Level, Limits
from pandar_daemon.adapters.process.tree import tree
from tests.isolation.arena import Arena, arena

TRIALS: dict[str, Callable[[Arena], Awaitable[object]]] = {}
ROUNDS = 30
_BOMB = """
import os, time
count = 0
while True:
    try:
        if os.fork() == 0:
            time.sleep(60)
        count += 1
    except OSError:
        break
print(count)
"""

Trial = Callable[[Arena], Awaitable[object]]


def trial(act: Trial) -> Trial:
    """Register one: it returns what is wrong, or nothing."""
    TRIALS[act.__name__] = act
    return act


def _left(made: Arena, execution_id: object) -> list[int]:
    """Return what is left of a box, by its tag and by its folder."""
    tagged = {each.pid for each in tree(f"PANDAR_EXECUTION_ID={execution_id}")}
    return [pid for pid in tagged if _is_alive(pid)]


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except OSError:
        return False


@trial
async def a_fork_bomb(made: Arena) -> object:
    """It gets no further than its limit, and all of it ends."""
    code, shown = await made.enter(
        "/bin/sh", "-c", f"exec python3 -c '{_BOMB}' & wait", limits=Limits(processes=64)
    )
    count = int(shown.strip().splitlines()[-1]) if shown.strip().splitlines() else -1
    return None if 0 < count <= 64 and code == 0 else (code, shown[-300:])


@trial
async def too_much_memory(made: Arena) -> object:
    """Who takes more than its limit gets no more, or is killed; the runner is not."""
    program = "x = []\nwhile True: x.append(bytearray(2**24))"
    code, shown = await made.enter(
        "/bin/sh", "-c", f"python3 -c '{program}'", limits=Limits(memory_mb=128)
    )
    return (code, shown[-300:]) if code == 0 else None


@trial
async def too_big_a_file(made: Arena) -> object:
    """No file grows beyond what the disk limit is."""
    code, _ = await made.enter(
        "/bin/sh", "-c", "trap '' XFSZ; head -c 40m /dev/zero > big", limits=Limits(disk_mb=16)
    )
    size = (made.workspace / "big").stat().st_size
    return (code, size) if code == 0 or size > 16 * 2**20 else None


@trial
async def full_temporary_folders(made: Arena) -> object:
    """What is in memory is limited, too."""
    code, shown = await made.enter(
        "/bin/sh", "-c", "head -c 2g /dev/zero > /dev/shm/x", limits=Limits(memory_mb=256)
    )
    return (code, shown[-300:]) if code == 0 else None


@trial
async def many_open_files(made: Arena) -> object:
    """No process opens more than its limit."""
    program = "import os\nn=0\nwhile n<500:\n os.dup(0);n+=1"
    code, shown = await made.enter(
        "/bin/sh", "-c", f"python3 -c '{program}'", limits=Limits(files=64)
    )
    return None if code and "Too many open files" in shown else (code, shown[-300:])


@trial
async def who_ignores_sigterm(made: Arena) -> object:
    """It is killed, and what it started in sessions of their own."""
    command = (
        "trap '' TERM HUP INT; (setsid sh -c \"trap '' TERM; while :; do sleep 1; done\" &);"
        " echo up; while :; do sleep 1; done"
    )
    process = await made.host().start(spec := made.spec("/bin/sh", "-c", command))
    async for _ in process.output():
        break
    await process.kill()
    await process.wait()
    return _left(made, spec.execution_id)


@trial
async def who_ends_and_leaves_somebody(made: Arena) -> object:
    """What a command left behind ends with it, wherever it went."""
    spec = made.spec("/bin/sh", "-c", "(setsid nohup sleep 600 >/dev/null 2>&1 &) ; echo over")
    process = await made.host().start(spec)
    async for _ in process.output():
        pass
    end = await process.wait()
    return _left(made, spec.execution_id) or (end.exit_code or None)


@trial
async def a_killed_guardian(made: Arena) -> object:
    """At any moment: nothing of the box lives on."""
    left = []
    dice = random.Random(7)
    for _ in range(ROUNDS):
        spec = made.spec("/bin/sh", "-c", "setsid sleep 600 & echo up; sleep 600")
        starting = asyncio.create_task(made.host().start(spec))
        await asyncio.sleep(dice.random() * 0.06)  # the moment of the kill is what is random
        guardian = [each.pid for each in tree(f"PANDAR_EXECUTION_ID={spec.execution_id}")]
        parents = {_parent(pid) for pid in guardian} - set(guardian) - {0, 1, os.getpid()}
        for pid in parents:
            os.kill(pid, signal.SIGKILL)
        try:
            process = await starting
        except OSError:
            pass
        else:
            await process.kill()
            await process.wait()
        left += _left(made, spec.execution_id)
    return left


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


@trial
async def a_link_instead_of_a_protected_file(made: Arena) -> object:
    """A path that leads elsewhere is not mounted, and nothing is started."""
    hooks = made.repository / ".git" / "hooks"
    shutil.rmtree(hooks)
    hooks.symlink_to(made.owner)
    spec = made.spec("/bin/true")
    try:
        await made.host().start(spec)
    except OSError as error:
        return None if "leads elsewhere" in str(error) else str(error)
    return "it was started"


@trial
async def a_program_that_is_not_there(made: Arena) -> object:
    """The error names it, as it does without a box."""
    try:
        await made.host().start(made.spec("no-such-program"))
    except FileNotFoundError as error:
        return None if error.filename == "no-such-program" else repr(error)
    return "it was started"


@trial
async def how_it_ended(made: Arena) -> object:
    """Exit codes and signals are those of the command."""
    codes = [(await made.enter("/bin/sh", "-c", f"exit {n}"))[0] for n in (0, 3, 255)]
    process = await made.host().start(made.spec("/bin/sh", "-c", "kill -SEGV $$"))
    async for _ in process.output():
        pass
    end = await process.wait()
    found = (codes, end.signal)
    return None if found == ([0, 3, 255], signal.SIGSEGV) else found


async def main(level: str, *names: str) -> None:
    """Try each of these in an arena of its own."""
    base = Path(os.environ["ARENA"])
    for name in names:
        folder = base / secrets.token_hex(4)
        folder.mkdir()
        async with arena(folder, Level(level)) as made:
            wrong = await TRIALS[name](made)
        print(json.dumps({"name": name, "wrong": repr(wrong) if wrong else ""}), flush=True)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
