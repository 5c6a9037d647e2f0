"""The service answers at once, many at a time, and says nothing it should not."""

from __future__ import annotations

import asyncio
import json
from uuid import uuid4

import nats
import pytest
from nats.aio.msg import Msg

from events import subjects
from events.commands import ACTIONS
from events.problem import FieldError
from events.running import RUNNER_ACTIONS
from pandar_daemon.adapters.nats.connection import NatsConnection
from pandar_daemon.adapters.nats.sender import NatsSender
from pandar_daemon.adapters.nats.service import ServiceDoor
from pandar_daemon.adapters.nats.wire import NatsWire
from pandar_daemon.domain.refusals import Invalid, Refusal, TooLarge, Unavailable
from pandar_daemon.ports import Message
from tests.support.bus import PATIENCE_SEC, connected, nats_process, send_raw, serving

pytestmark = pytest.mark.servers

START = subjects.command("task.start", None, 42)


async def echo(message: Message) -> bytes:
    """Answer with what was asked."""
    return json.dumps(
        [message.subject, message.body.decode(errors="replace"), dict(message.headers)]
    ).encode()


async def test_a_refusal_is_told_by_headers_too(nats_url: str) -> None:
    """As NATS services do: their headers say the status."""

    async def handler(message: Message) -> bytes:
        raise Invalid(FieldError(field="näme", rule="at most 200 characters"))

    async with connected(nats_url) as connection, serving(ServiceDoor(connection), handler):
        raw = await connection.request(START, b"{}", timeout_sec=PATIENCE_SEC)
        assert raw.headers is not None
        assert raw.headers["Nats-Service-Error-Code"] == "422"
        assert raw.headers["Nats-Service-Error"] == "Invalid request"
        assert raw.headers["Content-Type"] == "application/problem+json"


async def test_the_text_of_an_exception_never_leaks(nats_url: str) -> None:
    """What a handler did not mean to raise is a 500 without detail, in the answer and in STATS."""

    async def handler(message: Message) -> bytes:
        msg = "password=hunter2"
        raise RuntimeError(msg)

    async with connected(nats_url) as connection, serving(ServiceDoor(connection), handler):
        raw = await connection.request(START, b"{}", timeout_sec=PATIENCE_SEC)
        stats = await connection.request("$SRV.STATS.pandar", timeout_sec=PATIENCE_SEC)
        assert raw.headers is not None
        assert raw.headers["Nats-Service-Error-Code"] == "500"
        assert json.loads(raw.data)["title"] == "Internal error"
        told = f"{raw.headers}{raw.data!r}{stats.data!r}"
        assert "hunter2" not in told
        assert "RuntimeError" not in told
        counted = {each["name"]: each for each in json.loads(stats.data)["endpoints"]}
        assert counted["task-start"]["num_requests"] == 1
        assert counted["task-start"]["num_errors"] == 1


async def test_an_answer_too_big_is_a_problem_and_a_question_too_big_an_error(
    nats_url: str,
) -> None:
    """Neither side is closed by the server over a size."""

    async def handler(message: Message) -> bytes:
        return b"x" * 2_000_000

    async with connected(nats_url) as connection, serving(ServiceDoor(connection), handler):
        sender = NatsSender(connection)
        with pytest.raises(Refusal) as refused:
            await sender.ask(START, b"{}")
        assert refused.value.problem.status == 413
        with pytest.raises(TooLarge):
            await sender.ask(START, b"x" * 2_000_000)
        assert connection.up_since is not None


@pytest.mark.parametrize(
    ("code", "body", "status"),
    [
        ("500", b"<html>", 503),
        ("404", b"\xff\xfe", 404),
        ("404", b'{"title": 1}', 404),
        ("abc", b"", 503),
        ("-12", b"{}", 503),
    ],
)
async def test_an_error_that_is_not_ours_is_told_in_general_words(
    nats_url: str, code: str, body: bytes, status: int
) -> None:
    """A foreign service's error becomes a problem of its status class, its text is not shown."""
    client = await nats.connect(nats_url, allow_reconnect=False)

    async def foreign(message: Msg) -> None:
        await client.publish(
            message.reply,
            body,
            headers={"Nats-Service-Error-Code": code, "Nats-Service-Error": "?"},
        )

    await client.subscribe("test.foreign", cb=foreign)
    await client.flush()
    async with connected(nats_url) as connection:
        with pytest.raises(Refusal) as refused:
            await NatsSender(connection).ask("test.foreign", b"")
    assert refused.value.problem.status == status
    await client.close()


async def test_nobody_there_and_no_answer_are_unavailable(nats_url: str) -> None:
    """The first at once, the second when the time is over."""
    async with connected(nats_url) as connection:
        sender = NatsSender(connection)
        with pytest.raises(Unavailable, match="nobody"):
            await sender.ask(START, b"", timeout_sec=600)
        async with NatsWire(connection).subscribe("test.deaf"):
            with pytest.raises(Unavailable, match="in time"):
                await sender.ask("test.deaf", b"", timeout_sec=0.05)


async def test_a_plain_nats_client_finds_the_service(nats_url: str) -> None:
    """``$SRV.PING``, ``INFO`` and ``STATS`` answer anybody, at each of their three subjects."""
    async with connected(nats_url) as connection, serving(ServiceDoor(connection), echo):
        client = await nats.connect(nats_url, allow_reconnect=False)
        ping = json.loads((await client.request("$SRV.PING.pandar", timeout=5)).data)
        assert ping["type"] == "io.nats.micro.v1.ping_response"
        assert ping["name"] == "pandar"
        for verb in ("PING", "INFO", "STATS"):
            for subject in (
                f"$SRV.{verb}",
                f"$SRV.{verb}.pandar",
                f"$SRV.{verb}.pandar.{ping['id']}",
            ):
                said = json.loads((await client.request(subject, timeout=5)).data)
                assert said["type"] == f"io.nats.micro.v1.{verb.lower()}_response"
                assert (said["id"], said["version"]) == (ping["id"], ping["version"])
        info = json.loads((await client.request("$SRV.INFO.pandar", timeout=5)).data)
        found = {each["subject"]: each for each in info["endpoints"]}
        assert found["pandar.v1.cmd.task.start.*.*"]["queue_group"] == "pandar"
        assert len(found) == len(ACTIONS) + len(RUNNER_ACTIONS)
        await client.close()


async def test_two_doors_share_the_requests(nats_url: str) -> None:
    """Each request goes to exactly one of the processes that serve."""
    seen: list[str] = []

    async def handler(message: Message) -> bytes:
        seen.append(message.body.decode())
        return message.body

    async with (
        connected(nats_url) as one,
        connected(nats_url) as two,
        serving(ServiceDoor(one), handler),
        serving(ServiceDoor(two), handler),
    ):
        asks = [NatsSender(one).ask(START, b"%d" % n) for n in range(50)]
        await asyncio.gather(*asks)
    assert sorted(seen) == sorted(str(n) for n in range(50))


async def test_garbage_on_every_subject_is_answered_or_ignored(nats_url: str) -> None:
    """Bytes, empty bodies, no reply, broken headers: the next good request is answered."""
    subjects_of_all = [subjects.command(action, 1, 1) for action in ACTIONS]
    subjects_of_all += [subjects.run(action, "r") for action in RUNNER_ACTIONS]
    subjects_of_all += ["$SRV.PING.pandar", "$SRV.INFO", "$SRV.STATS.pandar"]
    async with connected(nats_url) as connection, serving(ServiceDoor(connection), echo):
        for subject in subjects_of_all:
            await send_raw(
                nats_url,
                f"PUB {subject} 4\r\n".encode()
                + b"\xff\xfe\x00\r\r\n"
                + f"HPUB {subject} reply.to 18 18\r\n".encode()
                + b"NATS/1.0 \xff\xfe\xfd \xff\r\n\r\n\r\n"
                + f"PUB {subject} reply.to 0\r\n\r\n".encode(),
            )
        assert json.loads(await NatsSender(connection).ask(START, b"good"))[1] == "good"


@pytest.mark.fault
async def test_a_server_killed_under_load_loses_no_command() -> None:
    """Askers that repeat their command id until it is answered all get their answer."""
    done: set[str] = set()
    half = asyncio.Event()

    async def handler(message: Message) -> bytes:
        done.add(message.headers["pandar-command-id"])
        if len(done) >= 150:
            half.set()
        return message.body

    async def insist(connection: NatsConnection) -> bytes:
        command_id = str(uuid4())
        while True:
            try:
                return await NatsSender(connection).ask(
                    START, command_id.encode(), headers={"Pandar-Command-Id": command_id}
                )
            except Unavailable:
                await connection.wait_up()

    async def ask_many(connection: NatsConnection) -> list[bytes]:
        return [await insist(connection) for _ in range(30)]

    async with (
        nats_process() as server,
        connected(server.url) as ours,
        connected(server.url) as user,
        serving(ServiceDoor(ours), handler),
        asyncio.timeout(PATIENCE_SEC),
    ):
        asking = asyncio.gather(*(ask_many(user) for _ in range(10)))
        await half.wait()
        await server.kill()
        await server.start()
        answers = [answer.decode() for batch in await asking for answer in batch]
    assert len(set(answers)) == 300
    assert set(answers) <= done
