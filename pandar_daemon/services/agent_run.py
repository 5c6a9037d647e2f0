"""One agent process at work: carries between its driver, its conversation and the daemon.

What it says is taken in as fast as it is worked off, so that a flood waits in the agent's pipe;
what is said to it never waits for it, so that who does not listen holds up nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from typing import Final, assert_never
from uuid import UUID

import structlog

from events.calls import Verdict
from events.task import Usage
from pandar_daemon.domain import talking as talk
from pandar_daemon.domain.conversation import CANCEL_SEC, OPEN_SEC, Conversation, Phase
from pandar_daemon.domain.door_requests import is_door
from pandar_daemon.domain.hearing import Broken, Heard, TurnEnded
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.ports import Driver, Permission, Talk
from pandar_daemon.services.callers import Callers
from pandar_daemon.services.cards import drafted
from pandar_daemon.services.recording import Recording
from pandar_daemon.services.saying import Saying
from pandar_daemon.services.surroundings import Surroundings

log = structlog.get_logger(__name__)

FAREWELL_SEC: Final = 1.0
"""What an agent may take to end its turn before its process is ended."""
BACKLOG_MAX: Final = 2**20
"""Bytes of what it said that may wait to be worked off."""
GONE: Final = "the agent has ended"
"""What whoever waits at a door then is told."""
END_SEC: Final = 10.0
"""What it may take until one hears of the cancellation, or the loss, that people are not asked."""
_CONFLICT: Final = 409


class AgentRun:
    """The conversation with one agent process, from its first word to its last."""

    def __init__(
        self, talking: Talk, driver: Driver, conversation: Conversation, around: Surroundings
    ) -> None:
        self._talk = talking
        self._driver = driver
        self._conversation = conversation
        self._around = around
        self._saying = Saying(talking)
        self._recording = Recording(around.line)
        self.callers = Callers(self._hears)
        """Who waits at the doors of its box."""
        self._due: asyncio.Queue[talk.Signal | list[talk.Effect]] = asyncio.Queue()
        self._backlog = 0
        self._watching: asyncio.Task[None] | None = None  # for a decision, or another's answer
        self._reminding: set[asyncio.Task[None]] = set()
        self._turn_over = asyncio.Event()

    async def run(self, cwd: str, session_id: str) -> None:
        """Return when the agent has said its last, and all that followed from it was done."""
        try:
            async with asyncio.TaskGroup() as group:
                services = [group.create_task(self._saying.run()), group.create_task(self._work())]
                self._say(self._driver.open(cwd, session_id))
                self._remind(OPEN_SEC, talk.Unready)
                await self._listen()
                await self._due.join()
                for service in services:
                    service.cancel()
        finally:
            self.callers.close(GONE)
            for task in (self._watching, *self._reminding):
                if task is not None:
                    task.cancel()

    @property
    def used(self) -> Usage:
        """What the agent told that it consumed."""
        return self._conversation.used

    def park(self) -> bool:
        """Let who waits be parked, and who will wait then; false when nobody waits now."""
        effects = self._conversation.receive(talk.ParkNow(at=self._now()))
        self._due.put_nowait(effects)
        return bool(effects)

    async def farewell(self) -> None:
        """End the turn: answer what is open, and give the agent a moment to take note."""
        if self._conversation.phase in {Phase.OPENING, Phase.OVER}:
            return
        self._turn_over.clear()
        self._say(self._driver.cancel())
        with suppress(TimeoutError):
            async with asyncio.timeout(FAREWELL_SEC):
                await self._turn_over.wait()

    def _now(self) -> float:
        return self._around.clock.boottime()

    def _hears(self, said: Heard) -> None:
        self._due.put_nowait(talk.Hears(at=self._now(), heard=said))

    def _say(self, data: bytes) -> None:
        """Say it, unless it was long enough that the agent did not listen."""
        if self._saying.is_unheard:
            unheard = Broken(
                error=f"{self._around.assignment.agent} reads nothing of what it is told"
            )
            self._hears(unheard)
        self._saying.say(data)

    async def _listen(self) -> None:
        """Take in what it says until it says no more."""
        while True:
            data = await self._talk.read()
            heard, reply = self._driver.receive(data)
            self._say(reply)
            for each in heard:
                if isinstance(each, TurnEnded):
                    self._turn_over.set()
                if isinstance(each, Broken) and not data:
                    self._due.put_nowait(talk.Ended(at=self._now(), heard=each))
                else:
                    self._hears(await self.callers.foreseen(each))
            if not data:
                self._turn_over.set()
                return
            await self._keep_up(len(data))

    async def _keep_up(self, size: int) -> None:
        self._backlog = self._backlog + size if self._due.qsize() else 0
        if self._backlog > BACKLOG_MAX:
            await self._due.join()
            self._backlog = 0

    async def _work(self) -> None:
        while True:
            due = await self._due.get()
            effects = due if isinstance(due, list) else self._conversation.receive(due)
            for effect in effects:
                await self._perform(effect)
            self._due.task_done()

    async def _perform(self, effect: talk.Effect) -> None:  # noqa: C901 - a table
        match effect:
            case talk.Prompt(text):
                self._say(self._driver.prompt(text))
            case talk.CancelTurn():
                self._say(self._driver.cancel())
                self._remind(CANCEL_SEC, talk.Waited)
            case talk.Show(text):
                await self._around.show(text.encode(errors="replace"))
            case talk.Settle():
                await self._settle(effect)
            case talk.Reply():
                await self._reply(effect)
            case talk.Refuse():
                refused = Permission(allowed=False, text=effect.text)
                self.callers.answer(effect.request_id, refused)
            case talk.Consult():
                self._watch(self._consult(effect))
            case talk.AskCall() | talk.AskQuestion() | talk.AskBudget():
                await self._ask(effect)
            case talk.Withdraw(reason):
                await self._withdraw(reason)
            case talk.Name(session_id):
                await self._name(session_id)
            case talk.Conclude():
                self.callers.close(GONE)
                await self._around.conclude(effect)
            case _:
                assert_never(effect)

    def _watch(self, work: Awaitable[None]) -> None:
        if self._watching is not None:
            self._watching.cancel()
        self._watching = asyncio.ensure_future(work)

    def _remind(self, seconds: float, kind: type[talk.Waited | talk.Unready]) -> None:
        """Say so when this much time has passed."""

        async def remind() -> None:
            await asyncio.sleep(seconds)
            self._due.put_nowait(kind(at=self._now()))

        task = asyncio.create_task(remind())
        self._reminding.add(task)
        task.add_done_callback(self._reminding.discard)

    # --- what is put on record ---

    async def _settle(self, settle: talk.Settle) -> None:
        """Record it, then answer the agent: never the other way round."""
        try:
            await self._recording.call(settle)
        except Refusal as refusal:
            log.warning("call.unrecorded", reason=str(refusal))
            self._due.put_nowait(self._unrecorded(settle, refusal))
            return
        if is_door(settle.request_id):
            allowed = Permission(allowed=settle.verdict is Verdict.ALLOW, text=settle.text)
            self.callers.answer(settle.request_id, allowed)
        elif not settle.quiet:
            self._say(self._driver.answer(settle.request_id, settle.verdict, settle.text))

    def _unrecorded(self, settle: talk.Settle, refusal: Refusal) -> talk.Signal:
        if refusal.problem.status != _CONFLICT or settle.verdict is Verdict.DENY:
            return talk.Unstorable(at=self._now(), error=str(refusal))
        return talk.Unrecorded(at=self._now(), request_id=settle.request_id, call=settle.call)

    async def _reply(self, reply: talk.Reply) -> None:
        try:
            await self._recording.answer(reply)
        except Refusal as refusal:
            log.warning("question.unanswered", reason=str(refusal))
            self._due.put_nowait(talk.Unstorable(at=self._now(), error=str(refusal)))
            return
        if reply.request_id and not reply.quiet:
            self._say(self._driver.answer(reply.request_id, reply.verdict, reply.text))

    async def _name(self, session_id: str) -> None:
        around = self._around
        try:
            await self._recording.session(around.assignment.agent or "", session_id, around.store)
        except Refusal as refusal:
            log.warning("session.unnamed", reason=str(refusal))

    # --- asking ---

    async def _ask(self, ask: talk.Ask) -> None:
        """Ask people, unless the project has consented, and watch for what they decide."""
        grant_id = await self._granted(ask)
        if grant_id is not None:
            at, number = self._now(), ask.number
            self._due.put_nowait(talk.Granted(at=at, number=number, grant_id=grant_id))
            return
        await self._around.wait(True)  # noqa: FBT003 - a switch
        consent, deadline = self._around.consent, self._around.consent.deadline()
        draft, card = drafted(ask, self._around.assignment, deadline)
        try:
            confirmation_id = await consent.ask(draft, card, deadline)
        except Refusal as refusal:
            self._watch(self._unasked(ask.number, refusal))
        else:
            self._watch(self._await_decision(ask.number, confirmation_id))

    async def _granted(self, ask: talk.Ask) -> UUID | None:
        loop = isinstance(ask, talk.AskCall) and "budget" in ask.judged.gates
        if not isinstance(ask, talk.AskCall) or loop:
            return None
        return await self._around.grants.use(ask.call)

    async def _unasked(self, number: int, refusal: Refusal) -> None:
        """Say so, unless that is because the task is cancelled, or the lease over: we are told."""
        log.warning("confirmation.refused", reason=str(refusal))
        if refusal.problem.status == _CONFLICT:
            await asyncio.sleep(END_SEC)
        self._due.put_nowait(talk.Unasked(at=self._now(), number=number, error=str(refusal)))

    async def _await_decision(self, number: int, confirmation_id: UUID) -> None:
        try:
            async for decided in self._around.consent.looks(confirmation_id):
                if decided.decision is None:
                    self._due.put_nowait(talk.Waited(at=self._now()))
                    continue
                self._around.consent.pending = None
                await self._around.wait(False)  # noqa: FBT003 - a switch
                self._due.put_nowait(
                    talk.Answered(
                        at=self._now(),
                        number=number,
                        confirmation_id=confirmation_id,
                        decided=decided,
                    )
                )
        except Refusal as refusal:
            await self._unasked(number, refusal)

    async def _withdraw(self, reason: str) -> None:
        if self._watching is not None:
            self._watching.cancel()
        await self._around.wait(False)  # noqa: FBT003 - a switch
        await self._around.consent.withdraw(reason)

    async def _consult(self, consult: talk.Consult) -> None:
        text = await self._around.consult(consult.question)
        answered = talk.ProxyAnswered(at=self._now(), number=consult.number, text=text)
        self._due.put_nowait(answered)
