"""Those who use Pandar: they file tasks, start, cancel, retry and decide, until they are answered.

Unanswered they ask again, with the same command id; in doubt they ask twice at once. What they are
answered goes into the history.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Coroutine
from datetime import timedelta
from random import Random
from typing import Final

import msgspec

from events import commands as do
from events import subjects
from events.ids import id_of
from events.task import Json
from pandar_daemon.domain.refusals import Refusal
from projections.base import Row
from tests.simulation.hosts import Script
from tests.simulation.node import SimProcess
from tests.simulation.site import Parts, Site
from tests.support.history import Acked

AGAIN_SEC: Final = 1.0
SERVER_FAULT: Final = 500
REST: Final = frozenset({"completed", "failed", "cancelled"})

PACES: Final = ((0.01, 0.1, 0.5), (0.01, 0.1, 0.1, 0.5, 1.0, 4.0), (0.5, 2.0, 4.0))
"""Seconds between the steps of programs; a run is of quick ones, of all kinds, or of long ones."""


class People:
    """A few persons on one machine."""

    def __init__(self, site: Site, seed: str) -> None:
        self.acked: list[Acked] = []
        self.answers: dict[str, set[str]] = defaultdict(set)
        """All that was answered to each command."""
        self._site = site
        self._dice = Random(f"{seed}/people")
        self._project_id = 0
        self._paces = self._dice.choice(PACES)
        self._process = SimProcess(site.sim, "people")
        self._parts = Parts(site, self._process, site.troubles["people"])
        self._asker = self._parts.asker("1", "admin")

    def start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        """Let them do something."""
        return self._site.sim.loop.start(self._process.node, work)

    async def begin(self) -> None:
        """Make the project everything happens in."""
        await self._insist("project.create", None, do.CreateProject(name="p"))
        (told,) = {each.stream for each in self.acked}
        self._project_id = int(id_of(told))

    async def work(self, tasks: int, seconds: float) -> None:
        """File so many tasks, and meddle with them; return when all is answered."""
        async with asyncio.TaskGroup() as group:
            for n in range(tasks):
                group.create_task(self._later(seconds, self._file(n)))
                group.create_task(self._later(seconds * 1.2, self._meddle()))

    async def _later(self, most_sec: float, work: Coroutine[object, object, None]) -> None:
        await asyncio.sleep(self._dice.uniform(0, most_sec))
        await work

    async def _file(self, n: int) -> None:
        dice, at = self._dice, None
        if dice.random() < 0.1:
            at = self._site.sim.now() + timedelta(seconds=dice.uniform(-5, 30))
        await self._insist(
            "task.create",
            None,
            do.CreateTask(
                name=f"t{n}",
                command=self._script().command(),
                project_id=self._project_id,
                metadata=self._metadata(),
                scheduled_at=at,
                auto_start=dice.choice((None, None, None, True, False)),
            ),
        )

    def _script(self) -> Script:
        dice = self._dice
        return Script(
            steps=dice.randrange(7),
            every_sec=dice.choice(self._paces),
            width=dice.choice((40, 60, 2_000)),
            exit_code=int(dice.random() < 0.2),
            farewell_sec=dice.choice((0.0, 0.5, 9.0)),
        )

    def _metadata(self) -> Json:
        dice = self._dice
        metadata: Json = {"max_retries": dice.randrange(3)}
        if dice.random() < 0.4:
            metadata["on_lost"] = dice.choice(("retry", "confirm", "fail"))
        if dice.random() < 0.2:
            metadata["concurrency_key"] = f"k{dice.randrange(3)}"
        if dice.random() < 0.1:
            metadata["timeout_sec"] = dice.randrange(1, 4)
        return metadata

    async def _meddle(self) -> None:
        """Do to some task what its row lets one think of, or what it does not."""
        rows = self._rows()
        if not rows:
            return
        row = self._dice.choice(rows)
        task_id = row["id"]
        assert isinstance(task_id, int)
        action, command = self._idea(row)
        await self._insist(action, task_id, command)

    def _rows(self) -> list[Row]:
        live = self._site.views.live("tasks")
        return [] if live is None else list(live.tables["tasks"].values())

    def _idea(self, row: Row) -> tuple[str, do.Command]:
        dice = self._dice
        decision = dice.choice((do.Decision.APPROVE, do.Decision.APPROVE, do.Decision.DENY))
        ideas: dict[str, do.Command] = {
            "task.cancel": do.CancelTask(),
            "task.retry": do.RetryTask(),
            "task.start": do.StartTask(),
            "task.confirm": do.ConfirmTask(decision=decision),
        }
        fitting = {
            "pending": "task.start",
            "waiting_confirmation": "task.confirm",
            "running": "task.cancel",
            "failed": "task.retry",
            "cancelled": "task.retry",
        }
        action = fitting.get(str(row["status"]), "task.cancel")
        if dice.random() < 0.3:
            action = dice.choice(list(ideas))
        return action, ideas[action]

    async def _insist(self, action: str, target: int | None, command: do.Command) -> None:
        command_id = str(self._parts.clock.new_id())
        body, subject = msgspec.json.encode(command), subjects.command(action, None, target)
        times = 2 if self._dice.random() < 0.1 else 1
        await asyncio.gather(*(self._ask(subject, body, command_id) for _ in range(times)))
        if self._dice.random() < 0.1:
            await self._ask(subject, body, command_id)

    async def _ask(self, subject: str, body: bytes, command_id: str) -> None:
        """Ask until there is an answer."""
        while True:
            try:
                answer = await self._asker.ask(subject, body, command_id, timeout_sec=5.0)
            except Refusal as refusal:
                if refusal.problem.status < SERVER_FAULT:
                    self.answers[command_id].add(f"no: {refusal}")
                    return
                await asyncio.sleep(AGAIN_SEC)
            else:
                told = msgspec.json.decode(answer, type=do.Accepted)
                self.acked.append(Acked(command_id, told.stream, told.position, told.version))
                self.answers[command_id].add(f"yes: {told.position}")
                return
