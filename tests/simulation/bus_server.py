"""A NATS of ours: connections, core messages at most once, the streams of events and output."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from uuid import UUID

from msgspec import Struct

from events.envelope import Recorded
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import Chunk, Handler, Message, OutputKey, StreamBehind
from tests.simulation.node import Path, SimProcess, Simulation, Trouble

UNNOTICED_SEC = 6.0
"""A connection that fell silent is missed after two unanswered probes."""


class Listener(Struct, frozen=True, eq=False):
    """What a connection subscribed to."""

    tokens: tuple[str, ...]
    deliver: Callable[[Message], None]

    def takes(self, subject: Sequence[str]) -> bool:
        """Tell whether a subject is meant."""
        return len(subject) == len(self.tokens) and all(
            mine in {"*", theirs} for mine, theirs in zip(self.tokens, subject, strict=True)
        )


class Link:
    """The connection of one process. It comes back by itself, as the daemon's own does."""

    def __init__(self, bus: BusServer, process: SimProcess, trouble: Trouble) -> None:
        self.process = process
        self.trouble = trouble
        self.up_since: float | None = None
        self.listeners: dict[Listener, None] = {}
        self.followers: dict[Callable[[Recorded], None], None] = {}
        self.handler: Handler | None = None
        self.asked: dict[asyncio.Future[Message], None] = {}
        self.path = Path(process.sim, f"{process.name} bus", trouble, Unavailable)
        self.silent_since: float | None = None
        self.session = 0
        self._bus = bus
        self._up = asyncio.Event()
        self._connect()

    @property
    def reachable(self) -> bool:
        """Whether a message would arrive now."""
        return self.up_since is not None and not self.trouble.away

    async def wait_up(self) -> None:
        """Return once connected."""
        await self._up.wait()

    def lose(self) -> None:
        """Break the connection: what is asked fails, what is on its way is gone."""
        self.session += 1
        if self.up_since is None:
            return
        self.up_since = None
        self._up = asyncio.Event()
        self.path.cut()
        for future in list(self.asked):
            if not future.done():
                future.set_exception(Unavailable("the connection to the bus was lost; ask again"))
                future.exception()
        self._connect()

    def close(self) -> None:
        """Its process died: the server notices at once."""
        self.session += 1
        self.up_since, self.handler = None, None
        self.listeners.clear()
        self.followers.clear()
        self._bus.links.pop(self, None)

    def silence(self) -> None:
        """Let nothing through any more; both ends think that all is well, for a while."""
        self.trouble.away = True
        session = self.session
        self.process.sim.later(UNNOTICED_SEC, lambda: self._miss(session))

    def _miss(self, session: int) -> None:
        if self.trouble.away and session == self.session and not self.process.node.frozen:
            self.lose()

    def _connect(self) -> None:
        sim = self.process.sim
        sim.later(sim.dice.uniform(0.01, 0.5), self._try)

    def _try(self) -> None:
        if not self.process.alive or self.up_since is not None:
            return
        if self._bus.away or self.trouble.away or self.process.node.frozen:
            self._connect()
            return
        self.up_since = self.process.clock.boottime()
        self._up.set()


class BusServer:
    """The server. ``away`` while it is down."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.away = False
        self.links: dict[Link, None] = {}
        self.streams: dict[int, list[Recorded]] = defaultdict(list)
        self.outputs: dict[OutputKey, list[tuple[UUID, Chunk]]] = defaultdict(list)

    def connect(self, process: SimProcess, trouble: Trouble) -> Link:
        """Give a process its connection, for as long as it lives."""
        link = Link(self, process, trouble)
        self.links[link] = None
        process.died.append(link.close)
        return link

    def stop(self) -> None:
        """Go away. Streams stay, all else is lost."""
        self.away = True
        for link in list(self.links):
            link.lose()

    # --- core ---

    def carry(self, sender: Link, receiver: Link, arrive: Callable[[], object]) -> None:
        """Bring a message from one connection to another: never, once, or more often."""
        dice, session = self.sim.dice, receiver.session
        copies = 1
        for trouble in (sender.trouble, receiver.trouble):
            if trouble.away or (trouble.lost and dice.random() < trouble.lost):
                copies = 0
            elif trouble.twice and dice.random() < trouble.twice:
                copies += copies
        for _ in range(copies):
            delay = self.sim.span(sender.trouble) + self.sim.span(receiver.trouble)
            self.sim.later(delay, lambda: self._arrive(receiver, session, arrive))

    def _arrive(self, receiver: Link, session: int, arrive: Callable[[], object]) -> None:
        if receiver.session == session and receiver.reachable:
            arrive()

    def publish(self, sender: Link, message: Message) -> None:
        """Send a core message to whoever subscribed."""
        tokens = message.subject.split(".")
        for receiver in self.links:
            for listener in receiver.listeners:
                if listener.takes(tokens):
                    self.carry(sender, receiver, partial(listener.deliver, message))

    def doors(self) -> list[Link]:
        """Return the connections that answer requests, as the server knows them."""
        return [link for link in self.links if link.handler is not None and link.up_since]

    # --- streams ---

    def store(self, epoch: int, batch: Sequence[Recorded]) -> int:
        """Store events one by one, each fenced by its predecessor; return the last sequence."""
        stream = self.streams[epoch]
        for recorded in batch:
            if not self.fits(stream, recorded):
                msg = f"position {recorded.position} does not follow {len(stream)}"
                raise StreamBehind(msg)
            stream.append(recorded)
            self._repeat(recorded)
        return len(stream)

    def fits(self, stream: list[Recorded], recorded: Recorded) -> bool:
        """Tell whether ``Nats-Expected-Last-Sequence`` is met."""
        return recorded.position == len(stream) + 1

    def _repeat(self, recorded: Recorded) -> None:
        for receiver in self.links:
            for follow in receiver.followers:
                self.carry(receiver, receiver, partial(follow, recorded))

    def write(self, key: OutputKey, execution_id: UUID, chunks: Sequence[Chunk]) -> None:
        """Store chunks that are not stored yet."""
        stored = self.outputs[key]
        for chunk in chunks:
            if (execution_id, chunk) not in stored:
                stored.append((execution_id, chunk))
