"""Servers of others on this machine: one that is called by HTTP, and one that takes mail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

import msgspec
from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session

from events.task import Json

LOCAL = "127.0.0.1"
PATIENCE_SEC = 30.0


@dataclass
class Called:
    """A request that came; header names are in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Json:
        """Return the body as JSON."""
        decoded: Json = msgspec.json.decode(self.body)
        return decoded


@dataclass
class Receiver:
    """Answers each request with the next of `answers`, then with 204; keeps what came.

    An answer is a status, headers and a body; `hold` makes requests wait until it is set again.
    """

    port: int = 0
    calls: list[Called] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    hold: asyncio.Event = field(default_factory=asyncio.Event)
    _came: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"http://{LOCAL}:{self.port}"

    def say(self, status: int, body: object = b"", **headers: str) -> None:
        """Answer one more request so; ``body`` is bytes, or becomes JSON."""
        data = body if isinstance(body, bytes) else msgspec.json.encode(body)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers.append((status, names, data))

    async def called(self, times: int = 1) -> list[Called]:
        """Return all requests once there are so many."""
        async with asyncio.timeout(PATIENCE_SEC), self._came:
            await self._came.wait_for(lambda: len(self.calls) >= times)
        return self.calls

    async def handle(self, request: web.Request) -> web.Response:
        """Answer a request."""
        body = await request.read()
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.calls.append(Called(request.path_qs, headers, body))
        async with self._came:
            self._came.notify_all()
        await self.hold.wait()
        status, given, said = self.answers.pop(0) if self.answers else (204, {}, b"")
        return web.Response(status=status, headers=given, body=said)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """Yield a server on a free port of this machine."""
    receiver = Receiver()
    receiver.hold.set()
    app = web.Application(client_max_size=16 * 2**20)
    app.router.add_route("*", "/{path:.*}", receiver.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    try:
        site = web.TCPSite(runner, LOCAL, 0)
        await site.start()
        receiver.port = runner.addresses[0][1]
        yield receiver
    finally:
        await runner.cleanup()


@dataclass
class MailServer:
    """Takes mail, or answers recipients with the next of `refusals`; keeps what came."""

    port: int = 0
    refusals: list[str] = field(default_factory=list)
    _mails: asyncio.Queue[tuple[list[str], EmailMessage]] = field(default_factory=asyncio.Queue)

    async def mail(self) -> tuple[list[str], EmailMessage]:
        """Return the recipients and the next mail."""
        async with asyncio.timeout(PATIENCE_SEC):
            return await self._mails.get()

    async def handle_RCPT(  # noqa: N802 - the library names it
        self,
        _server: SMTP,
        _session: Session,
        envelope: Envelope,
        address: str,
        _options: list[str],
    ) -> str:
        """Accept a recipient, or not."""
        if self.refusals:
            return self.refusals.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - the library names it
        self, _server: SMTP, _session: Session, envelope: Envelope
    ) -> str:
        """Take a mail."""
        assert isinstance(envelope.content, bytes)
        mail = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(mail, EmailMessage)
        self._mails.put_nowait(([str(one) for one in envelope.rcpt_tos], mail))
        return "250 OK"


@asynccontextmanager
async def mail_server() -> AsyncIterator[MailServer]:
    """Yield a mail server on a free port of this machine."""
    made = MailServer()
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(lambda: SMTP(made, hostname=LOCAL, loop=loop), LOCAL, 0)
    made.port = listening.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        listening.close()
        await listening.wait_closed()
