"""The runner: claims executions, keeps their leases, runs them; with a fresh identity each time.

* It claims while it has a free slot, and ahead where executions are brief (`ahead`). One of which
  only the report is left takes none, so that the next is claimed while that is answered; twice as
  many as there are slots may be in hand.
* A claim that nobody answered is repeated as it was, under its command id: the executions it may
  have been given are not lost.
* It renews all leases in one request, four times in a lease's life, and before anything starts.
  Past what a renewal bought, the process tree is frozen by its guardian, whatever became of us.
* Going down, it kills every tree and reports nothing: there is no command by which to hand an
  execution back, so its lease expires, which is what happens when a runner is killed too. What
  its output spools hold is published by its successor on the same data directory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from uuid import UUID

import msgspec
import structlog

from events import subjects
from events.running import Claim, Ending
from pandar_daemon.domain.money import Price
from pandar_daemon.domain.redaction import Redactor
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.ports import (
    Agents,
    Clock,
    Diffs,
    Folders,
    Outputs,
    ProcessHost,
    Spools,
    Vault,
    Wire,
)
from pandar_daemon.services.ahead import BRIEF_SEC, Ahead
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.confines import House
from pandar_daemon.services.execution import Execution
from pandar_daemon.services.git import Git
from pandar_daemon.services.git_access import forget_keys
from pandar_daemon.services.means import Means
from pandar_daemon.services.openings import Openings
from pandar_daemon.services.pauses import moment
from pandar_daemon.services.presence import Presence, show
from pandar_daemon.services.publisher import publish
from pandar_daemon.services.runner_calls import CLAIM_WAIT_SEC, RunnerCalls
from pandar_daemon.services.trees import Trees
from pandar_daemon.telemetry import Metrics

log = structlog.get_logger(__name__)

IDLE_SEC = 0.25
GATHER_SEC = 0.01
"""Slots freed so soon after the first are filled with it: claims and renewals cost a commit."""
RETRY_SEC = 0.5
CLOSE_SEC = 10.0
"""More than a tree's grace between SIGTERM and SIGKILL."""


class Runner:
    """Runs up to ``slots`` executions at a time, in folders under ``data``."""

    def __init__(
        self,
        *,
        data: Path,
        slots: int,
        lease_ttl_sec: float,
        host: ProcessHost,
        folders: Folders,
        spools: Spools,
        outputs: Outputs,
        agents: Agents,
        diffs: Diffs | None = None,
        wire: Wire,
        asker: Asker,
        clock: Clock,
        metrics: Metrics,
        path: str,
        prices: Mapping[str, Price] | None = None,
        has_room: Callable[[], bool] = lambda: True,
        beside: Sequence[Callable[[], Coroutine[object, object, None]]] = (),
        vault: Vault | None = None,
        openings: Openings | None = None,
        known: Mapping[str, str] | None = None,
        house: House | None = None,
    ) -> None:
        """Take ``lease_ttl_sec`` for granted only until the daemon says otherwise.

        ``path`` is the ``PATH`` of what is run. Nothing is claimed or begun unless it
        ``has_room``; the services ``beside`` run as long as it does, and while nobody else uses
        the directory. Without a ``vault`` no secret can be used here. ``openings`` serve the doors
        of boxes. ``known`` are secrets by name, never shown.
        """
        self.slots = slots
        self.draining = False
        self._calls = RunnerCalls(asker, clock, ttl_sec=lease_ttl_sec)
        self._wire = wire
        folder = data.absolute()
        git = Git(host, clock, home=folder / "mirrors", path=path)
        self._means = Means(
            runner_id=f"r-{clock.new_id().hex}",
            store="",
            agents=agents,
            data=folder,
            trees=Trees(folder, git, folders, clock),
            host=host,
            spools=spools,
            outputs=outputs,
            diffs=diffs,
            asker=asker,
            clock=clock,
            metrics=metrics,
            path=path,
            prices=prices or {},
            vault=vault,
            openings=openings or Openings(),
            redactor=Redactor(known),
            house=house or House(),
        )
        self._has_room = has_room
        self._beside = beside
        self._executions: dict[UUID, Execution] = {}
        self._ahead = Ahead(clock, slots)
        self._tasks: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()  # for who claims
        self._left = asyncio.Event()  # for who fills
        self._due = asyncio.Event()
        self._news = asyncio.Event()

    @property
    def runner_id(self) -> str:
        """This incarnation's name, never used before."""
        return self._means.runner_id

    @property
    def running(self) -> int:
        """How many slots are taken."""
        return sum(not execution.is_over for execution in self._executions.values())

    @property
    def _free(self) -> int:
        """How many more it may begin: those that wait for an answer are limited too."""
        return max(0, min(self.slots - self.running, 2 * self.slots - len(self._executions)))

    @property
    def executions(self) -> list[Execution]:
        """What it has in hand."""
        return list(self._executions.values())

    async def ended(self, task_ids: Sequence[int]) -> dict[int, Ending]:
        """Return which of these tasks are over; raises the daemon's `Refusal`."""
        return await self._calls.ended(task_ids)

    def drain(self) -> None:
        """Claim no more; what runs goes on, but who waits for people is parked."""
        self.draining = True
        for execution in self._executions.values():
            execution.drain()
        self._news.set()

    async def run(self) -> None:
        """Run executions until cancelled, then kill what runs.

        Raises ``OSError`` when another runner is using the data directory.
        """
        self._renew_identity()
        swept = await self._means.host.sweep()
        forget_keys(self._means.data)
        log.info("runner.up", runner=self.runner_id, slots=self.slots, swept=swept)
        self._recover()
        try:
            async with asyncio.TaskGroup() as group:
                work = (self._claim, self._fill, self._renew)
                for service in (*work, self._show_presence, self._obey):
                    group.create_task(service(), name=f"runner:{service.__name__}")
                for service in self._beside:
                    group.create_task(service())
        finally:
            await self._close()

    def _renew_identity(self) -> None:
        """Never claim twice under one name: the leases of before were given up."""
        identity = f"r-{self._means.clock.new_id().hex}"
        store = store_of(self._means.data, self._means.clock)
        self._means = msgspec.structs.replace(self._means, runner_id=identity, store=store)
        self._calls.runner_id = identity
        self._ahead = Ahead(self._means.clock, self.slots)

    def _recover(self) -> None:
        for spool in self._means.spools.recover():
            log.info("spool.recovered", execution=str(spool.execution_id))
            self._begin(publish(spool, self._means.outputs))

    def _begin(self, work: Coroutine[object, object, None]) -> None:
        task = asyncio.create_task(self._contain(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _contain(self, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except Exception:
            # One execution's trouble must not end the others. Its tree is dead, its lease expires.
            log.exception("execution.broke")

    # --- claiming ---

    async def _claim(self) -> None:
        while True:
            while not (claim := self._wanted()):
                await moment(self._freed, IDLE_SEC)
                await asyncio.sleep(GATHER_SEC)
                self._begin_next()
            given = await self._calls.claim(claim)
            for assignment in given:
                if assignment.execution_id not in self._executions:
                    self._ahead.add(assignment)
            self._begin_next()
            self._left.set()
            if not given:
                await moment(self._freed, IDLE_SEC)

    def _wanted(self) -> Claim | None:
        """Return what to claim now, if anything: ahead for no longer than brief ones take."""
        if self.draining or not self._has_room():
            return None
        if self._free:
            return Claim(slots=self._free, wait_sec=CLAIM_WAIT_SEC, store=self._means.store)
        if room := self._ahead.room:
            return Claim(slots=room, wait_sec=BRIEF_SEC, store=self._means.store)
        return None

    async def _fill(self) -> None:
        """Begin what was claimed ahead as slots become free, and as the disk has room again."""
        while True:
            await moment(self._left, IDLE_SEC if self._ahead.waiting else None)
            await asyncio.sleep(GATHER_SEC)
            self._begin_next()

    def _begin_next(self) -> None:
        """Begin what was claimed, as far as there are slots; of who drains, others get it."""
        while self._free and not self.draining and self._has_room():
            assignment = self._ahead.take()
            if assignment is None:
                return
            execution = Execution(assignment, self._means)
            self._executions[assignment.execution_id] = execution
            self._ahead.began(assignment.execution_id)
            self._begin(self._execute(execution))
            self._due.set()

    async def _execute(self, execution: Execution) -> None:
        execution_id = execution.held.execution_id

        def over() -> None:
            self._ahead.ended(execution_id)
            self._freed.set()
            self._left.set()

        try:
            await execution.run(over)
        finally:
            del self._executions[execution_id]
            over()

    # --- leases ---

    async def _renew(self) -> None:
        pause = RETRY_SEC
        while True:
            await moment(self._due, pause)
            held = list(self._executions.values())
            try:
                if held:
                    await self._renew_once(held)
                pause = self._calls.renew_every_sec
            except Refusal as refusal:
                log.warning("runner.unrenewed", leases=len(held), reason=str(refusal))
                pause = min(RETRY_SEC, self._calls.renew_every_sec)

    async def _renew_once(self, executions: Sequence[Execution]) -> None:
        kept = await self._calls.renew([execution.held for execution in executions])
        for execution in executions:
            await execution.lease(kept.states[execution.held.execution_id], kept.until)

    # --- being seen and told ---

    async def _show_presence(self) -> None:
        await show(self._wire, self._presence, self._news)

    def _presence(self) -> Presence:
        self._means.metrics.slots(free=self.slots - self.running, busy=self.running)
        return Presence(
            runner_id=self.runner_id,
            slots=self.slots,
            running=self.running,
            draining=self.draining,
        )

    async def _obey(self) -> None:
        """Take hints. A cancellation only makes us ask: the answer to a renewal decides."""
        async with self._wire.subscribe(subjects.control(self.runner_id, "*")) as hints:
            async for hint in hints:
                if hint.subject.endswith(".answer"):
                    self._hint(hint.body)
                    continue
                if hint.subject.endswith(".drain"):
                    log.info("runner.draining", runner=self.runner_id)
                    self.drain()
                self._due.set()

    def _hint(self, body: bytes) -> None:
        """Let the execution this is about look for a decision; all, if it names none of ours."""
        for execution_id, execution in list(self._executions.items()):
            if str(execution_id).encode() in body:
                execution.hint()

    async def _close(self) -> None:
        for execution in list(self._executions.values()):
            await execution.abandon()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=CLOSE_SEC)
            for execution in self._executions.values():
                execution.hang_up()
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        log.info("runner.down", runner=self.runner_id)


def store_of(data: Path, clock: Clock) -> str:
    """Return the name of a data directory, which it gets once; raises ``OSError``."""
    file = data / "store"
    if not file.exists():
        data.mkdir(parents=True, exist_ok=True)
        fresh = file.with_suffix(".new")
        fresh.write_text(str(clock.new_id()))
        fresh.replace(file)
    return file.read_text().strip()
