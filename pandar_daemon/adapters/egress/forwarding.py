"""One request carried to a server, and its answer back, both as they come."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final

import h11

from pandar_daemon.adapters.egress.heads import inward
from pandar_daemon.adapters.egress.masking import Mask
from pandar_daemon.adapters.egress.peer import Peer
from pandar_daemon.adapters.egress.refused import late, unreachable

_CONTINUE: Final = 100
_PLAIN: Final = frozenset({b"", b"identity"})


class ClientGone(Exception):
    """Who asked is not there any more."""


async def forward(client: Peer, server: Peer, head: h11.Request, mask: Mask) -> None:
    """Return when an answer was given; raises `Refused`, or `ClientGone` when nobody waits for it.

    With secrets in ``mask`` an answer must be in the clear, for these to be seen in it.
    """
    sending = asyncio.create_task(_send(client, server, head))
    try:
        answering = asyncio.create_task(_answer(client, server, mask))
        try:
            await asyncio.wait({sending, answering}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done() and isinstance(sending.exception(), ClientGone):
                raise ClientGone
            await answering
        finally:
            await _stopped(answering)
    except TimeoutError:
        raise late("the server did not answer in time") from None
    except (OSError, h11.ProtocolError) as error:
        raise unreachable(f"the server gave no answer: {error}") from error
    finally:
        await _stopped(sending)


async def _stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # it was seen, or matters no more


async def _send(client: Peer, server: Peer, head: h11.Request) -> None:
    """Carry a request to the server; then raise `ClientGone` once nobody waits for its answer.

    A server that takes no more may have answered already: that is no error here.
    """
    with suppress(OSError, TimeoutError):
        await server.send(head)
        while True:
            try:
                event = await client.next()
            except (OSError, TimeoutError, h11.RemoteProtocolError) as error:
                raise ClientGone from error
            if isinstance(event, h11.EndOfMessage):
                await server.send(h11.EndOfMessage())
                break
            await server.send(event)
    with suppress(OSError):
        await client.gone()
    raise ClientGone


async def _answer(client: Peer, server: Peer, mask: Mask) -> None:
    while not isinstance(event := await server.next(), h11.Response):
        if isinstance(event, h11.InformationalResponse) and event.status_code == _CONTINUE:
            await client.send(h11.InformationalResponse(status_code=_CONTINUE, headers=[]))
        elif isinstance(event, h11.ConnectionClosed):
            raise unreachable("the server closed the connection without an answer")
    _check_readable(event, mask)
    await client.send(inward(event, mask))
    while isinstance(part := await server.next(), h11.Data):
        if data := mask.feed(bytes(part.data)):
            await client.send(h11.Data(data=data))
    if held := mask.flush():
        await client.send(h11.Data(data=held))
    await client.send(h11.EndOfMessage())


def _check_readable(response: h11.Response, mask: Mask) -> None:
    encodings = {value.lower() for name, value in response.headers if name == b"content-encoding"}
    if mask.hides and not encodings <= _PLAIN:
        raise unreachable("the server packed its answer although it was asked not to")
