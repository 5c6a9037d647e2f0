"""What a nursery forks is kept apart: no mix-up, no foreign descriptor, no foreign usage."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from pandar_daemon.adapters.process.host import Host
from pandar_daemon.ports import Spec
from tests.support.trees import hanging, result_of, running_in, spec_of
from tests.support.waiting import until

OPEN = "/proc/self/fd"
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


# --- many at once ----------------------------------------------------------------------------


async def test_starts_are_never_mixed_up(host: Host, cwd: Path) -> None:
    """Of 200 starts, 16 at a time, each has its own command, environment, folder and end."""
    numbers = iter(range(200))
    (cwd / "odd").mkdir()

    async def starter() -> None:
        for number in numbers:
            place = cwd / "odd" if number % 2 else cwd
            command = 'echo "$NUMBER $PANDAR_EXECUTION_ID $(pwd)"; exit $CODE'
            spec = spec_of(command, place, NUMBER=str(number), CODE=str(number % 256))
            output, end = await result_of(host, spec)
            assert output.decode().split() == [str(number), str(spec.execution_id), str(place)]
            assert end.exit_code == number % 256

    await asyncio.gather(*(starter() for _ in range(16)))


async def test_what_is_asked_may_be_long(host: Host, cwd: Path) -> None:
    """As long as the kernel lets arguments and environment be, far beyond a socket's buffer."""
    spec = spec_of("", cwd, **{f"V{n}": "x" * 100_000 for n in range(10)})
    output, end = await result_of(host, replace(spec, argv=("/bin/sh", "-c", "echo ${#V9}")))
    assert (output, end.exit_code) == (b"100000\n", 0)


async def test_what_cannot_be_asked_is_refused(host: Host, cwd: Path) -> None:
    """No program can have a NUL byte in what it is given."""
    with pytest.raises(ValueError, match="null byte"):
        await host.start(spec_of("a\0b", cwd))
    with pytest.raises(ValueError, match="environment variable name"):
        await host.start(spec_of("true", cwd, **{"A=B": "c"}))


async def test_usage_is_its_own(host: Host, cwd: Path) -> None:
    """A small execution is not charged for the large one before it."""
    hungry = f"{sys.executable} -c 'x = bytearray(80_000_000)'"
    _, large = await result_of(host, spec_of(hungry, cwd))
    _, small = await result_of(host, spec_of("true", cwd))
    assert large.max_rss_bytes > 80_000_000 > 2 * small.max_rss_bytes
    assert large.cpu_sec > small.cpu_sec


# --- descriptors -----------------------------------------------------------------------------


async def test_a_command_gets_no_descriptor_of_anybody(host: Host, cwd: Path) -> None:
    """Not of the runner, the nursery, its guardian, or executions that run beside it."""
    other = await hanging(host, cwd)
    look = "import os; print(*[n for n in range(999) if os.path.exists(f'/proc/self/fd/{n}')])"
    spec = replace(spec_of("", cwd), argv=(sys.executable, "-c", look))
    outputs = await asyncio.gather(*(result_of(host, spec_again(spec)) for _ in range(8)))
    assert {output for output, _ in outputs} == {b"0 1 2\n"}
    mine = set(os.listdir(f"/proc/{other.pid}/fd"))
    assert len(mine) == 3 + 7, "standard ones, link, terminal, two pipes, a socket, an alarm"


def spec_again(spec: Spec) -> Spec:
    """Return the same for another execution."""
    return replace(spec, execution_id=spec_of("", Path()).execution_id)


async def test_a_host_keeps_no_descriptor(host: Host, cwd: Path) -> None:
    """A hundred executions later it has as many open as after the first."""
    await result_of(host, spec_of("true", cwd))
    before = len(os.listdir(OPEN))
    for _ in range(10):
        await asyncio.gather(*(result_of(host, spec_of("true", cwd)) for _ in range(10)))
    await until(lambda: len(os.listdir(OPEN)) <= before)


@pytest.fixture
def few_descriptors() -> Iterator[int]:
    """Let this process open twenty more files, and return its limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = next(limit for limit in range(soft) if _free(limit) == 20)
    resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))
    yield low
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_many_run_in_spite_of_a_low_limit(
    host: Host, cwd: Path, few_descriptors: int
) -> None:
    """The soft limit of descriptors is raised for us, not for the commands."""
    running = [await host.start(spec_of("exec sleep 600", cwd)) for _ in range(40)]
    output, _ = await result_of(host, spec_of("ulimit -n", cwd))
    assert int(output) == few_descriptors
    assert len(running_in(cwd)) == len(running)


async def test_no_descriptor_left_is_a_clear_error(
    host: Host, cwd: Path, few_descriptors: int
) -> None:
    """It says what is short; nothing is left open, and who runs is not disturbed."""
    running = await hanging(host, cwd)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (few_descriptors, hard))
    before = len(os.listdir(OPEN))
    full = [os.open("/dev/null", os.O_RDONLY) for _ in range(_free(few_descriptors) - 1)]
    try:
        with pytest.raises(OSError, match=r"Too many open files.*ulimit -Hn.*/bin/sh"):
            await host.start(spec_of("true", cwd))
    finally:
        for descriptor in full:
            os.close(descriptor)
    assert len(os.listdir(OPEN)) == before
    (cwd / "go").touch()
    assert (await running.wait()).exit_code == 7


def _free(limit: int) -> int:
    """Return how many descriptors can still be opened."""
    return len({*range(limit)} - set(map(int, os.listdir(OPEN))))
