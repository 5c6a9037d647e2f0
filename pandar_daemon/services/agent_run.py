"""One agent process at work: carries between its driver, its conversation and the daemon."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import assert_never
from uuid import UUID

import structlog
from msgspec import Struct

from events.commands import REASON_MAX
from events.running import AnswerQuestion, Assignment, OpenSession, RecordCall
from pandar_daemon.domain import talking as talk
from pandar_daemon.domain.card import Subject, budget_card, call_card, question_card
from pandar_daemon.domain.conversation import Conversation
from pandar_daemon.domain.hearing import TurnEnded
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.ports import Clock, Driver, Talk
from pandar_daemon.services.consent import Consent, Draft
from pandar_daemon.services.line import Line

log = structlog.get_logger(__name__)

FAREWELL_SEC = 1.0
"""What an agent may take to end its turn before its process is ended."""


class Surroundings(Struct, frozen=True, kw_only=True):
    """What a run needs besides the agent.

    ``show`` adds to the task's output, ``conclude`` ends the process, ``wait`` says whether people
    are being asked, ``consult`` asks another agent.
    """

    assignment: Assignment
    store: str
    line: Line
    consent: Consent
    clock: Clock
    show: Callable[[bytes], Awaitable[None]]
    conclude: Callable[[talk.Conclude], Awaitable[None]]
    wait: Callable[[bool], Awaitable[None]]
    consult: Callable[[str], Awaitable[str | None]]


class AgentRun:
    """The conversation with one agent process, from its first word to its last."""

    def __init__(
        self, talking: Talk, driver: Driver, conversation: Conversation, around: Surroundings
    ) -> None:
        self._talk = talking
        self._driver = driver
        self._conversation = conversation
        self._around = around
        self._signals: asyncio.Queue[talk.Signal | None] = asyncio.Queue()
        self._asking: set[asyncio.Task[None]] = set()
        self._turn_over = asyncio.Event()

    async def run(self, cwd: str, session_id: str) -> None:
        """Return when the agent has said its last, and all that followed from it was done."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._work())
                await self._talk.write(self._driver.open(cwd, session_id))
                await self._listen()
                self._signals.put_nowait(None)
        finally:
            for task in self._asking:
                task.cancel()

    def park(self) -> bool:
        """Let who waits be parked; false when nobody waits."""
        if not self._conversation.can_park:
            return False
        self._signals.put_nowait(talk.ParkNow(at=self._now()))
        return True

    async def farewell(self) -> None:
        """End the turn: answer what is open, and give the agent a moment to take note."""
        self._turn_over.clear()
        await self._talk.write(self._driver.cancel())
        try:
            async with asyncio.timeout(FAREWELL_SEC):
                await self._turn_over.wait()
        except TimeoutError:
            pass

    def _now(self) -> float:
        return self._around.clock.boottime()

    async def _listen(self) -> None:
        while True:
            data = await self._talk.read()
            heard, reply = self._driver.receive(data)
            if reply:
                await self._talk.write(reply)
            for each in heard:
                if isinstance(each, TurnEnded):
                    self._turn_over.set()
                self._signals.put_nowait(talk.Hears(at=self._now(), heard=each))
            if not data:
                self._turn_over.set()
                return

    async def _work(self) -> None:
        while (signal := await self._signals.get()) is not None:
            for effect in self._conversation.receive(signal):
                await self._perform(effect)

    async def _perform(self, effect: talk.Effect) -> None:  # noqa: C901 - a table
        match effect:
            case talk.Prompt(text):
                await self._talk.write(self._driver.prompt(text))
            case talk.CancelTurn():
                await self._talk.write(self._driver.cancel())
            case talk.Show(text):
                await self._around.show(text.encode(errors="replace"))
            case talk.Settle():
                await self._settle(effect)
            case talk.Reply():
                await self._reply(effect)
            case talk.Consult(question):
                self._begin(self._consult(question))
            case talk.AskCall() | talk.AskQuestion() | talk.AskBudget():
                await self._around.wait(True)  # noqa: FBT003 - a switch
                self._begin(self._ask(effect))
            case talk.Withdraw(reason):
                await self._withdraw(reason)
            case talk.Name(session_id):
                await self._name(session_id)
            case talk.Conclude():
                await self._around.conclude(effect)
            case _:
                assert_never(effect)

    def _begin(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        self._asking.add(task)
        task.add_done_callback(self._asking.discard)

    # --- what is done about a call ---

    async def _settle(self, settle: talk.Settle) -> None:
        """Record it, then answer the agent: never the other way round."""
        held = self._around.line.held
        record = RecordCall(
            task_id=held.task_id,
            execution_id=held.execution_id,
            epoch=held.epoch,
            call=settle.call,
            verdict=settle.verdict,
            rule=settle.rule[:200],
            gates=list(settle.gates),
            confirmation_id=settle.confirmation_id,
            grant_id=settle.grant_id,
            reason=settle.text[:REASON_MAX],
        )
        try:
            await self._around.line.insist("record", record)
        except Refusal as refusal:
            log.warning("call.unrecorded", task=held.task_id, reason=str(refusal))
            again = talk.Unrecorded(at=self._now(), request_id=settle.request_id, call=settle.call)
            self._signals.put_nowait(again)
            return
        answer = self._driver.answer(settle.request_id, settle.verdict, settle.text)
        await self._talk.write(answer)

    async def _reply(self, reply: talk.Reply) -> None:
        held = self._around.line.held
        told = AnswerQuestion(
            task_id=held.task_id,
            execution_id=held.execution_id,
            epoch=held.epoch,
            question=reply.question[:2_000],
            answer=reply.text[:2_000],
            by=reply.by[:80],
        )
        try:
            await self._around.line.insist("answered", told)
        except Refusal as refusal:
            log.warning("question.unanswered", task=held.task_id, reason=str(refusal))
            return
        await self._talk.write(self._driver.answer(reply.request_id, reply.verdict, reply.text))

    async def _name(self, session_id: str) -> None:
        held = self._around.line.held
        opened = OpenSession(
            task_id=held.task_id,
            execution_id=held.execution_id,
            epoch=held.epoch,
            agent=self._around.assignment.agent or "",
            session_id=session_id[:200],
            store=self._around.store,
        )
        try:
            await self._around.line.insist("session", opened)
        except Refusal as refusal:
            log.warning("session.unnamed", task=held.task_id, reason=str(refusal))

    # --- asking ---

    async def _ask(self, ask: talk.AskCall | talk.AskQuestion | talk.AskBudget) -> None:
        consent, deadline = self._around.consent, self._around.consent.deadline()
        subject = subject_of(self._around.assignment)
        match ask:
            case talk.AskCall():
                gate = ask.judged.gates[0] if ask.judged.gates else "unclassified"
                draft = Draft(gate=gate, call_sha256=ask.call.sha256)
                card = call_card(subject, ask.call, ask.judged, deadline, intent=ask.intent)
            case talk.AskQuestion():
                draft = Draft(gate="question")
                card = question_card(subject, ask.text, ask.choices, deadline)
            case talk.AskBudget():
                draft = Draft(gate="budget")
                card = budget_card(subject, ask.spent, ask.limits, deadline, why=ask.why)
        try:
            confirmation_id = await consent.ask(draft, card, deadline)
            await self._await_decision(confirmation_id)
        except Refusal as refusal:  # it is being cancelled, or the lease is over
            log.info("confirmation.refused", reason=str(refusal))

    async def _await_decision(self, confirmation_id: UUID) -> None:
        async for decided in self._around.consent.looks(confirmation_id):
            if decided.decision is None:
                self._signals.put_nowait(talk.Waited(at=self._now()))
                continue
            self._around.consent.pending = None
            await self._around.wait(False)  # noqa: FBT003 - a switch
            self._signals.put_nowait(
                talk.Answered(at=self._now(), confirmation_id=confirmation_id, decided=decided)
            )

    async def _withdraw(self, reason: str) -> None:
        for task in list(self._asking):
            task.cancel()
        await self._around.wait(False)  # noqa: FBT003 - a switch
        await self._around.consent.withdraw(reason)

    async def _consult(self, question: str) -> None:
        text = await self._around.consult(question)
        self._signals.put_nowait(talk.ProxyAnswered(at=self._now(), text=text))


def subject_of(assignment: Assignment) -> Subject:
    """Return what a card is about."""
    return Subject(
        task_id=assignment.task_id,
        task_name=assignment.name,
        project_id=assignment.project_id,
        agent=assignment.agent or "",
        attempt=assignment.attempt,
    )
