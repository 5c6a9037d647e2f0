"""A command that asks on its terminal is answered: by another agent, or by people."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from msgspec import Struct

from events.commands import Decision
from events.running import AnswerQuestion, Assignment, Decided
from pandar_daemon.domain.card import question_card
from pandar_daemon.domain.prompts import Prompts, reply
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.ports import Clock, Talk
from pandar_daemon.services.cards import subject_of
from pandar_daemon.services.consent import Consent, Draft
from pandar_daemon.services.line import Line

log = structlog.get_logger(__name__)

LOOK_SEC: Final = 0.25


class Answers(Struct, frozen=True, kw_only=True):
    """Where answers come from: ``consult`` asks another agent, ``limit`` times at most."""

    assignment: Assignment
    line: Line
    consent: Consent
    clock: Clock
    wait: Callable[[bool], Awaitable[None]]
    consult: Callable[[str], Awaitable[str | None]]
    proxy: str
    limit: int


class Questions:
    """Watches one terminal. Whoever asks and then goes on by itself is not answered."""

    def __init__(self, talk: Talk, answers: Answers) -> None:
        self._talk = talk
        self._answers = answers
        self._prompts = Prompts()
        self._asking: asyncio.Task[None] | None = None
        self._consulted = 0

    def feed(self, data: bytes, at: float) -> None:
        """Take what it showed next."""
        self._prompts.feed(data, at)
        if self._asking is not None and not self._asking.cancelling():
            self._asking.cancel()  # once: then it takes back what it asked

    async def run(self) -> None:
        """Look for questions until cancelled."""
        while True:
            at = self._answers.clock.boottime()
            if self._prompts.is_quiet(at):
                question = self._prompts.question(at, is_read=self._talk.is_awaited())
                if question is not None:
                    await self._attend(question)
            await asyncio.sleep(LOOK_SEC)

    async def _attend(self, question: str) -> None:
        """Get it answered, unless it goes on by itself meanwhile."""
        self._asking = asking = asyncio.create_task(self._answer(question))
        try:
            await asyncio.wait({asking})
        finally:
            self._asking = None
            if not asking.done():  # the command is over, and with it what was asked
                self._answers.consent.pending = None
                asking.cancel()

    async def _answer(self, question: str) -> None:
        try:
            text = await self._consult(question)
            if text is not None:
                said = Decided(decision=Decision.APPROVE, reason=text, by=self._answers.proxy)
            else:
                said = await self._ask(question)
            await self._type(question, said)
        except Refusal as refusal:  # it is being cancelled, or its lease is over
            log.info("question.unanswered", reason=str(refusal))

    async def _consult(self, question: str) -> str | None:
        if self._consulted >= self._answers.limit:
            return None
        self._consulted += 1
        return await self._answers.consult(question)

    async def _ask(self, question: str) -> Decided:
        answers, consent = self._answers, self._answers.consent
        async with consent.alone("the command went on by itself"):
            await answers.wait(True)  # noqa: FBT003 - a switch
            try:
                deadline = consent.deadline()
                card = question_card(subject_of(answers.assignment), question, (), deadline)
                confirmation_id = await consent.ask(Draft(gate="question"), card, deadline)
                return await consent.decision(confirmation_id)
            finally:
                await answers.wait(False)  # noqa: FBT003 - a switch

    async def _type(self, question: str, decided: Decided) -> None:
        keys = reply(question, decided)
        held = self._answers.line.held
        told = AnswerQuestion(
            task_id=held.task_id,
            execution_id=held.execution_id,
            epoch=held.epoch,
            question=question[-2_000:],
            answer="(interrupted)" if keys == b"\x03" else keys.decode().strip()[:2_000],
            by=(decided.by or "user")[:80],
        )
        await self._answers.line.insist("answered", told)
        await self._talk.write(keys)
