"""Services start, stop and fail as often as they like: nothing of them is left behind."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest
from structlog.testing import capture_logs

from events import task as did
from pandar_daemon.config import Settings
from pandar_daemon.services import lifecycle
from pandar_daemon.services.lifecycle import Run, run_until, supervise
from pandar_daemon.wiring.parts import Parts, parts
from pandar_daemon.wiring.places import Place
from pandar_daemon.wiring.roles import services
from tests.support.bus import PATIENCE_SEC
from tests.support.log import Log, running
from tests.support.waiting import until

ROLES = ("commands", "relay", "projector", "scheduler", "reaper")
NAMES = (
    "arrivals",
    "bell",
    "dispatcher",
    "granter",
    "log",
    "near",
    "projector",
    "queue",
    "reaper",
    "relay",
    "scheduler",
    "service",
    "streams",
)


@pytest.fixture
def place(database_url: str, nats_url: str) -> Place:
    """Return where the servers are."""
    return Place(database_url=database_url, nats_url=nats_url)


@pytest.fixture
async def made(place: Place, tmp_path: Path) -> AsyncIterator[Parts]:
    """Return the parts of one process, its bus up."""
    async with parts(Settings(data=tmp_path), place, "test") as made:
        async with asyncio.timeout(PATIENCE_SEC):
            await made.connection.wait_up()
        yield made


async def _no_connection_left(url: str) -> None:
    """Return once the database sees nobody but us."""
    administrator = await asyncpg.connect(url)
    try:
        async with asyncio.timeout(PATIENCE_SEC):
            while await administrator.fetchval(_OTHERS):
                pass
    finally:
        await administrator.close()


_OTHERS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


@pytest.mark.parametrize("name", NAMES)
async def test_a_service_stopped_anywhere_leaves_nothing(
    made: Parts, place: Place, name: str
) -> None:
    """Fifty times begun and cancelled after any number of steps: no task, no listener stays."""
    dice = random.Random(name)
    listening = len(made.connection._listeners)
    tasks = asyncio.all_tasks()
    for _ in range(50):
        run = dict(services(made, ROLES, lambda: None))[name]
        service = asyncio.ensure_future(run())
        for _ in range(dice.randrange(120)):
            await asyncio.sleep(0)
        service.cancel()
        await asyncio.wait({service})
        assert service.cancelled()
    await until(lambda: asyncio.all_tasks() <= tasks)
    assert len(made.connection._listeners) == listening
    administrator = await asyncpg.connect(place.database_url)
    assert await administrator.fetchval(_OTHERS) <= 10  # the pool's
    await administrator.close()


async def test_the_wiring_has_these_services(made: Parts) -> None:
    """No service of a role that needs no other program escapes the test above."""
    assert sorted(name for name, _ in services(made, ROLES, lambda: None)) == list(NAMES)


async def test_a_process_that_ends_leaves_nothing(place: Place, tmp_path: Path) -> None:
    """All of it together, ten times, stopped in order while it works."""
    dice = random.Random(1)
    tasks = asyncio.all_tasks()
    for n in range(10):
        stop, opened = asyncio.Event(), asyncio.Semaphore(0)
        async with parts(Settings(data=tmp_path), place, "test") as made:
            backs = asyncio.create_task(run_until(stop, services(made, ROLES, opened.release)))
            async with asyncio.timeout(PATIENCE_SEC):
                await opened.acquire()
                await opened.acquire()
                await Log(made.database, made.store).add(f"task-{n + 1}", did.StartRequested())
            for _ in range(dice.randrange(300)):
                await asyncio.sleep(0)
            stop.set()
            async with asyncio.timeout(PATIENCE_SEC):
                await backs
    await until(lambda: asyncio.all_tasks() <= tasks)
    await _no_connection_left(place.database_url)


# --- supervision -----------------------------------------------------------------------------


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let failed services begin again at once."""
    monkeypatch.setattr(lifecycle, "FIRST_PAUSE_SEC", 0.0)


class Stubborn:
    """A service that ends in some way until it has been started four times."""

    def __init__(self, end: BaseException | None) -> None:
        self.starts = 0
        self.up = asyncio.Event()
        self._end = end

    async def run(self) -> None:
        """End, or serve."""
        self.starts += 1
        if self.starts < 4:
            if self._end is not None:
                raise self._end
            return
        self.up.set()
        await asyncio.get_running_loop().create_future()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    "end",
    [
        None,
        ValueError("x"),
        ExceptionGroup("all", [OSError("a"), TimeoutError()]),
        asyncio.CancelledError(),
    ],
)
async def test_a_service_that_ends_is_started_again(end: BaseException | None) -> None:
    """However it ends, a cancellation from within included, it is told and started again."""
    service = Stubborn(end)
    with capture_logs() as logs:
        async with running(supervise("stubborn", service.run)), asyncio.timeout(PATIENCE_SEC):
            await service.up.wait()
    assert service.starts == 4
    said = "service.ended" if end is None else "service.failed"
    assert [(each["event"], each["service"]) for each in logs] == [(said, "stubborn")] * 3


async def test_a_supervised_service_stops_when_told(impatient: None) -> None:
    """Cancelled from outside it stays ended, wherever it was."""
    service = Stubborn(None)
    supervised = asyncio.create_task(supervise("stubborn", service.run))
    await service.up.wait()
    supervised.cancel()
    await asyncio.wait({supervised})
    assert supervised.cancelled()
    assert service.starts == 4


@pytest.mark.usefixtures("impatient")
async def test_a_service_that_fails_while_it_is_stopped_is_not_started_again() -> None:
    """A task group then raises the failure alone: the stop counts all the same."""
    starts, up = 0, asyncio.Event()

    async def fail_when_cancelled() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            raise ConnectionError("the database is away") from None

    async def run() -> None:
        nonlocal starts
        starts += 1
        async with asyncio.TaskGroup() as group:
            group.create_task(fail_when_cancelled())
            await asyncio.sleep(0)
            up.set()

    supervised = asyncio.create_task(supervise("failing", run))
    await up.wait()
    supervised.cancel()
    async with asyncio.timeout(PATIENCE_SEC):
        await asyncio.wait({supervised})
    assert supervised.cancelled()
    assert starts == 1


@pytest.mark.parametrize("cancelled", [False, True])
async def test_services_stop_in_order_each_wholly(cancelled: bool) -> None:
    """The next is told to stop once the one before has finished, however long that takes."""
    said, begun = list[str](), asyncio.Semaphore(0)

    def service(name: str) -> Run:
        async def run() -> None:
            begun.release()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                said.append(f"{name} stops")
                for _ in range(50):
                    await asyncio.sleep(0)
                said.append(f"{name} stopped")

        return run

    names, stop = ("a", "b", "c"), asyncio.Event()
    ended = asyncio.create_task(run_until(stop, [(name, service(name)) for name in names]))
    for _ in names:
        await begun.acquire()
    if cancelled:
        ended.cancel()
    else:
        stop.set()
    await asyncio.wait({ended})
    assert ended.cancelled() is cancelled
    assert said == [f"{name} {what}" for name in names for what in ("stops", "stopped")]


async def test_stopping_twice_still_stops_all() -> None:
    """A second, harder stop amid the first leaves no service running."""
    ended, begun, stuck = list[str](), asyncio.Semaphore(0), asyncio.Event()

    def service(name: str, *, slow: bool) -> Run:
        async def run() -> None:
            begun.release()
            try:
                await asyncio.get_running_loop().create_future()
            finally:
                stuck.set()
                if slow:
                    await asyncio.sleep(3_600)
                ended.append(name)

        return run

    stop = asyncio.Event()
    whole = [("slow", service("slow", slow=True)), ("other", service("other", slow=False))]
    tasks = asyncio.all_tasks()
    running_ = asyncio.create_task(run_until(stop, whole))
    for _ in whole:
        await begun.acquire()
    stop.set()
    await stuck.wait()
    running_.cancel()
    await asyncio.wait({running_})
    await until(lambda: asyncio.all_tasks() <= tasks)
    assert ended == ["other"]
