"""Commands on a real log: the first answer for ever, whoever races, whatever process answers."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Sequence

import msgspec
import pytest

from events import commands as do
from events.problem import Problem
from pandar_daemon.adapters.postgres import lane
from pandar_daemon.domain.access import Principal
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.services import commands as service
from pandar_daemon.services.requests import Request
from tests.support.clock import ManualClock
from tests.support.desk import OWNER, Desk, desk, filing, problem
from tests.support.servers import TestServers

RENAME = do.UpdateTask(name="renamed")


@pytest.fixture
async def one(database_url: str, clock: ManualClock) -> AsyncIterator[Desk]:
    """Return a process that answers."""
    async with desk(database_url, clock) as opened:
        yield opened


@pytest.fixture
async def other(database_url: str, clock: ManualClock) -> AsyncIterator[Desk]:
    """Return another process that answers on the same log."""
    async with desk(database_url, clock) as opened:
        yield opened


async def test_an_answer_says_where_its_event_is(one: Desk) -> None:
    """Stream, id, position, version and status are those of the log."""
    project = await one.project()
    answer = await one.ask(OWNER, "task.create", filing(project))
    event = (await one.history(int(answer.id)))[-1]
    assert (answer.stream, answer.version, answer.position) == (
        event.stream,
        event.version,
        event.position,
    )
    assert answer.status == "pending"
    assert (event.actor, event.project_id) == (OWNER, project)


async def test_a_command_id_gets_the_first_answer_in_every_process(one: Desk, other: Desk) -> None:
    """Repeated at once, elsewhere, and after all has changed, the answer is the same."""
    project = await one.project()
    create = filing(project)
    first = await one.ask(OWNER, "task.create", create, cid="file")
    task = int(first.id)
    assert await one.ask(OWNER, "task.create", create, cid="file") == first
    await one.ask(OWNER, "task.cancel", target=task)
    await one.ask(OWNER, "task.delete", target=task)
    assert await one.ask(OWNER, "task.create", create, cid="file") == first
    assert await other.ask(OWNER, "task.create", create, cid="file") == first
    assert (await one.told(task)).count("task.created") == 1


async def test_a_repeat_outlives_the_right_to_ask(one: Desk, other: Desk) -> None:
    """Who has lost access still learns what became of what they did."""
    project = await one.project()
    add = do.AddMember(user="bob")
    await one.ask(OWNER, "project.add_member", add, target=project)
    first = await one.ask("user:bob", "task.create", filing(project), cid="b")
    await one.ask(OWNER, "project.remove_member", do.RemoveMember(user="bob"), target=project)
    assert await other.ask("user:bob", "task.create", filing(project), cid="b") == first


async def test_a_refusal_is_an_answer_for_ever(one: Desk, other: Desk) -> None:
    """A retry that was refused stays refused, word for word, though it could be done now."""
    task = await one.task(await one.project())
    said = await problem(one.ask(OWNER, "task.retry", target=task, cid="r"))
    assert (said.status, said.state) == (409, "pending")
    await one.ask(OWNER, "task.cancel", target=task)
    for desk_ in (one, other):
        assert await problem(desk_.ask(OWNER, "task.retry", target=task, cid="r")) == said
    assert (await one.ask(OWNER, "task.retry", target=task, cid="new")).status == "pending"


async def test_an_early_refusal_is_no_answer_yet(one: Desk) -> None:
    """What was malformed, or not allowed, may be asked again under the same id."""
    project = await one.project()
    refused = await problem(one.ask(OWNER, "task.create", b"{}", cid="c"))
    assert refused.status == 422
    refused = await problem(one.ask("user:bob", "task.create", filing(project), cid="c"))
    assert refused.status == 404
    assert (await one.ask(OWNER, "task.create", filing(project), cid="c")).version == 2


async def test_a_command_id_belongs_to_one_request(one: Desk, other: Desk) -> None:
    """Another body, target, action or caller under it is refused, and has no effect."""
    project = await one.project()
    task, second = await one.task(project), await one.task(project)
    await one.ask(OWNER, "task.update", RENAME, target=task, cid="u")
    await one.ask(OWNER, "project.add_member", do.AddMember(user="bob"), target=project)
    before = (await one.log.store.head()).position
    for asked in (
        one.ask(OWNER, "task.update", do.UpdateTask(name="x"), target=task, cid="u"),
        one.ask(OWNER, "task.update", RENAME, target=second, cid="u"),
        one.ask(OWNER, "task.delete", target=task, cid="u"),
        one.ask("user:bob", "task.update", RENAME, target=task, cid="u"),
        other.ask(OWNER, "task.create", filing(project), cid="u"),
    ):
        refused = await problem(asked)
        assert (refused.status, refused.type) == (409, "urn:pandar:problem:command-id-reused")
    assert (await one.log.store.head()).position == before


async def test_the_way_a_body_is_written_does_not_matter(one: Desk) -> None:
    """The same values in another order and spacing are the same request."""
    project = await one.project()
    written = b'{"name":"t","command":"true","project_id":%d}' % project
    first = await one.ask(OWNER, "task.create", written, cid="w")
    again = b' {"project_id": %d, "command": "tr\\u0075e",\n "name": "t"}' % project
    assert await one.ask(OWNER, "task.create", again, cid="w") == first


async def test_one_command_sent_twenty_times_at_once_has_one_effect(one: Desk, other: Desk) -> None:
    """Racing under one id, in two processes, all get one and the same answer."""
    project = await one.project()
    create = filing(project)
    answers = await asyncio.gather(
        *(
            each.ask(OWNER, "task.create", create, cid="same")
            for each in (one, other)
            for _ in range(20)
        )
    )
    assert len({answer.stream for answer in answers}) == 1
    assert all(answer == answers[0] for answer in answers)
    created = [e for e in await one.log.everything() if e.type == "task.created"]
    assert len(created) == 1


async def test_a_race_on_one_task_leaves_no_one_unanswered(one: Desk, other: Desk) -> None:
    """Fifty updates by two processes, whose caches are stale in turn, all happen, in some order."""
    task = await one.task(await one.project())
    await other.ask(OWNER, "task.update", RENAME, target=task)

    async def update(n: int) -> do.Accepted:
        asked = (one, other)[n % 2]
        return await asked.ask(OWNER, "task.update", do.UpdateTask(name=f"n{n}"), target=task)

    answers = await asyncio.gather(*map(update, range(50)))
    assert sorted(answer.version for answer in answers) == list(range(4, 54))
    assert [event.version for event in await one.history(task)] == list(range(1, 54))


async def test_decisions_race_and_one_wins(one: Desk, other: Desk) -> None:
    """Ten cancel and ten delete at once: each is answered or refused, and the log makes sense."""
    task = await one.task(await one.project(), auto_start=False)
    asked = [
        each.ask(OWNER, action, target=task)
        for _ in range(5)
        for each in (one, other)
        for action in ("task.cancel", "task.delete")
    ]
    outcomes = await asyncio.gather(*asked, return_exceptions=True)
    refused = [o.problem.status for o in outcomes if isinstance(o, Refusal)]
    assert all(isinstance(o, do.Accepted | Refusal) for o in outcomes)
    assert set(refused) <= {404, 409}
    told = Counter(await one.told(task))
    assert told["task.deleted"] == 1
    assert told["task.cancelled"] <= 1


async def test_no_is_never_said_on_a_stale_state(one: Desk, other: Desk) -> None:
    """What looks impossible from the cache is looked at again before it is refused."""
    task = await one.task(await one.project())
    await other.ask(OWNER, "task.cancel", target=task)
    assert (await one.ask(OWNER, "task.retry", target=task)).status == "pending"


async def test_yes_is_never_said_on_a_stale_state(one: Desk, other: Desk) -> None:
    """What looks possible, or done already, from the cache is judged by the log's version."""
    project = await one.project()
    task, queued = await one.task(project, auto_start=False), await one.task(project)
    await other.ask(OWNER, "task.cancel", target=task)
    await other.ask(OWNER, "task.cancel", target=queued)
    for number in (task, queued):
        assert (await problem(one.ask(OWNER, "task.start", target=number))).state == "cancelled"


async def test_an_expected_version_is_a_condition(one: Desk, other: Desk) -> None:
    """Changed meanwhile, by whatever process, it is a 412; and that answer is kept."""
    task = await one.task(await one.project(), auto_start=False)
    await one.ask(OWNER, "task.update", RENAME, target=task, version=1)
    for asked in (one, other):
        refused = await problem(
            asked.ask(OWNER, "task.start", target=task, version=1, cid="condition")
        )
        assert (refused.status, refused.detail) == (
            412,
            "expected version 1, it is at 2; read it again",
        )
    await other.ask(OWNER, "task.update", do.UpdateTask(name="again"), target=task, version=2)
    assert (await one.ask(OWNER, "task.start", target=task, version=3)).version == 4


async def test_a_refusal_in_a_race_is_kept_or_judged_anew(
    one: Desk, other: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state that changes between the refusal and its keeping is not what is refused."""
    task = await one.task(await one.project())
    receipts = one.log.store.receipts

    async def changed_meanwhile(command_ids: Sequence[str]) -> object:
        await other.ask(OWNER, "task.cancel", target=task, cid="cancel")
        return await receipts(command_ids)

    monkeypatch.setattr(one.log.store, "receipts", changed_meanwhile)
    answer = await one.ask(OWNER, "task.retry", target=task, cid="retry")
    assert answer.status == "pending"
    assert await other.ask(OWNER, "task.retry", target=task, cid="retry") == answer


async def test_what_the_log_cannot_store_is_a_fault_of_the_request(one: Desk) -> None:
    """A value past all checks that Postgres refuses is a clear 422; others are not disturbed."""
    project = await one.project()
    request = Request(
        action="task.create",
        target=None,
        project=None,
        runner="",
        principal=Principal("ann\0", frozenset({"admin"})),  # type: ignore[arg-type]
        command=filing(project),
        command_id="unstorable",
        sha256=b"",
        correlation_id=None,
        causation_id=None,
        traceparent=None,
        expected_version=None,
        body=b"",
    )
    refused, filed = await asyncio.gather(problem(one.commands.execute(request)), one.task(project))
    assert refused.status == 422
    assert [(e.field, e.rule) for e in refused.errors] == [
        ("body", "holds what the log cannot store")
    ]
    assert filed


async def test_without_the_database_a_command_is_unavailable_and_works_later(
    one: Desk, servers: TestServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Down: a 503 that names no host and no error. Up again: the same id, once."""
    monkeypatch.setattr(lane, "RETRY_SEC", 0.0)
    project = await one.project()
    task = await one.task(project)

    def asked() -> list[Awaitable[do.Accepted]]:
        return [
            one.ask(OWNER, "task.create", filing(project), cid="create"),
            one.ask(OWNER, "task.cancel", target=task, cid="cancel"),
            one.ask(OWNER, "project.create", do.CreateProject(name="q"), cid="project"),
        ]

    await servers.kill_postgres()
    told = await asyncio.gather(*map(problem, asked()))
    assert {(each.status, each.detail) for each in told} == {
        (503, "the database is away; send it again with the same command id")
    }
    await servers.start_postgres()
    answers = [await each for each in asked()]
    assert [answer.status for answer in answers] == ["pending", "cancelled", None]
    assert (await one.told(task)).count("task.cancelled") == 1


async def test_too_much_at_once_is_unavailable(
    one: Desk, other: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is overtaken at every try is told to ask again, and may."""
    task = await one.task(await one.project())
    monkeypatch.setattr(service, "TRIES", 1)
    await other.ask(OWNER, "task.update", RENAME, target=task)
    refused = await problem(one.ask(OWNER, "task.cancel", target=task, cid="c"))
    assert refused.status == 503
    monkeypatch.undo()
    assert (await one.ask(OWNER, "task.cancel", target=task, cid="c")).status == "cancelled"


async def test_a_kept_refusal_reads_back_as_it_was(one: Desk) -> None:
    """The problem in the receipt is the problem that was told, byte for byte."""
    task = await one.task(await one.project())
    said = await problem(one.ask(OWNER, "task.retry", target=task, cid="r"))
    (receipt,) = await one.log.store.receipts(["r"])
    kept = msgspec.json.decode(receipt.answer, type=dict[str, Problem])
    assert kept == {"problem": said}
