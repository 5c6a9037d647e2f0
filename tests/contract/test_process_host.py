"""Process trees, with real processes: how they start, freeze and end, and that nothing is left."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.process.host import Host
from pandar_daemon.adapters.process.tree import environment_of
from pandar_daemon.ports import Exit, Process, ProcessHost, Spec
from tests.support import trees
from tests.support.trees import (
    LEFT,
    LEFTOVERS,
    all_stopped,
    is_frozen,
    output_of,
    result_of,
    running_in,
    spec_of,
    state_of,
)
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
CLOCK = SystemClock()


# --- how it ends -----------------------------------------------------------------------------


def test_is_a_process_host(tmp_path: Path) -> None:
    """The adapter is what the port promises, by type."""
    host: ProcessHost = Host(tmp_path)
    assert callable(host.start)


@pytest.mark.parametrize("code", [0, 1, 3, 127, 255])
async def test_exit_code(host: Host, cwd: Path, code: int) -> None:
    """The command's exit code is reported."""
    _, end = await result_of(host, spec_of(f"exit {code}", cwd))
    assert (end.exit_code, end.signal) == (code, None)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM, signal.SIGHUP])
async def test_signal(host: Host, cwd: Path, number: signal.Signals) -> None:
    """A command ended by a signal of its own has the shell's exit code for it."""
    _, end = await result_of(host, spec_of(f"kill -{number.value} $$", cwd))
    assert (end.exit_code, end.signal) == (128 + number, number)


async def test_usage(host: Host, cwd: Path) -> None:
    """CPU time and memory are those of the whole tree."""
    hungry = f"{sys.executable} -c 'x = bytearray(50_000_000); sum(range(2_000_000))'"
    _, end = await result_of(host, spec_of(f"{hungry} & wait", cwd))
    assert end.max_rss_bytes > 50_000_000
    assert end.cpu_sec > 0.01


async def test_what_it_starts_is_a_process(host: Host, cwd: Path) -> None:
    """What a host starts is what the port promises, by type."""
    process: Process = await host.start(spec_of("true", cwd))
    assert await process.wait() == await process.wait()


async def test_a_command_that_does_not_exist(host: Host, cwd: Path) -> None:
    """Starting it fails, naming it; nothing is left."""
    spec = Spec(execution_id=CLOCK.new_id(), argv=("/no/such",), cwd=str(cwd), environment={})
    with pytest.raises(FileNotFoundError, match="/no/such"):
        await host.start(spec)
    assert running_in(cwd) == []


async def test_a_folder_that_does_not_exist(host: Host, cwd: Path) -> None:
    """Starting in it fails, naming it."""
    with pytest.raises(FileNotFoundError, match="gone"):
        await host.start(spec_of("true", cwd / "gone"))


async def test_no_descriptor_is_leaked(host: Host, cwd: Path) -> None:
    """Started, failed and ended processes leave no open file behind."""
    await result_of(host, spec_of("true", cwd))
    before = _open_files()
    for _ in range(3):
        await result_of(host, spec_of("true", cwd))
        with pytest.raises(OSError, match="gone"):
            await host.start(spec_of("true", cwd / "gone"))
        with pytest.raises(OSError, match="/no/such"):
            await host.start(
                Spec(execution_id=CLOCK.new_id(), argv=("/no/such",), cwd=str(cwd), environment={})
            )
    await until(lambda: _open_files() <= before)


def _open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


# --- what it sees ----------------------------------------------------------------------------


async def test_environment_is_exactly_what_was_given(host: Host, cwd: Path) -> None:
    """Nothing is inherited, nothing added but the two tags."""
    spec = Spec(
        execution_id=CLOCK.new_id(),
        argv=("/usr/bin/env",),
        cwd=str(cwd),
        environment={"GIVEN": "a=b\nc", "EMPTY": ""},
    )
    output, _ = await result_of(host, spec)
    assert sorted(output.decode().splitlines()) == sorted(
        [
            "GIVEN=a=b",
            "c",
            "EMPTY=",
            f"PANDAR_EXECUTION_ID={spec.execution_id}",
            f"PANDAR_RUNNER_HOME={cwd.parent / 'data'}",
        ]
    )


async def test_terminal(host: Host, cwd: Path) -> None:
    """Input, output and error are a terminal of the given size, which controls the session."""
    asked = "test -t 0 && test -t 1 && test -t 2 && stty size && echo yes > /dev/tty"
    output, end = await result_of(host, spec_of(asked, cwd))
    assert (output, end.exit_code) == (b"40 120\nyes\n", 0)


async def test_session_and_group_are_its_own(host: Host, cwd: Path) -> None:
    """The command leads its session and group, so that job control works and ours is untouched."""
    output, _ = await result_of(host, spec_of("cut -d' ' -f1,5,6 /proc/$$/stat", cwd))
    pid, group, session = output.split()
    assert pid == group == session


async def test_no_descriptor_of_ours(host: Host, cwd: Path) -> None:
    """Only the three standard descriptors are open."""
    output, _ = await result_of(host, spec_of("ls /proc/$$/fd; true", cwd))
    assert output.split() == [b"0", b"1", b"2"]


async def test_signals_are_as_a_program_expects(host: Host, cwd: Path) -> None:
    """No signal is ignored or blocked, whatever we and the guardian ignore.

    Signals 32 and 33 belong to the C library, which lets no program change them; its
    ``posix_spawn`` may leave them ignored.
    """
    output, _ = await result_of(host, spec_of("grep -E 'Sig(Blk|Ign)' /proc/self/status", cwd))
    masks = [int(line.split()[1], 16) & ~(1 << 31 | 1 << 32) for line in output.splitlines()]
    assert masks == [0, 0]


# --- output ----------------------------------------------------------------------------------


async def test_output_is_intact(host: Host, cwd: Path) -> None:
    """Twenty megabytes of all byte values arrive byte for byte."""
    program = (
        "import hashlib, os\n"
        "block = bytes(range(256)) * 256\n"
        "for n in range(320):\n"
        "    data = n.to_bytes(4, 'big') + block[4:]\n"
        "    while data: data = data[os.write(1, data):]\n"
    )
    (cwd / "write.py").write_text(program)
    process = await host.start(spec_of(f"stty -opost; exec {sys.executable} write.py", cwd))
    digest = hashlib.sha256()
    async for data in process.output():
        digest.update(data)
    block = bytes(range(256)) * 256
    wanted = hashlib.sha256(b"".join(n.to_bytes(4, "big") + block[4:] for n in range(320)))
    assert digest.hexdigest() == wanted.hexdigest()
    assert (await process.wait()).exit_code == 0


async def test_a_slow_reader_makes_the_writer_wait(host: Host, cwd: Path) -> None:
    """While nobody reads, a program can write only what the kernel's terminal buffer holds."""
    writer = "i=0; while [ $i -lt 2000 ]; do printf '%01000d' 0; i=$((i+1)); echo $i > count; done"
    process = await host.start(spec_of(writer, cwd))
    reader = process.output()
    await anext(reader)
    (shell,) = running_in(cwd)
    await until(lambda: "n_tty_write" in _waits_in(shell) or state_of(shell) == "S")
    assert int((cwd / "count").read_text() or 0) < 1000
    rest = b"".join([data async for data in reader])
    assert len(rest) <= 2_000_000
    assert (await process.wait()).exit_code == 0
    assert (cwd / "count").read_text() == "2000\n"


def _waits_in(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/wchan").read_text()
    except OSError:
        return ""


async def test_a_stranger_who_holds_the_terminal_keeps_nobody_waiting(
    host: Host, cwd: Path
) -> None:
    """Output ends with the tree, to the last byte, though another process could write more."""
    for _ in range(30):
        process = await host.start(spec_of("read go; seq 20000; exit 3", cwd))
        stranger = os.open(process._ends.shown, os.O_RDWR | os.O_NOCTTY)
        try:
            os.write(process._ends._open["terminal"], b"go\n")
            output = await output_of(process)
        finally:
            os.close(stranger)
        assert output.split()[-1] == b"20000"
        assert (await process.wait()).exit_code == 3


async def test_output_goes_on_after_the_command_let_go_of_it(host: Host, cwd: Path) -> None:
    """A command that closes its output and opens the terminal again is heard."""
    talk = "echo one; exec 0<&- 1>&- 2>&-; echo two > /dev/tty"
    output, _ = await result_of(host, spec_of(talk, cwd))
    assert output == b"one\ntwo\n"


async def test_last_words_are_heard(host: Host, cwd: Path) -> None:
    """What was written just before the end is read, even long after it."""
    process = await host.start(spec_of("printf %03000d 7", cwd))
    await process.wait()
    assert await output_of(process) == b"7".rjust(3000, b"0")


# --- nothing is left -------------------------------------------------------------------------


async def test_leftovers_die_with_a_normal_end(host: Host, cwd: Path) -> None:
    """Who went into the background, left the session or was daemonised ends with the command."""
    ready = "while [ $(ls ready.* | wc -l) -lt 1 ]; do :; done"
    mark = "setsid sh -c 'touch ready.1; exec sleep 600' &"
    _, end = await result_of(host, spec_of(f"{LEFTOVERS} {mark} {ready} 2>/dev/null", cwd))
    assert end.exit_code == 0
    assert running_in(cwd) == []


async def test_leftovers_die_with_a_kill(host: Host, cwd: Path) -> None:
    """Killing reaches all of them, those who ignore SIGTERM too."""
    process = await host.start(spec_of(f"{LEFTOVERS} sleep 600", cwd))
    await until(lambda: len(running_in(cwd)) >= LEFT)
    await process.kill()
    await process.kill()
    end = await process.wait()
    assert (end.exit_code, end.signal) == (None, signal.SIGTERM)
    assert running_in(cwd) == []


async def test_kill_asks_first(host: Host, cwd: Path) -> None:
    """SIGTERM comes first, and what the program says then is heard."""
    polite = "trap 'echo bye; exit 5' TERM; echo up; while :; do sleep 600 & wait; done"
    process = await host.start(spec_of(polite, cwd))
    output = process.output()
    assert await anext(output) == b"up\n"
    await process.kill()
    assert b"".join([data async for data in output]) == b"bye\n"
    assert (await process.wait()).exit_code is None


async def test_kill_does_not_ask_for_ever(host: Host, cwd: Path) -> None:
    """Who ignores SIGTERM gets SIGKILL after the grace."""
    stubborn = "trap '' TERM HUP INT; echo up; while :; do sleep 600; done"
    process = await host.start(spec_of(stubborn, cwd))
    output = process.output()
    await anext(output)
    await process.kill()
    end = await process.wait()
    assert (end.exit_code, end.signal) == (None, signal.SIGKILL)
    await output.aclose()


async def test_kill_of_what_is_over_is_harmless(host: Host, cwd: Path) -> None:
    """A kill that comes too late changes nothing."""
    process = await host.start(spec_of("exit 3", cwd))
    await process.wait()
    await process.kill()
    await process.allow_until(CLOCK.boottime() + 1)
    assert (await process.wait()).exit_code == 3


async def test_an_order_that_crosses_the_end_is_harmless(host: Host, cwd: Path) -> None:
    """What we say while the tree ends costs nothing of what the guardian says."""
    process = await host.start(spec_of("exit 7", cwd))
    ended = asyncio.create_task(process.wait())
    while not ended.done():
        await process.allow_until(CLOCK.boottime() + 600)
        await asyncio.sleep(0)
    assert (await ended).exit_code == 7


async def test_a_cancelled_start_leaves_nothing(host: Host, cwd: Path) -> None:
    """Who stops waiting for a start does not leave a tree without an owner."""
    starting = asyncio.create_task(host.start(spec_of("sleep 600", cwd)))
    await asyncio.sleep(0)
    starting.cancel()
    await asyncio.wait([starting])
    await until(lambda: running_in(cwd) == [])


async def test_a_killed_guardian_takes_the_tree_along(host: Host, cwd: Path) -> None:
    """When the guardian is killed, the command dies at once and the rest is swept."""
    process = await host.start(spec_of(f"{LEFTOVERS.replace('env -i', '')} sleep 600", cwd))
    await until(lambda: len(running_in(cwd)) >= LEFT)
    os.kill(process.pid, signal.SIGKILL)
    assert await process.wait() == Exit(exit_code=None, signal=signal.SIGKILL)
    await until(lambda: running_in(cwd) == [])
    await output_of(process)


HEADLESS = """
import ctypes, threading, time
threading.Thread(target=lambda: (open("ready", "w"), time.sleep(600))).start()
ctypes.CDLL(None).pthread_exit(None)
"""
"""Its first thread has ended, so it looks like a zombie; another one runs."""


async def test_who_looks_dead_is_killed_too(host: Host, cwd: Path) -> None:
    """A process whose first thread ended before the others does not outlive its tree."""
    (cwd / "headless.py").write_text(HEADLESS)
    begin = f"setsid {sys.executable} headless.py & until test -e ready; do sleep 0.01; done"
    process = await host.start(spec_of(f"{begin}; echo $!", cwd))
    headless = int(await output_of(process))
    assert (await process.wait()).exit_code == 0
    assert not trees.status_of(headless)


# --- the deadline ----------------------------------------------------------------------------


async def test_past_its_deadline_a_tree_is_frozen_and_can_be_thawed(host: Host, cwd: Path) -> None:
    """Every process is stopped; a later deadline lets all of them go on."""
    process = await host.start(spec_of(f"{LEFTOVERS} sleep 600", cwd))
    await until(lambda: len(running_in(cwd)) >= LEFT)
    await process.allow_until(CLOCK.boottime())
    await until(lambda: all_stopped(cwd))
    assert len(running_in(cwd)) >= LEFT
    await process.allow_until(CLOCK.boottime() + 600)
    await until(lambda: {state_of(pid) for pid in running_in(cwd)} == {"S"})
    await process.kill()
    await process.wait()


async def test_others_with_the_tag_are_frozen_and_thawed(host: Host, cwd: Path) -> None:
    """Who carries the tag without descending from the command stops and goes on with it."""
    spec = spec_of("sleep 600", cwd)
    process = await host.start(spec)
    tag = {"PANDAR_EXECUTION_ID": str(spec.execution_id)}
    other = await asyncio.create_subprocess_exec("sleep", "600", env=tag)
    await process.allow_until(0.0)
    await until(lambda: all_stopped(cwd) and is_frozen(other.pid))
    await process.allow_until(CLOCK.boottime() + 600)
    await until(lambda: not is_frozen(other.pid) and not all_stopped(cwd))
    await process.kill()
    await process.wait()
    assert await other.wait() < 0


async def test_a_deadline_comes_by_itself(host: Host, cwd: Path) -> None:
    """The tree is frozen when the clock gets there, without any word from us."""
    spec = spec_of("sleep 600", cwd)
    at = CLOCK.boottime() + 0.3
    process = await host.start(replace(spec, until=at))
    await until(lambda: all_stopped(cwd))
    assert CLOCK.boottime() >= at
    await process.kill()
    await process.wait()


async def test_what_never_had_leave_is_not_started(host: Host, cwd: Path) -> None:
    """A runner that slept between taking a lease and using it starts nothing with it."""
    spec = spec_of("touch done", cwd)
    process = await host.start(replace(spec, until=CLOCK.boottime()))
    await process.kill()
    end = await process.wait()
    assert (end.exit_code, end.signal) == (None, None)
    assert not (cwd / "done").exists()


async def test_what_has_leave_late_is_started_late(host: Host, cwd: Path) -> None:
    """Its deadline had passed, but the lease was still good: it begins when that is known."""
    spec = spec_of("echo done", cwd)
    process = await host.start(replace(spec, until=CLOCK.boottime()))
    assert not running_in(cwd)
    await process.allow_until(CLOCK.boottime() + 600)
    assert await output_of(process) == b"done\n"
    assert (await process.wait()).exit_code == 0


async def test_a_late_command_that_does_not_exist(host: Host, cwd: Path) -> None:
    """When it cannot be started after all, it has ended without an exit code."""
    spec = replace(spec_of("", cwd), argv=("/no/such/program",), until=CLOCK.boottime())
    process = await host.start(spec)
    await process.allow_until(CLOCK.boottime() + 600)
    assert (await process.wait()).exit_code is None


async def test_a_frozen_tree_is_killed_without_a_last_word(host: Host, cwd: Path) -> None:
    """It may not run one instruction more: no SIGTERM handler, no grace."""
    polite = "trap 'touch handled; exit' TERM; while :; do sleep 600 & wait; done"
    process = await host.start(spec_of(polite, cwd))
    await process.allow_until(0.0)
    await until(lambda: all_stopped(cwd))
    await process.kill()
    end = await process.wait()
    assert (end.exit_code, end.signal) == (None, signal.SIGKILL)
    assert not (cwd / "handled").exists()


async def test_thawing_leaves_alone_who_was_stopped_before(host: Host, cwd: Path) -> None:
    """A job its own shell had stopped stays stopped."""
    process = await host.start(spec_of("sleep 600 & kill -STOP $!; sleep 601", cwd))
    await until(lambda: sorted(map(state_of, running_in(cwd))) == ["S", "S", "T"])
    await process.allow_until(0.0)
    await until(lambda: all_stopped(cwd))
    await process.allow_until(CLOCK.boottime() + 600)
    await until(lambda: sorted(map(state_of, running_in(cwd))) == ["S", "S", "T"])
    await process.kill()
    await process.wait()


# --- the runner dies, or stops ---------------------------------------------------------------


async def runner(tmp_path: Path, cwd: Path, leave_sec: float) -> asyncio.subprocess.Process:
    """Start a runner with one tree in a process of its own."""
    arguments = (trees.__name__, str(tmp_path / "data"), str(cwd), str(leave_sec))
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments, stdout=asyncio.subprocess.PIPE
    )
    assert started.stdout is not None
    assert await started.stdout.readline() == b"allowed\n"
    return started


@pytest.mark.fault
async def test_a_killed_runner_takes_its_trees_along(tmp_path: Path, cwd: Path) -> None:
    """When the runner gets SIGKILL, its guardians kill everything."""
    process = await runner(tmp_path, cwd, 600)
    process.kill()
    await process.wait()
    await until(lambda: running_in(cwd) == [])


@pytest.mark.fault
async def test_a_stopped_runner_cannot_keep_its_trees_running(tmp_path: Path, cwd: Path) -> None:
    """While the runner is stopped the deadline passes, and its trees are frozen all the same."""
    process = await runner(tmp_path, cwd, 1.0)
    process.send_signal(signal.SIGSTOP)
    await until(lambda: all_stopped(cwd))
    process.kill()
    await process.wait()
    await until(lambda: running_in(cwd) == [])


@pytest.mark.fault
async def test_a_sweep_finds_what_all_watchers_left(tmp_path: Path, cwd: Path) -> None:
    """When runner, nursery and guardian were killed, the next runner kills what survived them."""
    process = await runner(tmp_path, cwd, 600)
    await until(lambda: any(environment_of(pid) == [b""] for pid in running_in(cwd)))
    (guardian,) = {int(trees.status_of(pid)["PPid"]) for pid in running_in(cwd)} - {
        *running_in(cwd)
    }
    process.send_signal(signal.SIGSTOP)
    os.kill(int(trees.status_of(guardian)["PPid"]), signal.SIGKILL)
    os.kill(guardian, signal.SIGKILL)
    process.kill()
    await process.wait()
    untagged = 1  # who emptied its environment is beyond reach once all watchers were killed
    assert await Host(tmp_path / "data").sweep() >= LEFT - 2 - untagged
    (escaped,) = running_in(cwd)
    os.kill(escaped, signal.SIGKILL)


async def test_a_sweep_leaves_other_runners_alone(tmp_path: Path, host: Host, cwd: Path) -> None:
    """Only what carries this data directory's tag is killed."""
    process = await host.start(spec_of("exec sleep 600", cwd))
    assert await Host(tmp_path / "other").sweep() == 0
    assert len(running_in(cwd)) == 1
    await process.kill()
    await process.wait()


async def test_two_runners_cannot_share_a_data_directory(tmp_path: Path, host: Host) -> None:
    """The second one is told so, and kills nothing."""
    await host.sweep()
    with pytest.raises(OSError, match="another runner is using this data directory"):
        await Host(tmp_path / "data").sweep()


async def test_many_at_once(host: Host, cwd: Path) -> None:
    """Trees do not disturb each other."""
    specs = [spec_of(f"echo {n}; exit {n}", cwd) for n in range(8)]
    ends = await asyncio.gather(*(result_of(host, spec) for spec in specs))
    assert [(out, end.exit_code) for out, end in ends] == [(b"%d\n" % n, n) for n in range(8)]
