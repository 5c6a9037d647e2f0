"""The one supervised connection to NATS, on which everything of this package is built.

::

    away ──open──▶ up ──closed by -ERR, end of file, two unanswered probes──▶ away

In `up` a private echo goes round every ``probe_sec``: nats-py calls itself connected even when its
read loop is dead. Leaving `up` fails every awaited answer at once with `Unavailable`; nothing is
buffered while away, so nothing lands later that its sender has given up on. Entering `up` makes
every subscription again before anybody is told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field

import anyio
import structlog
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import BadHeaderError, BadSubjectError, Error

from pandar_daemon.adapters.nats.client import GuardedClient, close_client, open_client
from pandar_daemon.adapters.nats.replies import OnMessage, Replies, fail
from pandar_daemon.domain.refusals import TooLarge, Unavailable
from pandar_daemon.ports import Clock

log = structlog.get_logger(__name__)

PENDING_MAX_BYTES = 64 * 2**20
"""More than this unsent, and sending fails: the bus does not keep up."""
SUBJECT_MAX_CHARS = 1_000
"""Two of these and the rest of a control line fit the server's 4,096."""
MISSES_MAX = 2
DRAIN_SEC = 2.0


class NoResponders(Unavailable):
    """503: nobody listens there now."""


@dataclass(frozen=True, slots=True)
class Route:
    """Messages on a subject go to a function that returns at once; one member of a queue each."""

    subject: str
    on_message: OnMessage
    queue: str = ""


@dataclass(eq=False, slots=True)
class _Listener:
    routes: tuple[Route, ...]
    on_up: Callable[[], None]
    client: Client | None = None
    subscriptions: list[Subscription] = field(default_factory=list)


class NatsConnection:
    """Publishes, asks and listens; `run` keeps it alive. Every failure is `Unavailable`."""

    def __init__(self, url: str, clock: Clock, name: str, *, probe_sec: float = 2.0) -> None:
        self.clock = clock
        self.up_since: float | None = None
        self._servers = url.split(",")
        self._name = name
        self._probe_sec = probe_sec
        self._client: GuardedClient | None = None
        self._inbox = ""
        self._replies = Replies()
        self._listeners: list[_Listener] = []
        self._up = asyncio.Event()

    async def run(self) -> None:
        """Keep a connection up until cancelled; raises nothing else."""
        pauses = self._pauses()
        while True:
            try:
                if await self._one_life():
                    pauses = self._pauses()
            except (Error, OSError, TimeoutError, Unavailable) as error:
                log.warning("bus.away", error=repr(error))
            except Exception:
                log.exception("bus.broken")
            await asyncio.sleep(next(pauses))

    def _pauses(self) -> Iterator[float]:
        """Yield seconds to wait before each attempt: 0.1 doubling to 2, each up to half more."""
        pause = 0.1
        while True:
            jitter = (self.clock.new_id().int & 0xFF) / 0x200
            yield pause * (1 + jitter)
            pause = min(pause * 2, 2.0)

    async def _one_life(self) -> bool:
        """Connect and stay until the connection is lost; true when it was up at all."""
        client = await open_client(self._servers, self._name)
        try:
            await self._install(client)
            await self._watch(client)
            log.warning("bus.lost")
        finally:
            was_up = self._forget_client()
            with anyio.CancelScope(shield=True):
                await close_client(client)
        return was_up

    async def _install(self, client: GuardedClient) -> None:
        inbox = client.new_inbox()
        await client.subscribe(f"{inbox}.*", cb=_calling(self._replies.deliver))
        self._client, self._inbox = client, inbox
        for listener in list(self._listeners):
            await self._subscribe(client, listener)
        await self.echo(timeout_sec=self._probe_sec * MISSES_MAX)
        self.up_since = self.clock.boottime()
        self._up.set()
        log.info("bus.up", server=repr(client.connected_server_version))
        for listener in list(self._listeners):
            listener.on_up()

    async def _watch(self, client: GuardedClient) -> None:
        misses = 0
        while misses < MISSES_MAX:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._probe_sec):
                    await client.gone.wait()
                    return
            misses = 0 if await self._answers() else misses + 1
        log.warning("bus.silent", unanswered=misses)

    async def _answers(self) -> bool:
        try:
            await self.echo(timeout_sec=self._probe_sec)
        except Unavailable:
            return False
        return True

    def _forget_client(self) -> bool:
        was_up = self._up.is_set()
        self._client, self.up_since = None, None
        self._up.clear()
        self._replies.lose_all()
        return was_up

    async def wait_up(self) -> None:
        """Return once connected."""
        await self._up.wait()

    async def echo(self, *, timeout_sec: float) -> float:
        """Return the seconds until the server has handled all we sent, and we what it sent before.

        Raises `Unavailable` when it does not answer in time.
        """
        token, future = self._replies.expect_one()
        start = self.clock.boottime()
        try:
            async with asyncio.timeout(timeout_sec):
                await self.publish(f"{self._inbox}.{token}")
                await future
        except TimeoutError:
            raise Unavailable("the bus does not answer") from None
        finally:
            future.cancel()
        return self.clock.boottime() - start

    async def publish(
        self,
        subject: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        reply: str = "",
    ) -> None:
        """Hand a message to the connection, without waiting for anything.

        Raises `Unavailable` while away, `TooLarge` for what the server would close us for, and
        ``ValueError`` for an impossible subject or header.
        """
        client = self._client
        if client is None:
            raise Unavailable("the bus is away")
        _check_size(client, subject, body, headers or {})
        try:
            await client.publish(subject, body, reply, dict(headers) if headers else None)
        except (BadSubjectError, BadHeaderError) as error:
            msg = f"cannot be sent to {subject[:100]!r}: {error}"
            raise ValueError(msg) from error
        except (Error, OSError) as error:
            raise Unavailable("the bus is away") from error

    async def begin(
        self, subject: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> asyncio.Future[Msg]:
        """Ask; the future gets the first answer, or `Unavailable` if the connection is lost.

        Raises as `publish` does. Cancel the future when you no longer want the answer.
        """
        token, future = self._replies.expect_one()
        try:
            await self.publish(subject, body, headers, reply=f"{self._inbox}.{token}")
        except BaseException:
            future.cancel()
            raise
        return future

    async def request(
        self,
        subject: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        timeout_sec: float,
    ) -> Msg:
        """Return the first answer, waiting for a connection if need be.

        Raises `NoResponders` at once when nobody listens, `Unavailable` when no answer came.
        """
        try:
            async with asyncio.timeout(timeout_sec):
                await self._up.wait()
                answer = await (await self.begin(subject, body, headers))
        except TimeoutError:
            raise Unavailable("no answer came in time; ask again") from None
        if status_of(answer) == "503":
            raise NoResponders("nobody answers there now; ask again later")
        return answer

    async def collect(
        self, subject: str, body: bytes, *, is_last: Callable[[Msg], bool], timeout_sec: float
    ) -> list[Msg]:
        """Return all answers up to the one that is the last, that one included.

        Raises `Unavailable` when they do not come in time.
        """
        answers: list[Msg] = []
        last: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()

        def answered(msg: Msg) -> None:
            answers.append(msg)
            if is_last(msg) and not last.done():
                last.set_result(msg)

        token = self._replies.expect(answered, lambda: fail(last))
        try:
            async with asyncio.timeout(timeout_sec):
                await self._up.wait()
                await self.publish(subject, body, reply=f"{self._inbox}.{token}")
                await last
        except TimeoutError:
            raise Unavailable("no answer came in time; ask again") from None
        finally:
            last.cancel()
            self._replies.forget(token)
        return answers

    @contextlib.asynccontextmanager
    async def listen(
        self, *routes: Route, on_up: Callable[[], None] = lambda: None
    ) -> AsyncIterator[None]:
        """Route messages from now on, or from when there is a connection, and again after each.

        ``on_up`` is called whenever messages may have been missed: after every new connection.
        On leaving, what the server has already sent is still routed.
        """
        listener = _Listener(routes, on_up)
        self._listeners.append(listener)
        try:
            if self._client is not None:
                with contextlib.suppress(Unavailable):
                    await self._subscribe(self._client, listener)
                    await self.echo(timeout_sec=self._probe_sec * MISSES_MAX)
            yield
        finally:
            self._listeners.remove(listener)
            with anyio.CancelScope(shield=True), anyio.move_on_after(DRAIN_SEC):
                await _drain(listener)

    async def _subscribe(self, client: Client, listener: _Listener) -> None:
        if listener.client is client:
            return
        listener.client, listener.subscriptions = client, []
        try:
            for route in listener.routes:
                made = await client.subscribe(
                    route.subject, queue=route.queue, cb=_calling(route.on_message)
                )
                listener.subscriptions.append(made)
        except Error as error:
            raise Unavailable("the bus is away") from error


async def _drain(listener: _Listener) -> None:
    async with anyio.create_task_group() as group:
        for subscription in listener.subscriptions:
            group.start_soon(_drain_one, subscription)


async def _drain_one(subscription: Subscription) -> None:
    with contextlib.suppress(Error, OSError):
        await subscription.drain()  # type: ignore[no-untyped-call]  # nats-py leaves it untyped


def _calling(on_message: OnMessage) -> Callable[[Msg], Awaitable[None]]:
    async def call(msg: Msg) -> None:
        try:
            on_message(msg)
        except Exception:
            log.exception("message.failed", subject=msg.subject)

    return call


def _check_size(
    client: GuardedClient, subject: str, body: bytes, headers: Mapping[str, str]
) -> None:
    if len(subject) > SUBJECT_MAX_CHARS:
        msg = f"a subject has at most {SUBJECT_MAX_CHARS} characters, not {len(subject)}"
        raise ValueError(msg)
    size = len(body) + sum(len(k) + len(v.encode()) + 4 for k, v in headers.items()) + 12
    if size > client.max_payload:
        msg = f"a message has at most {client.max_payload} bytes, headers included, not {size}"
        raise TooLarge(msg)
    if client.pending_data_size > PENDING_MAX_BYTES:
        raise Unavailable("the bus does not keep up with what is sent")


def status_of(msg: Msg) -> str:
    """Return the status a server put in place of a message, or an empty string."""
    return (msg.headers or {}).get("Status", "") if not msg.data else ""


@contextlib.asynccontextmanager
async def connect(
    url: str, clock: Clock, name: str, *, wait_sec: float = 5.0, probe_sec: float = 2.0
) -> AsyncIterator[NatsConnection]:
    """Give a supervised connection to the servers of a URL (several are separated by commas).

    Waits ``wait_sec`` for it to be up, and gives it in any case: it goes on trying.
    """
    connection = NatsConnection(url, clock, name, probe_sec=probe_sec)
    running = asyncio.create_task(connection.run(), name=f"nats:{name}")
    try:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_sec):
                await connection.wait_up()
        yield connection
        with contextlib.suppress(Unavailable):
            await connection.echo(timeout_sec=1.0)
    finally:
        running.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait([running])
