"""Serving an application on a port."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from pandar_daemon.adapters.http.deps import Limits
from pandar_daemon.adapters.http.unreadable import Quiet


def _without_details(record: logging.LogRecord) -> bool:
    """Keep what could not even be read, perhaps a token, out of our log."""
    record.exc_info = record.exc_text = None
    return True


_garbage: Final = logging.getLogger("pandar.http")
_garbage.addFilter(_without_details)


@asynccontextmanager
async def listening(
    app: web.Application, limits: Limits, host: str, port: int
) -> AsyncIterator[int]:
    """Serve an application while the context lasts, and give the port it listens on.

    Leaving it refuses new connections, ends the streams, and lets requests in hand finish for
    5 s. Raises ``OSError`` when the port is taken.
    """
    runner = Quiet(
        app,
        access_log=None,
        handle_signals=False,
        keepalive_timeout=limits.idle_sec,  # to the end of a request's headers, too
        handler_cancellation=True,  # a client that leaves ends its stream at once
        logger=_garbage,
        max_line_size=limits.line_bytes,
        max_field_size=limits.header_bytes,
        shutdown_timeout=5.0,
    )
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        yield int(runner.addresses[0][1])
    finally:
        await runner.cleanup()
