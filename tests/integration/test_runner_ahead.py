"""A runner of brief commands claims ahead: no more run at once, and none that waits is held."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import msgspec
import pytest
from msgspec import Struct

from events import subjects
from events.running import Claim, LeaseState, Renew
from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.services import ahead
from pandar_daemon.services.ahead import BRIEF_SEC
from pandar_daemon.services.runner import Runner
from pandar_daemon.services.runner_calls import CLAIM_WAIT_SEC
from tests.support.bus import PATIENCE_SEC
from tests.support.daemon_script import DaemonScript
from tests.support.runners import bus, runner_on, running
from tests.support.waiting import until

pytestmark = pytest.mark.servers
__all__ = ["bus"]  # a fixture
SLOTS = 2
LASTS = "touch began; while [ ! -e go ]; do sleep 0.01; done"


@pytest.fixture(autouse=True)
def _all_is_brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a slow machine's commands brief, and those that wait for us."""
    monkeypatch.setattr(ahead, "BRIEF_SEC", 3_600.0)


@pytest.fixture
def daemon() -> DaemonScript:
    """Return a daemon that holds every lease until told otherwise."""
    return DaemonScript(ttl_sec=60.0)


class Busy(Struct):
    """A runner whose slots are all taken until `go`, and that claimed as many again."""

    runner: Runner
    data: Path
    lasting: list[UUID]
    waiting: list[UUID]
    more: UUID

    def go(self) -> None:
        """Let what runs end."""
        go(self.data)


def go(data: Path) -> None:
    """Let what lasts on a runner end."""
    for began in data.glob("workspaces/*/began"):
        began.with_name("go").touch()


@asynccontextmanager
async def brief(
    bus: NatsConnection, daemon: DaemonScript, data: Path, has_room: Callable[[], bool]
) -> AsyncIterator[Runner]:
    """Run one that found all before brief, and has nothing to do."""
    before = [daemon.offer("true") for _ in range(ahead.SAMPLE)]
    async with running(runner_on(bus, data, slots=SLOTS, has_room=has_room)) as runner:
        await until(lambda: daemon.finished.keys() == {*before})
        yield runner


async def lasting_on(daemon: DaemonScript, data: Path) -> list[UUID]:
    """Let all its slots be taken until `go`."""
    lasting = [daemon.offer(LASTS) for _ in range(SLOTS)]
    await until(lambda: len(list(data.glob("workspaces/*/began"))) == SLOTS)
    return lasting


@asynccontextmanager
async def busy(bus: NatsConnection, daemon: DaemonScript, data: Path) -> AsyncIterator[Busy]:
    """Run one with all slots taken, and as many again claimed."""
    async with brief(bus, daemon, data, lambda: True) as runner:
        lasting = await lasting_on(daemon, data)
        waiting = [daemon.offer("true") for _ in range(SLOTS)]
        more = daemon.offer("true")
        await until(lambda: daemon.ungiven == [more])
        yield Busy(runner, data, lasting, waiting, more)


async def claim_that_waits(daemon: DaemonScript) -> asyncio.Event:
    """Return once a claim was asked for; it, and any other, is answered when this is set."""
    answered = daemon.silent["claim"] = asyncio.Event()
    asked = len(daemon.requests("claim"))
    await until(lambda: len(daemon.requests("claim")) > asked)
    return answered


async def held(bus: NatsConnection, daemon: DaemonScript, runner: Runner) -> set[UUID]:
    """Make it renew what it holds, and return what that is."""
    before = len(daemon.requests("renew"))
    await bus.publish(subjects.control(runner.runner_id, "cancel"))
    await until(lambda: len(daemon.requests("renew")) > before)
    leases = msgspec.json.decode(daemon.requests("renew")[-1].body, type=Renew).leases
    return {each.execution_id for each in leases}


async def test_as_many_again_wait_and_none_of_them_is_begun(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """No more than there are slots run, and nothing else is renewed; then all of them run."""
    async with busy(bus, daemon, tmp_path) as at:
        assert at.runner.running == len(at.runner.executions) == SLOTS
        assert await held(bus, daemon, at.runner) == {*at.lasting}
        at.go()
        await until(lambda: daemon.finished.keys() >= {*at.lasting, *at.waiting, at.more})


async def test_a_claim_ahead_does_not_wait_for_work(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """No longer than what runs is believed to: then it may turn out to last."""
    async with busy(bus, daemon, tmp_path) as at:
        claims = [msgspec.json.decode(each.body, type=Claim) for each in daemon.requests("claim")]
        assert claims[0].wait_sec == CLAIM_WAIT_SEC
        assert claims[-1].wait_sec == BRIEF_SEC
        at.go()


async def test_who_drains_begins_nothing_more(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """What runs ends; what waits is left to others, and what is queued not claimed."""
    async with busy(bus, daemon, tmp_path) as at:
        at.runner.drain()
        at.go()
        await until(lambda: daemon.finished.keys() >= {*at.lasting})
        await until(lambda: not at.runner.executions)
        await bus.echo(timeout_sec=PATIENCE_SEC)
        assert not at.runner.executions
        assert daemon.ungiven == [at.more]
    assert daemon.finished.keys().isdisjoint(at.waiting)


async def test_what_waited_too_long_is_others(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """Of what the daemon gave away meanwhile nothing is begun, and nothing reported."""
    async with busy(bus, daemon, tmp_path) as at:
        lost, kept = at.waiting
        daemon.leases[lost] = LeaseState.LOST
        at.go()
        await until(lambda: daemon.finished.keys() >= {*at.lasting, kept, at.more})
    assert lost not in daemon.finished
    number = ahead.SAMPLE + SLOTS + 1
    assert not (tmp_path / f"workspaces/task-{number}").exists()
    assert (tmp_path / f"workspaces/task-{number + 1}").exists()


async def test_nothing_is_begun_without_room(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """A full disk keeps out what was claimed already; it begins when there is room again."""
    has_room = True
    async with brief(bus, daemon, tmp_path, lambda: has_room) as runner:
        answered = await claim_that_waits(daemon)
        has_room = False
        late = daemon.offer("true")
        answered.set()
        await until(lambda: not daemon.ungiven)
        await bus.echo(timeout_sec=PATIENCE_SEC)
        assert runner.running == 0
        has_room = True
        await until(lambda: late in daemon.finished)


async def test_room_that_returns_while_a_claim_waits_is_noticed(
    bus: NatsConnection, daemon: DaemonScript, tmp_path: Path
) -> None:
    """Nobody need answer that claim for what waits to begin."""
    has_room = True
    async with brief(bus, daemon, tmp_path, lambda: has_room) as runner:
        lasting = await lasting_on(daemon, tmp_path)
        waits = daemon.offer("true")
        await until(lambda: not daemon.ungiven)
        answered = await claim_that_waits(daemon)
        has_room = False
        go(tmp_path)
        await until(lambda: daemon.finished.keys() >= {*lasting})
        await until(lambda: not runner.executions)
        has_room = True
        await until(lambda: waits in daemon.finished)
        answered.set()
