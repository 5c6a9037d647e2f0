"""The runner against a real bus and real processes; the daemon's side follows a script."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest

from events import subjects
from events.running import Claim, LeaseState, Outcome, Renew
from events.task import FailureKind
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.disk.folders import DataFolders
from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.adapters.nats.outputs import NatsOutputs
from pandar_daemon.adapters.nats.service import ServiceDoor
from pandar_daemon.adapters.nats.wire import NatsWire
from pandar_daemon.domain.egress import proxy_variables
from pandar_daemon.domain.refusals import Rejected, Unavailable
from pandar_daemon.ports import OutputKey
from pandar_daemon.ports.sandbox import PROXY_URL
from tests.support.bus import connected, nats_process, serving
from tests.support.daemon_script import DaemonScript
from tests.support.runners import bus, runner_on, running
from tests.support.trees import LEFT, LEFTOVERS, is_frozen, running_in
from tests.support.waiting import until

pytestmark = pytest.mark.servers
__all__ = ["bus"]  # a fixture
CLOCK = SystemClock()


@pytest.fixture
def daemon() -> DaemonScript:
    """Return a daemon that holds every lease until told otherwise."""
    return DaemonScript()


async def stored(bus: NatsConnection, task_id: int = 1, attempt: int = 1) -> bytes:
    """Return the output on the bus."""
    key = OutputKey(project_id=1, task_id=task_id, attempt=attempt)
    return b"".join([chunk.data async for chunk in NatsOutputs(bus).read(key)])


def workspace(data: Path, task_id: int = 1) -> Path:
    """Return where a task runs."""
    return data / "workspaces" / f"task-{task_id}"


async def test_a_command_runs_and_is_reported(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """Its output is on the bus before its report, which says how it went."""
    execution = daemon.offer("echo hello; echo world >&2")
    daemon.silent["finish"] = asyncio.Event()
    async with running(runner_on(bus, tmp_path)):
        await until(lambda: daemon.requests("finish"))
        assert await stored(bus) == b"hello\nworld\n"
        daemon.silent["finish"].set()
        await until(lambda: execution in daemon.finished)
    report = daemon.finished[execution]
    assert (report.task_id, report.epoch, report.outcome) == (1, 1, Outcome.COMPLETED)
    assert (report.exit_code, report.output_tail) == (0, "hello\nworld\n")
    assert (report.output_bytes, report.cut) == (12, None)
    assert report.usage.max_rss_bytes > 0
    assert list((tmp_path / "spool").glob("*")) == []


async def test_its_requests_say_who_asks(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """Every request carries the token and a command id; those of a task its trace."""
    daemon.offer("true")
    async with running(runner_on(bus, tmp_path)) as runner:
        await until(lambda: daemon.finished)
        assert {heard.runner for heard in daemon.heard} == {runner.runner_id}
    assert {heard.headers["pandar-token"] for heard in daemon.heard} == {"the-token"}
    (finish,) = daemon.requests("finish")
    assert finish.headers["traceparent"].startswith("00-0af7651916cd43dd8448eb211c80319c-")


async def test_a_failure_is_reported(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """The exit code and the last output are in the report."""
    execution = daemon.offer("echo oops; exit 7")
    async with running(runner_on(bus, tmp_path)):
        await until(lambda: execution in daemon.finished)
    report = daemon.finished[execution]
    assert (report.outcome, report.kind) == (Outcome.FAILED, FailureKind.EXIT_CODE)
    assert (report.exit_code, report.output_tail) == (7, "oops\n")


async def test_what_a_repository_says_of_itself_is_told_and_a_lost_workspace_too(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """Both stand first in the output; what narrows is reported before the command begins."""
    workspace(tmp_path, 1).mkdir(parents=True)
    (workspace(tmp_path, 1) / ".pandar.toml").write_text('policy = "manual"')
    workspace(tmp_path, 2).mkdir()
    DataFolders(tmp_path).discard([2])
    first = daemon.offer("echo one", task=1)
    second = daemon.offer("echo two", task=2, attempt=2)
    async with running(runner_on(bus, tmp_path)):
        await until(lambda: {first, second} <= daemon.finished.keys())
        told = ".pandar.toml: policy auto_with_gates → manual\none\n"
        assert (await stored(bus, 1)).decode() == told
        assert b"this begins afresh.\ntwo\n" in await stored(bus, 2, attempt=2)
        assert not (tmp_path / "removed" / "2").exists(), "it is said once"
    actions = [heard.action for heard in daemon.heard]
    assert actions.index("narrowed") < actions.index("finish")
    assert daemon.finished[first].output_bytes == len(told.encode())


async def test_where_it_runs(bus: NatsConnection, daemon: DaemonScript, tmp_path: Path) -> None:
    """In an empty folder of the task's own, kept for its next attempt, with a home beside it."""
    daemon.offer("pwd; ls -A; touch kept; echo $HOME $TMPDIR; test -d $TMPDIR", task=9)
    async with running(runner_on(bus, tmp_path)):
        await until(lambda: len(daemon.finished) == 1)
        daemon.offer("ls -A; echo $PANDAR_TASK_ID $PANDAR_ATTEMPT", task=9, attempt=2)
        await until(lambda: len(daemon.finished) == 2)
    first, second = (report.output_tail for report in daemon.finished.values())
    home = tmp_path / "homes" / "task-9"
    assert first == f"{workspace(tmp_path, 9)}\n{home} {home / 'tmp'}\n"
    assert second == "kept\n9 2\n"


async def test_nothing_of_ours_is_inherited(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment is built from nothing, and says where the way out of its box is."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "made-up")
    execution = daemon.offer("exec env")
    async with running(runner_on(bus, tmp_path)):
        await until(lambda: execution in daemon.finished)
    lines = daemon.finished[execution].output_tail.splitlines()
    assert {line.partition("=")[0] for line in lines} - {"PWD", "SHLVL", "_"} == {
        *("PATH", "HOME", "TMPDIR", "USER", "LANG", "TERM"),
        *("PANDAR_EXECUTION_ID", "PANDAR_TASK_ID", "PANDAR_ATTEMPT", "PANDAR_RUNNER_HOME"),
        "PANDAR_PORT_BASE",
        *proxy_variables(PROXY_URL),
    }


async def test_a_workspace_that_cannot_be_made(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """A task that cannot be started fails as such, and leaves no spool."""
    (tmp_path / "workspaces").write_text("a file is in the way")
    execution = daemon.offer("true")
    async with running(runner_on(bus, tmp_path)):
        await until(lambda: execution in daemon.finished)
    report = daemon.finished[execution]
    assert (report.outcome, report.kind) == (Outcome.FAILED, FailureKind.START)
    assert list((tmp_path / "spool").glob("*")) == []


async def test_timeout(bus: NatsConnection, daemon: DaemonScript, tmp_path: Path) -> None:
    """A command that runs too long is killed with all its children, and says so."""
    execution = daemon.offer(f"{LEFTOVERS} sleep 600", timeout_sec=1)
    async with running(runner_on(bus, tmp_path)):
        await until(lambda: execution in daemon.finished)
    report = daemon.finished[execution]
    assert (report.outcome, report.kind) == (Outcome.FAILED, FailureKind.TIMEOUT)
    assert running_in(workspace(tmp_path)) == []


async def test_output_beyond_its_limit_is_cut(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """Head and tail are published, and the report names what is missing."""
    execution = daemon.offer("head -c 200000 /dev/zero | tr '\\0' x", max_output_bytes=65_536)
    async with running(runner_on(bus, tmp_path)):
        await until(lambda: execution in daemon.finished)
    report = daemon.finished[execution]
    assert report.cut is not None
    assert (report.cut.start, report.cut.end) == (32_768, 200_000 - 32_768)
    assert await stored(bus) == b"x" * 65_536


async def test_progress(bus: NatsConnection, daemon: DaemonScript, tmp_path: Path) -> None:
    """What the program tells its terminal is reported, each value once."""
    tell = "printf '\\033]9;4;1;{0}\\007'; until test -e go{0}; do sleep 0.05; done;"
    daemon.offer("".join(tell.format(n) for n in (10, 10, 60)))
    async with running(runner_on(bus, tmp_path)):
        await until(lambda: daemon.progress() == [10])
        (workspace(tmp_path) / "go10").touch()
        await until(lambda: daemon.progress() == [10, 60])
        (workspace(tmp_path) / "go60").touch()
        await until(lambda: daemon.finished)
    assert daemon.progress() == [10, 60]


async def test_who_only_waits_for_an_answer_takes_no_slot(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """The next is claimed while a report is answered; and no more, as long as none is."""
    reported = daemon.silent["finish"] = asyncio.Event()
    offered = [daemon.offer("true") for _ in range(5)]
    async with running(runner_on(bus, tmp_path, slots=2)) as runner:
        await until(lambda: len(daemon.requests("finish")) == 4)
        claimed = len(daemon.requests("claim"))
        assert (runner.running, len(runner.executions)) == (0, 4)
        await until(lambda: daemon.requests("renew"))
        assert len(daemon.requests("claim")) == claimed
        reported.set()
        await until(lambda: daemon.finished.keys() == {*offered})


# --- leases ----------------------------------------------------------------------------------


async def test_nothing_starts_before_the_lease_was_renewed(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """A lease that is lost before its first renewal has had no effect at all.

    The daemon counts on it: what was never renewed was never begun, and is given to others.
    """
    lost = daemon.offer("touch started")
    daemon.leases[lost] = LeaseState.LOST
    daemon.refuse["renew"] = [Unavailable("not now"), Unavailable("not yet")]
    async with running(runner_on(bus, tmp_path)) as runner:
        await until(lambda: len(daemon.requests("renew")) == 3 and not runner.running)
    assert not workspace(tmp_path).exists()
    assert daemon.requests("finish") == []


async def test_cancel(bus: NatsConnection, daemon: DaemonScript, tmp_path: Path) -> None:
    """When a renewal says so, the tree is killed and the cancellation reported."""
    execution = daemon.offer(f"{LEFTOVERS} sleep 600")
    async with running(runner_on(bus, tmp_path)):
        await until(lambda: len(running_in(workspace(tmp_path))) >= LEFT)
        daemon.leases[execution] = LeaseState.CANCEL
        await until(lambda: execution in daemon.finished)
        assert running_in(workspace(tmp_path)) == []
    assert daemon.finished[execution].outcome is Outcome.CANCELLED


async def test_a_hint_makes_it_ask_at_once(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """A cancel hint only hastens the renewal, whose answer decides: alone it kills nothing."""
    daemon.ttl_sec = 600.0
    execution = daemon.offer("sleep 600")
    async with running(runner_on(bus, tmp_path)) as runner:
        await until(lambda: running_in(workspace(tmp_path)))
        asked = len(daemon.requests("renew"))
        hint = subjects.control(runner.runner_id, "cancel")
        await NatsWire(bus).publish(hint, b"garbage \xff")
        await until(lambda: len(daemon.requests("renew")) == asked + 1)
        assert running_in(workspace(tmp_path))
        daemon.leases[execution] = LeaseState.CANCEL
        await NatsWire(bus).publish(hint, b"{}")
        await until(lambda: execution in daemon.finished)


async def test_a_lost_lease_is_silence(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """The tree is killed, nothing is reported, but what it wrote is published."""
    execution = daemon.offer("trap 'touch last-word' TERM; echo heard; sleep 600 & wait")
    async with running(runner_on(bus, tmp_path)) as runner:
        await until(lambda: len(running_in(workspace(tmp_path))) == 2)
        daemon.leases[execution] = LeaseState.LOST
        await until(lambda: not runner.running)
        assert running_in(workspace(tmp_path)) == []
        assert await stored(bus) == b"heard\n"
    assert daemon.requests("finish") == []
    assert not (workspace(tmp_path) / "last-word").exists()


async def test_without_renewals_the_tree_freezes_and_goes_on_after_one(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """While the daemon does not answer nothing runs past the deadline; then it ends normally."""
    execution = daemon.offer("until test -e go; do sleep 0.05; done")
    here = workspace(tmp_path)
    async with running(runner_on(bus, tmp_path)):
        await until(lambda: running_in(here))
        daemon.silent["renew"] = asyncio.Event()
        await until(lambda: all(map(is_frozen, running_in(here))))
        (here / "go").touch()
        daemon.silent.pop("renew").set()
        await until(lambda: execution in daemon.finished)
    assert daemon.finished[execution].outcome is Outcome.COMPLETED


async def test_all_leases_are_renewed_together(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """One request names every lease."""
    for _ in range(3):
        daemon.offer("sleep 600")
    async with running(runner_on(bus, tmp_path)):
        await until(lambda: _most_renewed(daemon) == 3)


def _most_renewed(daemon: DaemonScript) -> int:
    asked = [msgspec.json.decode(each.body, type=Renew) for each in daemon.requests("renew")]
    return max((len(renew.leases) for renew in asked), default=0)


# --- asking ----------------------------------------------------------------------------------


async def test_claims_what_it_has_room_for(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """It never asks for more than its free slots, and goes on when one is free again."""
    for _ in range(5):
        daemon.offer("sleep 0.1")
    async with running(runner_on(bus, tmp_path, slots=2)) as runner:
        await until(lambda: len(daemon.finished) == 5)
        assert runner.running <= 2
    claims = [msgspec.json.decode(each.body, type=Claim) for each in daemon.requests("claim")]
    assert max(claim.slots for claim in claims) == 2


async def test_an_unanswered_claim_is_repeated_as_it_was(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """Under the same command id, so that what it was given is given again; then a fresh one."""
    daemon.refuse["claim"] = [Unavailable("no"), Unavailable("no")]
    async with running(runner_on(bus, tmp_path)):
        await until(lambda: len(daemon.requests("claim")) >= 4)
    first, second, third, fourth = daemon.requests("claim")[:4]
    assert first.command_id == second.command_id == third.command_id != fourth.command_id
    assert first.body == second.body == third.body


async def test_a_report_is_repeated_until_it_is_answered(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """Under one command id, however often nobody answers."""
    execution = daemon.offer("true")
    daemon.refuse["finish"] = [Unavailable("no"), Unavailable("no")]
    async with running(runner_on(bus, tmp_path)):
        await until(lambda: execution in daemon.finished)
    assert len({each.command_id for each in daemon.requests("finish")}) == 1
    assert len(daemon.requests("finish")) == 3


async def test_a_refused_report_is_dropped(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """A daemon that says the execution is stale is believed, and the slot is free again."""
    daemon.offer("true")
    daemon.refuse["finish"] = [Rejected("stale")]
    async with running(runner_on(bus, tmp_path)) as runner:
        await until(lambda: daemon.requests("finish") and not runner.running)
    assert len(daemon.requests("finish")) == 1


async def test_nothing_is_insisted_on_for_an_execution_that_is_over(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """What nobody answered before its end, nobody is asked for ever after."""
    execution = daemon.offer('read -p "Which colour? " colour')
    daemon.refuse["ask"] = [Unavailable("no")] * 1_000
    async with running(runner_on(bus, tmp_path)) as runner:
        await until(lambda: daemon.requests("ask"))
        daemon.leases[execution] = LeaseState.CANCEL
        await until(lambda: execution in daemon.finished and not runner.running)
        await until(lambda: not insisting())


def insisting() -> list[asyncio.Task[object]]:
    """Return the tasks that ask the daemon for something until they are answered."""
    return [task for task in asyncio.all_tasks() if "Line.insist" in repr(task.get_coro())]


async def test_draining(bus: NatsConnection, daemon: DaemonScript, tmp_path: Path) -> None:
    """A drained runner finishes what runs and claims no more; its heartbeat says so."""
    execution = daemon.offer("until test -e go; do sleep 0.05; done")
    runner = runner_on(bus, tmp_path, slots=1)
    async with running(runner):
        await until(lambda: running_in(workspace(tmp_path)))
        async with NatsWire(bus).subscribe(subjects.heartbeat(runner.runner_id)) as beats:
            await NatsWire(bus).publish(subjects.control(runner.runner_id, "drain"), b"")
            beat = msgspec.json.decode((await anext(beats)).body)
        assert (beat["slots"], beat["running"], beat["draining"]) == (1, 1, True)
        claims = len(daemon.requests("claim"))
        (workspace(tmp_path) / "go").touch()
        await until(lambda: execution in daemon.finished and not runner.running)
        assert len(daemon.requests("claim")) == claims


# --- going down, and coming back -------------------------------------------------------------


async def test_going_down_kills_and_says_so(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """Once stopped, no process is left, and the execution is reported as lost."""
    daemon.offer(f"{LEFTOVERS} sleep 600")
    async with running(runner_on(bus, tmp_path)):
        await until(lambda: len(running_in(workspace(tmp_path))) >= LEFT)
    assert running_in(workspace(tmp_path)) == []
    (report,) = daemon.requests("finish")
    assert b'"outcome":"lost"' in report.body


async def test_a_successor_has_another_name(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """An identity is never used twice, not even by one that runs again."""
    runner = runner_on(bus, tmp_path)
    async with running(runner):
        await until(lambda: len(_claimers(daemon)) == 1)
    async with running(runner):
        await until(lambda: len(_claimers(daemon)) == 2)


def _claimers(daemon: DaemonScript) -> set[str]:
    return {heard.runner for heard in daemon.requests("claim")}


@pytest.mark.fault
async def test_output_survives_a_minute_without_the_bus(tmp_path: Path) -> None:
    """What a program writes while NATS is away is there when it is back, byte for byte."""
    daemon = DaemonScript(ttl_sec=600.0)
    write = "seq 1 20000; touch written; until test -e go; do sleep 0.05; done; seq 20001 40000"
    async with nats_process() as server, connected(server.url, probe_sec=0.2) as bus:
        async with serving(ServiceDoor(bus), daemon.handle), running(runner_on(bus, tmp_path)):
            execution = daemon.offer(f"until test -e begin; do sleep 0.05; done; {write}")
            here = workspace(tmp_path)
            await until(lambda: running_in(here))
            await server.kill()
            (here / "begin").touch()
            await until((here / "written").exists)
            (here / "go").touch()
            await until(lambda: not running_in(here))
            assert list((tmp_path / "spool").glob("*"))
            await server.start()
            await until(lambda: execution in daemon.finished)
        expected = "".join(f"{n}\n" for n in range(1, 40_001)).encode()
        assert await stored(bus) == expected
    assert daemon.finished[execution].output_bytes == len(expected)


@pytest.mark.fault
async def test_a_successor_publishes_what_was_left(tmp_path: Path) -> None:
    """A runner stopped while NATS was away leaves its output to the next one."""
    daemon = DaemonScript(ttl_sec=600.0)
    async with nats_process() as server, connected(server.url, probe_sec=0.2) as bus:
        runner = runner_on(bus, tmp_path)
        async with serving(ServiceDoor(bus), daemon.handle), running(runner):
            daemon.offer("until test -e begin; do sleep 0.05; done; echo legacy; sleep 600")
            await until(lambda: running_in(workspace(tmp_path)))
            await server.kill()
            (workspace(tmp_path) / "begin").touch()
            await until(lambda: _spooled(tmp_path).endswith(b"legacy\n"))
        await server.start()
        async with running(runner):
            await until(lambda: _spooled(tmp_path) == b"")
        assert await stored(bus) == b"legacy\n"


def _spooled(data: Path) -> bytes:
    return b"".join(path.read_bytes() for path in (data / "spool").glob("*"))
