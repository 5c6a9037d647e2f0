"""The ports over the bus, each through the connection of its process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from events.envelope import Recorded
from pandar_daemon.adapters.nats.buffer import Buffer
from pandar_daemon.adapters.nats.connection import LATE
from pandar_daemon.adapters.nats.messages import attempt, granted
from pandar_daemon.domain.access import Principal, Role
from pandar_daemon.domain.refusals import Unauthenticated, Unavailable
from pandar_daemon.ports import Chunk, Handler, Headers, Message, OutputKey
from tests.simulation.bus_server import BusServer, Link, Listener
from tests.simulation.node import succeed

T = TypeVar("T")

FINISH_SEC = 10.0
PIECE = 32
"""Events that travel together: between two pieces another relay may come in."""


class SimWire:
    """`Wire`."""

    def __init__(self, bus: BusServer, link: Link) -> None:
        self._bus = bus
        self._link = link

    async def publish(self, subject: str, body: bytes, headers: Headers | None = None) -> None:
        """See `Wire.publish`."""
        if self._link.up_since is not None:
            message = Message(subject=subject, body=body, headers=headers or {})
            self._bus.publish(self._link, message)

    @asynccontextmanager
    async def subscribe(self, subject: str) -> AsyncIterator[AsyncIterator[Message]]:
        """See `Wire.subscribe`."""
        buffer: Buffer[Message] = Buffer(4_096)
        listener = Listener(tuple(subject.split(".")), buffer.put)
        self._link.listeners[listener] = None
        try:
            yield aiter(buffer)
        finally:
            self._link.listeners.pop(listener, None)

    async def rtt(self) -> float:
        """See `Wire.rtt`."""
        if self._link.up_since is None:
            raise Unavailable("the bus is away")
        await self._link.path.call("rtt", lambda: None)
        return 0.001

    @property
    def up_since(self) -> float | None:
        """See `Wire.up_since`."""
        return self._link.up_since


class SimLive:
    """`Live` and `Told`; a follower that is slow loses the oldest of ``room`` events."""

    def __init__(self, link: Link) -> None:
        self.room = 10_000
        self._link = link
        self._buffers: dict[Callable[[Recorded], None], None] = {}
        self._is_led_here = False

    @asynccontextmanager
    async def follow(self) -> AsyncIterator[AsyncIterator[Recorded]]:
        """See `Live.follow`."""
        buffer: Buffer[Recorded] = Buffer(self.room)
        put: Callable[[Recorded], None] = lambda recorded: buffer.put(recorded)  # noqa: E731, PLW0108 - one a follower
        self._buffers[put] = None
        if not self._is_led_here:
            self._link.followers[put] = None
        try:
            yield aiter(buffer)
        finally:
            self._buffers.pop(put, None)
            self._link.followers.pop(put, None)

    @asynccontextmanager
    async def led_here(self) -> AsyncIterator[None]:
        """See `Told.led_here`."""
        self._is_led_here = True
        for put in self._buffers:
            self._link.followers.pop(put, None)
        try:
            yield
        finally:
            self._is_led_here = False
            self._link.followers.update(self._buffers)

    def tell(self, batch: Sequence[Recorded]) -> None:
        """See `Told.tell`."""
        for put in self._buffers:
            for recorded in batch:
                put(recorded)


class SimSender:
    """`Sender`."""

    def __init__(self, bus: BusServer, link: Link) -> None:
        self._bus = bus
        self._link = link

    async def ask(
        self, subject: str, body: bytes, *, headers: Headers | None = None, timeout_sec: float = 5.0
    ) -> bytes:
        """See `Sender.ask`."""
        lower = {name.lower(): value for name, value in (headers or {}).items()}
        message = Message(subject=subject, body=body, headers=lower)
        future: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout_sec):
                await self._link.wait_up()
                self._begin(message, future)
                return granted(await future)
        except TimeoutError:
            raise Unavailable(LATE) from None
        finally:
            self._link.asked.pop(future, None)

    def _begin(self, message: Message, future: asyncio.Future[Message]) -> None:
        doors = self._bus.doors()
        if not doors:
            raise Unavailable("nobody answers there now; ask again later")
        self._link.asked[future] = None
        door = self._bus.sim.dice.choice(doors)
        self._bus.carry(self._link, door, lambda: self._work(door, message, future))

    def _work(self, door: Link, message: Message, future: asyncio.Future[Message]) -> None:
        handler, loop = door.handler, self._bus.sim.loop
        if handler is not None:
            loop.start(door.process.node, self._answer(door, handler, message, future))

    async def _answer(
        self, door: Link, handler: Handler, message: Message, future: asyncio.Future[Message]
    ) -> None:
        answer = await attempt(handler, message)
        self._bus.sim.trace.add(door.process.name, "answers", message.subject, answer.status)
        headers = {name.lower(): value for name, value in answer.headers.items()}
        reply = Message(subject="_INBOX", body=answer.body, headers=headers)
        self._bus.carry(door, self._link, lambda: succeed(future, reply))


class SimDoor:
    """`Door`, that of the NATS service."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._working: set[asyncio.Task[object]] = set()

    async def serve(self, handler: Handler, ready: Callable[[], None]) -> None:
        """See `Door.serve`."""
        try:
            self._link.handler = self._noting(handler)
            ready()
            await asyncio.get_running_loop().create_future()
        finally:
            self._link.handler = None
            if self._working:
                await asyncio.wait(self._working, timeout=FINISH_SEC)

    def _noting(self, handler: Handler) -> Handler:
        async def handle(message: Message) -> bytes:
            task = asyncio.current_task()
            assert task is not None
            self._working.add(task)
            try:
                return await handler(message)
            finally:
                self._working.discard(task)

        return handle


class SimEventStream:
    """`EventStream`."""

    def __init__(self, bus: BusServer, link: Link) -> None:
        self._bus = bus
        self._link = link
        self._epoch = 0

    @property
    def up_since(self) -> float | None:
        """See `EventStream.up_since`."""
        return self._link.up_since

    async def open(self, epoch: int) -> int:
        """See `EventStream.open`."""
        last = await self._call(f"open {epoch}", lambda: len(self._bus.streams[epoch]))
        self._epoch = epoch
        return last

    async def last(self) -> int:
        """See `EventStream.last`."""
        return await self._call("last", lambda: len(self._bus.streams[self._epoch]))

    async def publish(self, batch: Sequence[Recorded]) -> int:
        """See `EventStream.publish`."""
        last, epoch = 0, self._epoch
        for first in range(0, len(batch), PIECE):
            piece = batch[first : first + PIECE]
            what = f"publish {piece[0].position} {piece[-1].position}"
            last = await self._call(what, lambda piece=piece: self._bus.store(epoch, piece))  # type: ignore[misc]
        return last

    async def stored(self, epoch: int, *, after: int, limit: int) -> list[Recorded]:
        """See `BusAudit.stored`."""
        return await self._call(
            f"stored {after}", lambda: self._bus.streams[epoch][after : after + limit]
        )

    async def _call(self, what: str, work: Callable[[], T]) -> T:
        if self._link.up_since is None:
            await asyncio.sleep(0)
            raise Unavailable("the bus is away")
        return await self._link.path.call(what, work)


class SimOutputs:
    """`Outputs`."""

    def __init__(self, bus: BusServer, link: Link) -> None:
        self._bus = bus
        self._link = link

    async def write(self, key: OutputKey, execution_id: UUID, chunks: Sequence[Chunk]) -> None:
        """See `Outputs.write`: what breaks off has stored the beginning."""
        if self._link.up_since is None:
            await asyncio.sleep(0)
            raise Unavailable("the bus is away")
        for chunk in chunks:
            what = f"write {key.task_id}/{key.attempt} {chunk.offset}+{len(chunk.data)}"
            one = [chunk]
            await self._link.path.call(
                what,
                lambda one=one: self._bus.write(key, execution_id, one),  # type: ignore[misc]
            )

    async def read(self, key: OutputKey, *, start: int = 0) -> AsyncIterator[Chunk]:
        """Nobody in the simulation reads output by the bus."""
        raise NotImplementedError(key, start)
        yield  # type: ignore[unreachable]

    async def size(self, key: OutputKey) -> int:
        """Nobody in the simulation asks for it."""
        raise NotImplementedError

    @asynccontextmanager
    async def follow(
        self, key: OutputKey, *, start: int = 0
    ) -> AsyncIterator[AsyncIterator[Chunk]]:
        """Nobody in the simulation follows it."""
        raise NotImplementedError(key, start)
        yield  # type: ignore[unreachable]


class SimVerifier:
    """`Verifier`: a token is ``role:user``."""

    async def verify(self, token: str) -> Principal:
        """See `Verifier.verify`."""
        role, _, user = token.partition(":")
        return Principal(user, frozenset({Role(role)}))

    async def verify_proof(
        self, proof: str, *, subject: str, command_id: str, body: bytes, at: datetime
    ) -> Principal:
        """Nobody in the simulation queues commands."""
        raise Unauthenticated(f"no queue for {proof, subject, command_id, body, at}")
