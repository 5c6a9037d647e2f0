"""Programs we talk with through pipes: what they say and hear, and that their terminal is left."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from pandar_daemon.adapters.process.host import Host
from pandar_daemon.ports import Process, Spec
from tests.support.trees import output_of, spec_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def _piped(command: str, cwd: Path) -> Spec:
    return replace(spec_of(command, cwd), piped=True)


async def _said(process: Process) -> bytes:
    said = b""
    while data := await process.talk.read():
        said += data
    return said


async def test_what_is_written_comes_back(host: Host, cwd: Path) -> None:
    """Input goes in, output comes out, and errors are on the terminal."""
    process = await host.start(_piped("cat; echo trouble >&2", cwd))
    await process.talk.write(b"hello\n")
    process.talk.close_input()
    said, shown = await asyncio.gather(_said(process), output_of(process))
    assert (said, shown) == (b"hello\n", b"trouble\n")
    assert (await process.wait()).exit_code == 0


async def test_more_than_a_pipe_holds(host: Host, cwd: Path) -> None:
    """Both ways at once, far beyond what the kernel keeps, nothing is lost."""
    data = os.urandom(3_000_000)
    process = await host.start(_piped("cat", cwd))

    async def feed() -> None:
        await process.talk.write(data)
        process.talk.close_input()

    said, _ = await asyncio.gather(_said(process), feed())
    assert said == data
    await process.wait()


async def test_who_reads_nothing_does_not_hold_us(host: Host, cwd: Path) -> None:
    """Writing to a program that ended comes to an end too."""
    process = await host.start(_piped("exec <&-; echo gone", cwd))
    assert await _said(process) == b"gone\n"
    await process.talk.write(b"x" * 1_000_000)
    await process.wait()


async def test_writing_ends_with_the_tree(host: Host, cwd: Path) -> None:
    """A program that never reads is killed, and who waited to write to it waits no more."""
    process = await host.start(_piped("exec sleep 1000", cwd))
    writing = asyncio.create_task(process.talk.write(b"x" * 1_000_000))
    await asyncio.sleep(0)
    await process.kill()
    await process.wait()
    await writing
    assert await _said(process) == b""


async def test_a_child_that_keeps_the_pipe_is_killed(host: Host, cwd: Path) -> None:
    """Reading ends with the command, whoever of its tree still holds its output."""
    process = await host.start(_piped("sleep 1000 & echo done", cwd))
    assert await _said(process) == b"done\n"
    assert (await process.wait()).exit_code == 0


async def test_the_next_one_has_a_terminal_again(host: Host, cwd: Path) -> None:
    """Pipes are of one execution: the guardian that takes the next one has none left of it."""
    first = await host.start(_piped("true", cwd))
    await asyncio.gather(_said(first), output_of(first))
    await first.wait()
    second = await host.start(spec_of("test -t 0 && test -t 1 && ls /proc/$PPID/fd | wc -l", cwd))
    shown = await output_of(second)
    assert (await second.wait()).exit_code == 0
    assert int(shown) < 20


async def test_typing_on_a_terminal(host: Host, cwd: Path) -> None:
    """What is typed is what a program reads from its terminal."""
    process = await host.start(spec_of('stty -echo; printf "name? "; read n; echo "hi $n"', cwd))
    shown = b""
    async for data in process.output():
        shown += data
        if shown == b"name? ":
            await process.talk.write(b"ann\r")
    assert shown == b"name? hi ann\n"
    assert (await process.wait()).exit_code == 0


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_a_pipe_to_what_cannot_be_started(host: Host, cwd: Path) -> None:
    """A failure to start names the program, and no descriptor of ours is left."""
    before = _descriptors()
    with pytest.raises(FileNotFoundError):
        await host.start(replace(_piped("true", cwd), argv=("/no/such",)))
    assert _descriptors() <= before + 2
