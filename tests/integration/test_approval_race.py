"""Two approvers at the same moment, one by a link in a browser, one on the bus: one decides."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest
from msgspec import Struct

from events import commands as do
from events import subjects
from events.commands import Decision
from events.running import Assignment
from pandar_daemon.adapters.http.deps import Limits
from pandar_daemon.adapters.nats.sender import NatsSender
from pandar_daemon.config import Settings
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.services.asking import Asker
from pandar_daemon.wiring.parts import parts
from pandar_daemon.wiring.places import Place
from tests.support.api import Api, Person, running_api
from tests.support.approvals import Seen, Visitor, Waiting, asked, running
from tests.support.in_process import in_process

pytestmark = [
    pytest.mark.servers,
    pytest.mark.xdist_group("servers"),
    pytest.mark.timeout(600),
]

TASKS = 25
ROUNDS = 40
"""On each task, one after the other: 1,000 in all."""
LATE_MAX = 40
"""How many round trips on the bus the one there may be late: a page takes its time."""

SAID = {
    Decision.APPROVE: ("Approved", "task.confirmed"),
    Decision.DENY: ("Denied", "task.denied"),
}


class Outcome(Struct):
    """What the two were told, and what the log has."""

    page: Seen
    refused: str | None
    by_page: Decision
    by_bus: Decision
    recorded: list[str]

    @property
    def won(self) -> str:
        """Return who decided; fails unless both were told the same, and it is what happened."""
        page_won = self.page.status == 200
        assert page_won == (self.refused is not None), (self.page.status, self.refused)
        decision, by = (self.by_page, "ann") if page_won else (self.by_bus, "bob")
        shown, event = SAID[decision]
        assert self.page.has(shown, f"by {by}"), self.page.words
        assert self.recorded == [event]
        if self.refused is not None:
            assert f"already decided by ann: {decision}" in self.refused
        return "page" if page_won else "bus"


MANY = Limits(requests_per_minute=1_000_000, failures_per_minute=1_000_000)


@pytest.fixture
async def api(database_url: str, nats_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """Return a running API, with two processes' worth of what answers commands behind it."""
    async with (
        running_api(database_url, nats_url, tmp_path, limits=MANY) as api,
        _another(database_url, nats_url, tmp_path),
    ):
        yield api


@asynccontextmanager
async def _another(database_url: str, nats_url: str, data: Path) -> AsyncIterator[None]:
    """Answer commands beside the others: with connections and memories of its own."""
    place = Place(database_url=database_url, nats_url=nats_url)
    async with parts(Settings(data=data), place, "other") as made, in_process(made, ["commands"]):
        yield


@pytest.fixture
async def ann(api: Api) -> Person:
    """Return ann, who owns project 1, in which bob manages."""
    ann = api.person("ann")
    project = await ann.project()
    await ann.post(f"/projects/{project}/members", {"user": "bob", "role": "manager"})
    return ann


async def test_of_two_approvers_one_decides(api: Api, ann: Person) -> None:
    """In 1,000 of 1,000 races: one winner, one event in the log, both told the same."""
    works = [await running(api, ann, 1) for _ in range(TASKS)]
    won: Counter[str] = Counter()
    async with asyncio.TaskGroup() as group:
        for number, work in enumerate(works):
            group.create_task(_rounds(api, ann, work, random.Random(number), won))
    assert won.total() == TASKS * ROUNDS
    assert min(won["page"], won["bus"]) > TASKS, won


async def _rounds(
    api: Api, ann: Person, work: Assignment, rng: random.Random, won: Counter[str]
) -> None:
    bob = api.person("bob")
    asker = Asker(NatsSender(api.parts.connection), lambda: bob.token)
    for _ in range(ROUNDS):
        waiting = await asked(api, ann, work)
        won[(await _race(waiting, asker, rng)).won] += 1


async def _race(waiting: Waiting, asker: Asker, rng: random.Random) -> Outcome:
    visitor = Visitor(waiting.api.session)
    page = await visitor.get(await waiting.link())
    by_page, by_bus = rng.sample([Decision.APPROVE, Decision.DENY], 2)
    late = rng.randrange(LATE_MAX)
    seen, refused = await asyncio.gather(
        visitor.press(page, by_page), _on_the_bus(waiting, asker, by_bus, late)
    )
    return Outcome(seen, refused, by_page, by_bus, await _recorded(waiting))


async def _on_the_bus(waiting: Waiting, asker: Asker, decision: Decision, late: int) -> str | None:
    """Decide as bob, and return with which words that was refused, if it was."""
    for _ in range(late):
        await waiting.api.parts.wire.rtt()
    subject = subjects.command("task.confirm", 1, waiting.task_id)
    order = do.ConfirmTask(decision=decision, confirmation_id=waiting.confirmation_id)
    command_id = str(waiting.api.parts.clock.new_id())
    try:
        await asker.ask(subject, msgspec.json.encode(order), command_id)
    except Refusal as refusal:
        return refusal.problem.detail
    return None


async def _recorded(waiting: Waiting) -> list[str]:
    """Return the decisions the log has of this confirmation."""
    history = await waiting.api.parts.store.read_stream(f"task-{waiting.task_id}")
    decisions = {event for _, event in SAID.values()}
    this = str(waiting.confirmation_id).encode()
    return [e.type for e in history if e.type in decisions and this in bytes(e.data)]
