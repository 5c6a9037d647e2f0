"""The one supervised connection to NATS, on which everything of this package is built.

::

    away ──open──▶ up ──closed by -ERR, end of file, two unanswered probes,
                        a member of a cluster that is apart from it (`members`)──▶ away

In `up` a private echo goes round every ``probe_sec``: nats-py calls itself connected even when its
read loop is dead. Leaving `up` fails every awaited answer at once with `Unavailable`; nothing is
buffered while away, so nothing lands later that its sender has given up on. Entering `up` makes
every subscription again before anybody is told.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Mapping

import anyio
import structlog
from nats.aio.msg import Msg
from nats.errors import BadHeaderError, BadSubjectError, Error

from pandar_daemon.adapters.nats.client import GuardedClient, close_client, open_client
from pandar_daemon.adapters.nats.listening import Listener, Route
from pandar_daemon.adapters.nats.members import SUBJECT, Members, address_of
from pandar_daemon.adapters.nats.replies import Replies, fail
from pandar_daemon.adapters.nats.stalls import Stalls
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import Clock

log = structlog.get_logger(__name__)

MISSES_MAX = 2
DRAIN_SEC = 2.0
LATE = "no answer came in time; ask again"


class NoResponders(Unavailable):
    """503: nobody listens there now."""


class NatsConnection:
    """Publishes, asks and listens; `run` keeps it alive. Every failure is `Unavailable`."""

    def __init__(self, url: str, clock: Clock, name: str, *, probe_sec: float = 2.0) -> None:
        self.clock = clock
        self.up_since: float | None = None
        self.stalls = Stalls(clock)
        self._members = Members(url.split(","), clock)
        self._name = name
        self._probe_sec = probe_sec
        self._client: GuardedClient | None = None
        self._inbox = ""
        self._replies = Replies()
        self._listeners: list[Listener] = []
        self._up = asyncio.Event()

    async def run(self) -> None:
        """Keep a connection up until cancelled; raises nothing else."""
        pauses = self._pauses()
        while True:
            try:
                await self._one_life()
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

    async def _one_life(self) -> None:
        """Connect and stay until the connection is lost; raises if it never was up."""
        client = await open_client(self._members.to_try(), self._name)
        try:
            await self._install(client)
            await self._watch(client)
            log.warning("bus.lost")
        finally:
            self._forget_client()
            with anyio.CancelScope(shield=True):
                await close_client(client)

    async def _install(self, client: GuardedClient) -> None:
        inbox = client.new_inbox()
        await client.hear(f"{inbox}.*", "", self._replies.deliver)
        self._client, self._inbox = client, inbox
        for listener in list(self._listeners):
            await listener.subscribe(client)
        await self.echo(timeout_sec=self._probe_sec * MISSES_MAX)
        self.up_since = self.clock.boottime()
        self._members.joined(_address(client))
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
            if await self._members.is_apart(self._info):
                return
        log.warning("bus.silent", unanswered=misses)

    async def _answers(self) -> bool:
        try:
            await self.echo(timeout_sec=self._probe_sec)
        except Unavailable:
            return False
        return True

    async def _info(self) -> bytes:
        return (await self.request(SUBJECT, timeout_sec=self._probe_sec)).data

    def _forget_client(self) -> None:
        self._client, self.up_since = None, None
        self._up.clear()
        self._replies.lose_all()

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
            raise await _unavailable("the bus is away")
        try:
            await client.send(subject, reply, headers or {}, body)
        except (BadSubjectError, BadHeaderError) as error:
            msg = f"cannot be sent to {subject[:100]!r}: {error}"
            raise ValueError(msg) from error
        except (Error, OSError) as error:
            # Known here before `run` wakes up: `wait_up` must block from now on.
            if self._client is client:
                self._forget_client()
            raise await _unavailable("the bus is away") from error
        except Unavailable as error:
            raise await _unavailable(str(error)) from None

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
            raise Unavailable(LATE) from None
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
            raise Unavailable(LATE) from None
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
        listener = Listener(routes, on_up)
        self._listeners.append(listener)
        try:
            if self._client is not None:
                with contextlib.suppress(Unavailable):
                    await listener.subscribe(self._client)
                    await self.echo(timeout_sec=self._probe_sec * MISSES_MAX)
            yield
        finally:
            self._listeners.remove(listener)
            with anyio.CancelScope(shield=True), anyio.move_on_after(DRAIN_SEC):
                await listener.drain()


def _address(client: GuardedClient) -> str:
    url = client.connected_url
    return "" if url is None else address_of(url)


async def _unavailable(detail: str) -> Unavailable:
    """Return the refusal, having let others run: who tries again at once must not starve us."""
    await asyncio.sleep(0)
    return Unavailable(detail)


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
