"""The load of a campaign: clients that file, cancel, retry and confirm, and ask until answered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import msgspec

from events import commands as do
from events import subjects
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.services.asking import Asker
from tests.support.chaos_tasks import Deed, Marks, random_deed
from tests.support.history import Acked

BACKLOG = 14
"""Tasks filed that have not begun: enough for every slot."""
PAUSE_SEC = 0.05
ANSWER_SEC = 3.0
_PASSING = frozenset({401, 408, 429})


class Load:
    """Clients over one connection; what they were answered is in ``acked``."""

    def __init__(self, asker: Asker, marks: Marks, seed: int) -> None:
        self.acked: list[Acked] = []
        self.deeds: dict[int, Deed] = {}  # by task
        self.faults: list[str] = []
        self.open = True
        self.asked = 0
        self._asker = asker
        self._marks = marks
        self._seed = seed
        self._gone: set[int] = set()
        self._filed = 0
        self._commands = 0

    @property
    def streams(self) -> list[str]:
        """Return the stream of every task that was filed."""
        return [f"task-{task}" for task in self.deeds]

    async def client(self, number: int) -> None:
        """File tasks, and meddle with some, until the load is closed."""
        rng = random.Random(f"{self._seed}-{number}")
        while self.open:
            if not self._is_enough():
                await self.file(random_deed(rng, self._next()))
            elif rng.random() < 0.25:
                await self._meddle(rng)
            else:
                await self._pass(rng.randrange(5, 40))

    async def file(self, deed: Deed) -> None:
        """File a task that does this."""
        accepted = await self._ask("task.create", None, deed.creation(self._marks.path))
        assert accepted is not None, "a new task was refused"
        self.deeds[int(accepted.id)] = deed

    async def confirm(self, task: int, decision: do.Decision) -> None:
        """Decide what a task waits for, if it does."""
        await self._ask("task.confirm", task, do.ConfirmTask(decision=decision))

    async def cancel(self, task: int) -> None:
        """Cancel a task, unless it is over."""
        await self._ask("task.cancel", task, do.CancelTask(reason="chaos"))
        self._gone.add(task)

    async def _meddle(self, rng: random.Random) -> None:
        if not self.deeds:
            return
        task = rng.choice(list(self.deeds)[-40:])
        match rng.randrange(4):
            case 0:
                await self.cancel(task)
            case 1 | 2:
                await self._ask("task.retry", task, do.RetryTask(reason="chaos"))
            case _:
                await self.confirm(task, rng.choice([do.Decision.APPROVE, do.Decision.DENY]))

    async def _pass(self, marks: int) -> None:
        """Wait until the tasks did so much, or another is due."""
        wanted = self._marks.count + marks
        while self.open and self._marks.count < wanted and self._is_enough():  # noqa: ASYNC110 - others work
            await asyncio.sleep(PAUSE_SEC)

    def _is_enough(self) -> bool:
        return len(self.deeds.keys() - self._marks.begun - self._gone) >= BACKLOG

    def _next(self) -> int:
        self._filed += 1
        return self._filed

    async def _ask(self, action: str, task: int | None, command: do.Command) -> do.Accepted | None:
        """Return the answer, ``None`` for a refusal; one command in ten is sent twice."""
        self._commands += 1
        command_id = f"chaos-{self._seed}-{self._commands}"
        subject = subjects.command(action, 1 if task is None else None, task)
        body = msgspec.json.encode(command)
        first = await self._insist(subject, body, command_id)
        if self._commands % 10 == 0:
            again = await self._insist(subject, body, command_id)
            if again != first:
                self.faults.append(f"answered: {command_id} got {first}, and later {again}")
        return first

    async def _insist(self, subject: str, body: bytes, command_id: str) -> do.Accepted | None:
        """Ask, again and again with the same command id, until there is an answer."""
        while True:
            self.asked += 1
            try:
                answer = await self._asker.ask(subject, body, command_id, timeout_sec=ANSWER_SEC)
            except Refusal as refusal:
                if refusal.problem.status < 500 and refusal.problem.status not in _PASSING:
                    return None
                await asyncio.sleep(PAUSE_SEC)  # what a careful client does between tries
            else:
                accepted = msgspec.json.decode(answer, type=do.Accepted)
                self.acked.append(
                    Acked(command_id, accepted.stream, accepted.position, accepted.version)
                )
                return accepted


async def moment(marks: Marks, more: int, patience_sec: float, waiting: Callable[[], str]) -> None:
    """Return once the tasks did so much more; fails when nothing happens for so long."""
    wanted, seen = marks.count + more, marks.count
    quiet = 0.0
    while marks.count < wanted:
        await asyncio.sleep(PAUSE_SEC)
        quiet = 0.0 if marks.count > seen else quiet + PAUSE_SEC
        seen = marks.count
        if quiet > patience_sec:
            msg = f"no task did anything for {patience_sec:g} s: {waiting()}"
            raise AssertionError(msg)
