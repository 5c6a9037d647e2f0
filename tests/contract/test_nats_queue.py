"""The queue keeps commands for a daemon that is down, and answers on the result subject."""

from __future__ import annotations

import asyncio
import json

import pytest
from nats.aio.msg import Msg

from events import subjects
from pandar_daemon.adapters.nats import queued
from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.adapters.nats.jetstream import JetStream, Outgoing
from pandar_daemon.adapters.nats.queue import QueueDoor, _pulled
from pandar_daemon.adapters.nats.wire import NatsWire
from pandar_daemon.domain.refusals import Rejected, Unavailable
from pandar_daemon.ports import Message
from tests.support.bus import CLOCK, PATIENCE_SEC, connected, nats_process, send_raw, serving

pytestmark = pytest.mark.servers

SUBJECT = subjects.queued("task.start", 1, 42)


async def enqueue(connection: NatsConnection, command_id: str, body: bytes = b"{}") -> None:
    """Leave a command in the queue, insisting until it is stored."""
    headers = {"Pandar-Command-Id": command_id, "Nats-Msg-Id": command_id}
    while True:
        try:
            ack = await JetStream(connection).store(
                Outgoing(subject=SUBJECT, body=body, headers=headers)
            )
        except Unavailable:
            await connection.wait_up()
        else:
            assert ack.error is None
            return


async def result_of(connection: NatsConnection, command_id: str) -> Msg:
    """Return the stored answer."""
    found = await JetStream(connection).last(subjects.RESULTS_STREAM, subjects.result(command_id))
    assert found is not None
    return found


async def left_in_queue(connection: NatsConnection) -> int:
    """Return how many commands are not done."""
    answer = await JetStream(connection).api(f"STREAM.INFO.{subjects.COMMANDS_STREAM}", {})
    return answer.state.messages


async def echo(message: Message) -> bytes:
    """Answer with the body."""
    return message.body


async def test_a_command_left_while_the_daemon_is_down_is_done_when_it_is_up(
    nats_url: str,
) -> None:
    """Stored first, answered later, the answer fetchable long after."""
    async with connected(nats_url) as connection:
        async with serving(QueueDoor(connection, CLOCK), echo):
            pass
        await enqueue(connection, "c-1", b'"while down"')
        assert await left_in_queue(connection) == 1
        async with (
            NatsWire(connection).subscribe(subjects.result("c-1")) as answers,
            serving(QueueDoor(connection, CLOCK), echo),
            asyncio.timeout(PATIENCE_SEC),
        ):
            answer = await anext(answers)
        assert answer.body == b'"while down"'
        stored = await result_of(connection, "c-1")
        assert stored.data == b'"while down"'
        await connection.echo(timeout_sec=PATIENCE_SEC)
        assert await left_in_queue(connection) == 0


async def test_a_refusal_is_a_result(nats_url: str) -> None:
    """What the rules forbid is answered once and not tried again."""
    tries = 0

    async def handler(message: Message) -> bytes:
        nonlocal tries
        tries += 1
        raise Rejected("it runs already", state="running")

    async with connected(nats_url) as connection:
        async with (
            NatsWire(connection).subscribe(subjects.result("*")) as answers,
            serving(QueueDoor(connection, CLOCK), handler),
        ):
            await enqueue(connection, "c-1")
            async with asyncio.timeout(PATIENCE_SEC):
                answer = await anext(answers)
        assert answer.headers["nats-service-error-code"] == "409"
        assert answer.headers["content-type"] == "application/problem+json"
        assert json.loads(answer.body)["state"] == "running"
        assert tries == 1
        assert await left_in_queue(connection) == 0


async def test_what_cannot_be_done_now_is_done_later(nats_url: str) -> None:
    """503 and unexpected exceptions put the command back; its text is told to nobody."""
    tries = 0

    async def handler(message: Message) -> bytes:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise Unavailable("the database is away")
        return b'"done"'

    async with connected(nats_url) as connection:
        async with (
            NatsWire(connection).subscribe(subjects.result("*")) as answers,
            serving(QueueDoor(connection, CLOCK), handler),
        ):
            await enqueue(connection, "c-1")
            async with asyncio.timeout(PATIENCE_SEC):
                assert (await anext(answers)).body == b'"done"'
        assert tries == 2


async def test_a_fault_of_ours_becomes_the_answer_in_the_end(
    nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that fails at every delivery is answered with a 500 that tells nothing."""
    monkeypatch.setattr(queued, "FAULTS_MAX", 2)
    tries = 0

    async def handler(message: Message) -> bytes:
        nonlocal tries
        tries += 1
        msg = "password=hunter2"
        raise RuntimeError(msg)

    async with connected(nats_url) as connection:
        async with (
            NatsWire(connection).subscribe(subjects.result("*")) as answers,
            serving(QueueDoor(connection, CLOCK), handler),
        ):
            await enqueue(connection, "c-1")
            async with asyncio.timeout(PATIENCE_SEC):
                answer = await anext(answers)
        assert answer.headers["nats-service-error-code"] == "500"
        assert b"hunter2" not in answer.body
        assert tries == 2
        assert await left_in_queue(connection) == 0


async def test_commands_run_concurrently_and_are_finished_on_stop(nats_url: str) -> None:
    """Thirty commands, none of which ends before all have begun; stopping waits for them."""
    begun, go = asyncio.Barrier(31), asyncio.Event()

    async def handler(message: Message) -> bytes:
        await begun.wait()
        await go.wait()
        return message.body

    async with connected(nats_url) as connection:
        async with serving(QueueDoor(connection, CLOCK), handler) as door:
            for number in range(30):
                await enqueue(connection, f"c-{number}")
            async with asyncio.timeout(PATIENCE_SEC):
                await begun.wait()
            door.cancel()
            go.set()
            await asyncio.wait([door])
        for number in range(30):
            assert (await result_of(connection, f"c-{number}")).data == b"{}"
        assert await left_in_queue(connection) == 0


async def test_a_command_without_a_good_id_is_ended(nats_url: str) -> None:
    """Missing, empty, dotted, endless: never handed to the handler, never delivered again."""
    seen: list[str] = []

    async def handler(message: Message) -> bytes:
        seen.append(message.headers["pandar-command-id"])
        return b"{}"

    async with connected(nats_url) as connection:
        async with (
            NatsWire(connection).subscribe(subjects.result("*")) as answers,
            serving(QueueDoor(connection, CLOCK), handler),
        ):
            js = JetStream(connection)
            for bad in ({}, {"Pandar-Command-Id": "a.b"}, {"Pandar-Command-Id": "x" * 65}):
                await js.store(Outgoing(subject=SUBJECT, body=b"{}", headers={"x": "y", **bad}))
            await enqueue(connection, "good")
            async with asyncio.timeout(PATIENCE_SEC):
                await anext(answers)
        assert seen == ["good"]
        await connection.echo(timeout_sec=PATIENCE_SEC)
        assert await left_in_queue(connection) == 0


async def test_garbage_is_survived(nats_url: str) -> None:
    """Bytes as body, status-like headers, subjects that are no UTF-8: the next command is done."""
    async with (
        connected(nats_url) as connection,
        NatsWire(connection).subscribe(subjects.result("good")) as answers,
        serving(QueueDoor(connection, CLOCK), echo),
    ):
        await send_raw(
            nats_url,
            f"PUB {SUBJECT} 4\r\n".encode()
            + b"\xff\xfe\x00\r\r\n"
            + f"HPUB {SUBJECT} 16 16\r\nNATS/1.0 503\r\n\r\n\r\n".encode()
            + b"PUB pandar.v1.queue.\xff\xfe 2\r\n{}\r\n",
        )
        await enqueue(connection, "good")
        async with asyncio.timeout(PATIENCE_SEC):
            assert (await anext(answers)).body == b"{}"


async def test_a_lost_consumer_and_lost_streams_are_made_again(nats_url: str) -> None:
    """An administrator's slip does not need a restart."""
    async with (
        connected(nats_url) as connection,
        NatsWire(connection).subscribe(subjects.result("*")) as answers,
        serving(QueueDoor(connection, CLOCK), echo),
        asyncio.timeout(PATIENCE_SEC),
    ):
        js = JetStream(connection)
        await enqueue(connection, "c-0")
        assert (await anext(answers)).subject == subjects.result("c-0")
        await js.api(f"CONSUMER.DELETE.{subjects.COMMANDS_STREAM}.pandar", {})
        await js.api(f"STREAM.DELETE.{subjects.RESULTS_STREAM}", {})
        await enqueue(connection, "c-1")
        assert (await anext(answers)).body == b"{}"


@pytest.mark.fault
async def test_a_server_killed_under_load_loses_no_command() -> None:
    """Every stored command is done at least once and has its answer."""
    done: set[str] = set()
    third, all_done = asyncio.Event(), asyncio.Event()

    async def handler(message: Message) -> bytes:
        done.add(message.headers["pandar-command-id"])
        if len(done) >= 100:
            third.set()
        if len(done) >= 300:
            all_done.set()
        return message.headers["pandar-command-id"].encode()

    async def leave(connection: NatsConnection, first: int) -> None:
        for number in range(first, 300, 10):
            await enqueue(connection, f"c-{number}")

    async with (
        nats_process() as server,
        connected(server.url) as ours,
        connected(server.url) as user,
    ):
        async with serving(QueueDoor(ours, CLOCK), handler), asyncio.timeout(PATIENCE_SEC * 2):
            leaving = asyncio.gather(*(leave(user, first) for first in range(10)))
            await third.wait()
            await server.kill()
            await server.start()
            await leaving
            await all_done.wait()
        for number in range(300):
            assert (await result_of(user, f"c-{number}")).data == f"c-{number}".encode()


async def test_what_comes_with_the_stop_does_not_undo_it() -> None:
    """A message of the very moment in which the door is told to stop leaves it stopped."""
    arrived: asyncio.Queue[Msg | None] = asyncio.Queue()

    async def pull() -> None:
        async for _ in _pulled(arrived, 10):
            pass

    pulling = asyncio.create_task(pull())
    for _ in range(5):
        await asyncio.sleep(0)
    arrived.put_nowait(Msg(_client=None, subject=SUBJECT, data=b"{}"))  # type: ignore[arg-type]
    pulling.cancel()
    await asyncio.wait({pulling})
    assert pulling.cancelled()
