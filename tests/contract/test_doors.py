"""The promises of `Door` and `Sender`, kept over the bus and within a process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
from msgspec import Struct

from events import subjects
from events.commands import ACTIONS
from events.problem import FieldError
from events.running import RUNNER_ACTIONS
from pandar_daemon.adapters.nats.sender import NatsSender
from pandar_daemon.adapters.nats.service import ServiceDoor
from pandar_daemon.adapters.near import NearDoor
from pandar_daemon.domain.refusals import Invalid, Refusal, Unavailable
from pandar_daemon.ports import Door, Headers, Message, Sender
from tests.support.bus import PATIENCE_SEC, connected, serving

pytestmark = pytest.mark.servers

START = subjects.command("task.start", None, 42)
LIMIT = 2


class Nobody:
    """A `Sender` that nothing answers, and that notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, bytes, Headers | None, float]] = []

    async def ask(
        self, subject: str, body: bytes, *, headers: Headers | None = None, timeout_sec: float = 5.0
    ) -> bytes:
        """Refuse."""
        self.asked.append((subject, body, headers, timeout_sec))
        raise Unavailable("nobody answers there")


class Way(Struct):
    """A door, one more that takes few at a time, and who asks at each."""

    door: Door
    sender: Sender
    narrow: Door
    narrow_sender: Sender


@pytest.fixture(params=["bus", "near"])
async def way(request: pytest.FixtureRequest, nats_url: str) -> AsyncIterator[Way]:
    """Give both kinds of door."""
    if request.param == "near":
        near, narrow = NearDoor(Nobody()), NearDoor(Nobody(), in_hand=LIMIT)
        yield Way(near, near, narrow, narrow)
        return
    async with connected(nats_url) as connection:
        door, sender = ServiceDoor(connection), NatsSender(connection)
        yield Way(door, sender, ServiceDoor(connection, in_hand=LIMIT), sender)


async def echo(message: Message) -> bytes:
    """Answer with what was asked."""
    return json.dumps([message.subject, message.body.decode(), dict(message.headers)]).encode()


async def test_it_answers_every_action_and_hands_over_headers_in_lower_case(way: Way) -> None:
    """Commands and the calls of runners."""
    asked = [subjects.command(action, 1, 42) for action in ACTIONS]
    asked += [subjects.run(action, "runner-1") for action in RUNNER_ACTIONS]
    async with serving(way.door, echo):
        for subject in asked:
            answer = await way.sender.ask(subject, b"{}", headers={"Pandar-Command-Id": "c-1"})
            assert json.loads(answer) == [subject, "{}", {"pandar-command-id": "c-1"}]


async def test_handlers_run_concurrently(way: Way) -> None:
    """A hundred requests, none of which ends before all have begun, all end."""
    begun = asyncio.Barrier(100)

    async def handler(message: Message) -> bytes:
        await begun.wait()
        return message.body

    async with serving(way.door, handler):
        asks = [way.sender.ask(START, b"%d" % n, timeout_sec=PATIENCE_SEC) for n in range(100)]
        assert await asyncio.gather(*asks) == [b"%d" % n for n in range(100)]


async def test_one_too_many_is_told_so_at_once(way: Way) -> None:
    """Beyond the bound a request is refused with 503 instead of waiting unseen."""
    go, begun = asyncio.Event(), asyncio.Semaphore(0)

    async def handler(message: Message) -> bytes:
        begun.release()
        await go.wait()
        return message.body

    async with serving(way.narrow, handler), asyncio.TaskGroup() as group:
        ask = way.narrow_sender.ask
        held = [group.create_task(ask(START, b"x", timeout_sec=PATIENCE_SEC)) for _ in range(LIMIT)]
        for _ in held:
            await begun.acquire()
        with pytest.raises(Refusal) as refused:
            await ask(START, b"x")
        assert refused.value.problem.status == 503
        go.set()
    assert [task.result() for task in held] == [b"x"] * LIMIT


async def test_stopping_finishes_what_is_in_hand(way: Way) -> None:
    """Cancelled in the middle of a request, the door answers it, and takes no other."""
    go, begun = asyncio.Event(), asyncio.Event()

    async def handler(_: Message) -> bytes:
        begun.set()
        await go.wait()
        return b"done"

    async with serving(way.door, handler) as door:
        asking = asyncio.create_task(way.sender.ask(START, b"", timeout_sec=PATIENCE_SEC))
        await begun.wait()
        door.cancel()
        async with asyncio.timeout(PATIENCE_SEC):
            while not await _is_closed(way.sender):
                pass
        assert not door.done()
        go.set()
        assert await asking == b"done"
        await asyncio.wait([door])


async def _is_closed(sender: Sender) -> bool:
    """Tell whether nobody listens any more; who still does is not to be waited for."""
    try:
        await sender.ask(START, b"", timeout_sec=0.2)
    except Unavailable as error:
        return "nobody" in str(error)
    return False


async def test_what_was_begun_is_done_though_nobody_waits(way: Way) -> None:
    """Who asked gives up, or is cancelled: the command is carried out to its end all the same."""
    begun, go, ended = asyncio.Semaphore(0), asyncio.Event(), asyncio.Semaphore(0)

    async def handler(_: Message) -> bytes:
        begun.release()
        await go.wait()
        ended.release()
        return b""

    async with serving(way.door, handler):
        with pytest.raises(Unavailable, match="in time"):
            await way.sender.ask(START, b"", timeout_sec=0.05)
        asking = asyncio.create_task(way.sender.ask(START, b"", timeout_sec=PATIENCE_SEC))
        async with asyncio.timeout(PATIENCE_SEC):
            await begun.acquire()
            await begun.acquire()
            asking.cancel()
            go.set()
            await ended.acquire()
            await ended.acquire()


async def test_a_refusal_arrives_as_it_was_raised(way: Way) -> None:
    """The sender raises the same problem again."""
    refusal = Invalid(FieldError(field="näme", rule="at most 200 characters"))

    async def handler(_: Message) -> bytes:
        raise refusal

    async with serving(way.door, handler):
        with pytest.raises(Refusal) as refused:
            await way.sender.ask(START, b"{}")
    assert type(refused.value) is Refusal
    assert refused.value.problem == refusal.problem


async def test_the_text_of_an_exception_is_told_to_nobody(way: Way) -> None:
    """What a handler did not mean to raise is a 500 without detail."""

    async def handler(_: Message) -> bytes:
        msg = "password=hunter2"
        raise RuntimeError(msg)

    async with serving(way.door, handler):
        with pytest.raises(Refusal) as refused:
            await way.sender.ask(START, b"{}")
    assert refused.value.problem.status == 500
    assert "hunter2" not in repr(refused.value.problem)


async def test_nobody_near_is_looked_for_on_the_bus() -> None:
    """Before anybody serves in this process, and after."""
    far = Nobody()
    near = NearDoor(far)
    asked = [("before", b"1", {"A": "b"}, 1.5), ("after", b"2", None, 5.0)]
    for subject, body, headers, seconds in asked:
        with pytest.raises(Unavailable):
            await near.ask(subject, body, headers=headers, timeout_sec=seconds)
        async with serving(near, echo):
            assert json.loads(await near.ask("meanwhile", b""))[0] == "meanwhile"
    assert far.asked == asked
