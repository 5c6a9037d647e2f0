"""Both doors on a real bus and a real log: what they answer to anything that can be sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime

import asyncpg
import msgspec
import pytest

from events import commands as do
from events import subjects
from events.problem import CONTENT_TYPE, Problem
from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.adapters.nats.jetstream import JetStream, Outgoing
from pandar_daemon.adapters.nats.messages import message
from pandar_daemon.adapters.nats.queue import QueueDoor
from pandar_daemon.adapters.nats.sender import NatsSender
from pandar_daemon.adapters.nats.service import ServiceDoor
from pandar_daemon.adapters.nats.wire import NatsWire
from pandar_daemon.domain.proof import prove
from pandar_daemon.ports import Message
from pandar_daemon.services.requests import BODY_MAX
from tests.support.bus import CLOCK, PATIENCE_SEC, connected, serving
from tests.support.clock import ManualClock
from tests.support.desk import OWNER, Desk, desk, filing, problem
from tests.support.tokens import claims, signed

CREATE = subjects.command("task.create")


@pytest.fixture
def clock() -> ManualClock:
    """Return a clock that stands at the present, as the bus has a real one."""
    return ManualClock(datetime.now(UTC))


@pytest.fixture
async def bus(nats_url: str) -> AsyncIterator[NatsConnection]:
    """Return a connection that is up."""
    async with connected(nats_url) as connection:
        yield connection


@pytest.fixture
async def one(database_url: str, clock: ManualClock, bus: NatsConnection) -> AsyncIterator[Desk]:
    """Return a process that answers at the service's door."""
    async with (
        desk(database_url, clock, wire=NatsWire(bus)) as opened,
        serving(ServiceDoor(bus), opened.endpoint.handle),
    ):
        yield opened


async def _send(
    bus: NatsConnection, subject: str, body: bytes, headers: Mapping[str, str]
) -> Message:
    """Return the whole answer to a request, its headers included."""
    return message(await bus.request(subject, body, headers, timeout_sec=PATIENCE_SEC))


async def test_an_accepted_command_is_answered_with_its_place(
    one: Desk, bus: NatsConnection
) -> None:
    """The body is `Accepted`; there is no error header."""
    headers = {"Pandar-Token": one.token(OWNER), "Pandar-Command-Id": "c"}
    body = msgspec.json.encode(do.CreateProject(name="p"))
    answer = await _send(bus, subjects.command("project.create"), body, headers)
    assert "nats-service-error-code" not in answer.headers
    assert msgspec.json.decode(answer.body) == {
        "stream": "project-1",
        "id": 1,
        "position": 1,
        "version": 1,
        "status": None,
    }
    again = await _send(bus, subjects.command("project.create"), body, headers)
    assert (again.body, again.headers) == (answer.body, answer.headers)


async def test_a_refusal_is_a_problem_with_service_headers(one: Desk, bus: NatsConnection) -> None:
    """Code, title, content type and body say the same."""
    task = await one.task(await one.project())
    headers = {"Pandar-Token": one.token(OWNER)}
    answer = await _send(bus, subjects.command("task.retry", None, task), b"", headers)
    assert answer.headers["nats-service-error-code"] == "409"
    assert answer.headers["nats-service-error"] == "Not possible in this state"
    assert answer.headers["content-type"] == CONTENT_TYPE
    assert msgspec.json.decode(answer.body, type=Problem) == Problem(
        type="urn:pandar:problem:conflict",
        title="Not possible in this state",
        status=409,
        detail=f"cannot retry task {task} while it is pending",
        state="pending",
    )


def _filing(**changed: object) -> bytes:
    whole = {"name": "t", "command": "true", "project_id": 1, **changed}
    return msgspec.json.encode(whole)


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 400, None),
        (b"\x00\xff\xfe", 400, None),
        (b"{", 400, None),
        (b"[" * 100_000, 400, None),
        (b"[]", 422, "body"),
        (b"null", 422, "body"),
        (b'{"name":"t","command":"true","project_id":1,"name":"u"}', 422, "name"),
        (_filing(prio="low"), 422, "prio"),
        (_filing(project_id="1"), 422, "project_id"),
        (_filing(project_id=0), 422, "project_id"),
        (_filing(project_id=2**70), 422, "project_id"),
        (_filing(name=""), 422, "name"),
        (_filing(name="n" * 201), 422, "name"),
        (_filing(name="a\0b"), 422, "name"),
        (_filing(command="c" * 10_001), 422, "command"),
        (_filing(command="a\0b"), 422, "command"),
        (_filing(command="cd / && sudo rm -r x"), 422, "command"),
        (_filing(priority="extreme"), 422, "priority"),
        (_filing(scheduled_at="2026-01-31T09:00:00"), 422, "scheduled_at"),
        (_filing(metadata={"agent": "nobody"}), 422, "metadata.agent"),
        (_filing(metadata={"timeout_sec": -1}), 422, "metadata.timeout_sec"),
        (_filing(metadata={"x": "y\0"}), 422, "metadata.x"),
        (b'{"name":"\\ud800","command":"true","project_id":1}', 400, None),
        (b" " * (BODY_MAX + 1), 413, None),
        (b"x" * 900_000, 413, None),
    ],
)
async def test_a_bad_body_is_told_by_field_and_rule(
    one: Desk, bus: NatsConnection, body: bytes, status: int, field: str | None
) -> None:
    """Malformed is a 400, against a rule a 422 that names the field; nothing happens."""
    await one.project()
    headers = {"Pandar-Token": one.token(OWNER)}
    refused = await problem(
        NatsSender(bus).ask(CREATE, body, headers=headers, timeout_sec=PATIENCE_SEC)
    )
    assert refused.status == status
    assert field is None or field in {error.field for error in refused.errors}
    assert (await one.log.store.head()).position == 1


async def test_the_longest_command_there_may_be_is_taken(one: Desk) -> None:
    """Ten thousand characters, each of four bytes, arrive in the log as they were sent."""
    project = await one.project()
    text = "\N{PILE OF POO}" * 10_000
    task = await one.task(project, command=text)
    assert msgspec.json.decode((await one.history(task))[0].data)["command"] == text


@pytest.mark.parametrize(
    ("headers", "status", "detail"),
    [
        ({}, 401, "a command needs a Pandar-Token header"),
        ({"Pandar-Token": ""}, 401, "the token cannot be read"),
        ({"Pandar-Token": "x" * 9_000}, 401, "the token is too long or no token at all"),
        ({"Pandar-Token": "a.b.c"}, 401, "the token cannot be read"),
        ({"Pandar-Command-Id": "a b"}, 400, "Pandar-Command-Id: expected 1 to 64 of A-Z a-z"),
        ({"Pandar-Command-Id": ""}, 400, "Pandar-Command-Id: expected 1 to 64 of A-Z a-z"),
        ({"Pandar-Command-Id": "c" * 65}, 400, "Pandar-Command-Id: expected 1 to 64 of A-Z"),
        ({"Pandar-Expected-Version": "one"}, 400, "Pandar-Expected-Version: expected a whole"),
        ({"Pandar-Expected-Version": "-1"}, 400, "Pandar-Expected-Version: expected a whole"),
        ({"Pandar-Expected-Version": "9" * 10}, 400, "Pandar-Expected-Version: expected a whole"),
    ],
)
async def test_bad_headers_are_told(
    one: Desk, headers: dict[str, str], status: int, detail: str
) -> None:
    """A header that cannot be used is named; it never counts as absent."""
    await one.project()
    if status != 401:
        headers = {"Pandar-Token": one.token(OWNER), **headers}
    refused = await problem(one.handle(CREATE, msgspec.json.encode(filing(1)), headers))
    assert refused.status == status
    assert refused.detail.startswith(detail)


async def test_only_a_valid_token_of_ours_opens(one: Desk, clock: ManualClock) -> None:
    """Foreign, expired, unsigned and refresh tokens do not; nor does a proof of the queue."""
    now = clock.now().timestamp()
    body = msgspec.json.encode(do.CreateProject(name="p"))
    subject = subjects.command("project.create")
    expired = one.tokens.mint("ann", ["admin"], -1)
    good = one.token(OWNER)
    for token in (
        expired,
        signed(claims(exp=now + 60), secret=b"x" * 32),
        signed(claims(exp=now + 60), alg="none"),
        signed(claims(exp=now + 60, type="refresh")),
        prove(good, subject=subject, command_id="c", body=body),
        good[:-2],
    ):
        refused = await problem(one.handle(subject, body, {"Pandar-Token": token}))
        assert refused.status == 401
        assert token not in refused.detail
    assert (await one.log.store.head()).position == 0


@pytest.mark.parametrize(
    ("subject", "status"),
    [
        ("pandar.v1.cmd.task.explode._.1", 404),
        ("pandar.v1.cmd.run.claim._.r1", 404),
        ("pandar.v1.cmd.claim._._._", 404),
        ("pandar.v1.cmd.task.start._.abc", 404),
        ("pandar.v1.cmd.task.start._.0", 404),
        ("pandar.v1.cmd.task.start._.99999999999999999999", 404),
        ("pandar.v1.cmd.task.start.abc.1", 404),
        ("pandar.v1.cmd.task.start._._", 400),
        ("pandar.v1.cmd.task.create._.7", 400),
        ("pandar.v1.cmd.task.start._", 400),
        ("pandar.v1.cmd.task.start._.1.2", 400),
        ("pandar.v1.cmd", 400),
        ("pandar.v1.run.explode.r1", 404),
        ("pandar.v1.run.claim", 400),
        ("pandar.v1.run.claim.a.b", 400),
        ("pandar.v1.run.claim.ř", 400),
        ("elsewhere", 400),
    ],
)
async def test_garbage_subjects_are_refused(one: Desk, subject: str, status: int) -> None:
    """Whatever the subject, it is a refusal that says what is wrong with it."""
    refused = await problem(one.handle(subject, b"{}", {"Pandar-Token": one.token("admin:a")}))
    assert refused.status == status
    assert refused.detail


async def test_a_fault_of_ours_tells_nothing(
    one: Desk, bus: NatsConnection, database_url: str
) -> None:
    """An exception nobody expected is a 500 without any of its text, and the door stays open."""
    headers = {"Pandar-Token": one.token(OWNER)}
    administrator = await asyncpg.connect(database_url)
    await administrator.execute("ALTER TABLE streams RENAME TO hidden")
    subject = subjects.command("task.start", None, 1)
    answer = await _send(bus, subject, b"", headers)
    assert answer.headers["nats-service-error-code"] == "500"
    assert msgspec.json.decode(answer.body) == {
        "type": "urn:pandar:problem:internal",
        "title": "Internal error",
        "status": 500,
    }
    await administrator.execute("ALTER TABLE hidden RENAME TO streams")
    await administrator.close()
    assert (await _send(bus, subject, b"", headers)).headers["nats-service-error-code"] == "404"


# --- the queue -------------------------------------------------------------------------------


class Queue:
    """Leaves commands in the queue and reads their results."""

    def __init__(self, bus: NatsConnection, one: Desk) -> None:
        self.bus = bus
        self.one = one

    async def leave(
        self, subject: str, body: bytes, command_id: str, token: str, **headers: str
    ) -> None:
        """Store a command with a proof by ``token``; further headers as ``Pandar_Name``."""
        proof = prove(token, subject=subject, command_id=command_id, body=body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        whole = {"Pandar-Command-Id": command_id, "Pandar-Proof": proof, **named}
        ack = await JetStream(self.bus).store(Outgoing(subject=subject, body=body, headers=whole))
        assert ack.error is None

    async def result(self, command_id: str) -> Message:
        """Serve the queue until this command has a result, and return it."""
        subject = subjects.result(command_id)
        async with (
            NatsWire(self.bus).subscribe(subject) as results,
            serving(QueueDoor(self.bus, CLOCK), self.one.endpoint.handle),
            asyncio.timeout(PATIENCE_SEC),
        ):
            return await anext(results)


@pytest.fixture
async def queue(bus: NatsConnection, one: Desk) -> Queue:
    """Return a queue whose streams are made; nobody serves it."""
    async with serving(QueueDoor(bus, CLOCK), one.endpoint.handle):
        pass
    return Queue(bus, one)


async def test_a_queued_command_is_its_senders(one: Desk, queue: Queue, clock: ManualClock) -> None:
    """Left with a proof while nobody serves, it is done later, though the token has expired."""
    project = await one.project()
    subject, body = subjects.queued("task.create"), msgspec.json.encode(filing(project))
    await queue.leave(subject, body, "q1", one.token(OWNER))
    clock.advance(7 * 24 * 3_600)
    result = await queue.result("q1")
    accepted = msgspec.json.decode(result.body, type=do.Accepted)
    created = (await one.history(int(accepted.id)))[0]
    assert (created.actor, created.command_id) == (OWNER, "q1")


async def test_a_queued_command_and_an_asked_one_are_the_same(one: Desk, queue: Queue) -> None:
    """One command id is one command, whichever door it comes through."""
    body = msgspec.json.encode(do.CreateProject(name="p"))
    await queue.leave(subjects.queued("project.create"), body, "both", one.token(OWNER))
    queued = msgspec.json.decode((await queue.result("both")).body, type=do.Accepted)
    assert await one.ask(OWNER, "project.create", body, cid="both") == queued


async def test_a_forged_time_does_not_help_an_expired_token(one: Desk, queue: Queue) -> None:
    """When it was queued is what the server says, whatever the sender's headers say."""
    expired = one.tokens.mint("ann", ["admin"], -3_600)
    then = "2026-01-01T00:00:00Z"
    body = msgspec.json.encode(do.CreateProject(name="p"))
    subject = subjects.queued("project.create")
    await queue.leave(
        subject, body, "late", expired, pandar_queued_at=then, Pandar_Queued_At=then, queued_at=then
    )
    refused = msgspec.json.decode((await queue.result("late")).body, type=Problem)
    assert (refused.status, refused.detail) == (401, "the token has expired")


@pytest.mark.parametrize(
    ("subject", "status"),
    [
        ("pandar.v1.queue.task.explode._.1", 404),
        ("pandar.v1.queue.task", 400),
        ("pandar.v1.queue.run.claim._.r1", 404),
        ("pandar.v1.queue.task.start._.1", 404),
    ],
)
async def test_garbage_in_the_queue_gets_a_result(
    one: Desk, queue: Queue, subject: str, status: int
) -> None:
    """What cannot be done is answered once and is gone; a runner's claim has no place there."""
    await queue.leave(subject, b"{}", "garbage", one.token("admin:a"))
    result = await queue.result("garbage")
    assert result.headers["nats-service-error-code"] == str(status)


async def test_a_token_is_no_proof_and_a_proof_of_another_command_is_none(
    one: Desk, queue: Queue
) -> None:
    """The queue takes a proof of this very command and nothing else."""
    body, token = msgspec.json.encode(do.CreateProject(name="p")), one.token(OWNER)
    subject = subjects.queued("project.create")
    other = prove(token, subject=subject, command_id="c2", body=body)
    for number, proof in enumerate((token, other, "", "a.b.c")):
        await queue.leave(subject, body, f"bad-{number}", token, Pandar_Proof=proof)
        refused = msgspec.json.decode((await queue.result(f"bad-{number}")).body, type=Problem)
        assert refused.status == 401
    assert (await one.log.store.head()).position == 0
