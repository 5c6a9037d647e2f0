"""Health and metrics of a process on a port of their own, for roles that serve no API.

There is no token: whoever reaches the port may read both.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager

from aiohttp import web

from pandar_daemon.adapters.http import health
from pandar_daemon.adapters.http.deps import Limits
from pandar_daemon.adapters.http.listening import listening
from pandar_daemon.adapters.http.middlewares import mark
from pandar_daemon.ports import Wire
from pandar_daemon.telemetry import Metrics


def probing(metrics: Metrics, wire: Wire, host: str, port: int) -> AbstractAsyncContextManager[int]:
    """Serve ``/healthz`` and ``/metrics`` while the context lasts, and give the port.

    Raises ``OSError`` when the port is taken.
    """

    async def shown(_request: web.Request) -> web.Response:
        return health.rendered(metrics, wire)

    app = web.Application()
    app.on_response_prepare.append(mark)
    app.router.add_get("/healthz", health.alive)
    app.router.add_get("/metrics", shown)
    return listening(app, Limits(), host, port)
