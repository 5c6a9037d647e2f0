"""What happens to every request before its handler sees it, and to every answer after."""

from __future__ import annotations

from typing import Final

import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from events.ids import TOKEN as TOKEN_RULE
from pandar_daemon.adapters.http.deps import (
    DEPS,
    PRINCIPAL,
    REQUEST_ID,
    TOKEN,
    TRACEPARENT,
    Deps,
    deps,
)
from pandar_daemon.adapters.http.limiting import COUNTERS
from pandar_daemon.adapters.http.params import header_number
from pandar_daemon.adapters.http.positions import reached
from pandar_daemon.adapters.http.problems import problems
from pandar_daemon.domain.refusals import Malformed, Unauthenticated
from pandar_daemon.telemetry import Traceparent

log = structlog.get_logger(__name__)

API: Final = "/api/"
PAGES: Final = "/a/"
OPEN: Final = frozenset({"/api/v1/openapi.json"})
"""The description of the API is no secret: its source is public."""
SECURITY: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
}


async def mark(request: web.Request, answer: web.StreamResponse) -> None:
    """Put the headers on an answer that every answer has."""
    answer.headers["Server"] = "pandar"
    for name, value in SECURITY.items():
        answer.headers.setdefault(name, value)
    if request.path.startswith(API):
        answer.headers.setdefault("Cache-Control", "private, no-cache")
    if REQUEST_ID in request:
        answer.headers["X-Request-ID"] = request[REQUEST_ID]


@web.middleware
async def observe(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Name, trace, count and log a request; its query string is never logged."""
    needs = deps(request)
    _identify(request, needs)
    began = needs.clock.boottime()
    status = 499  # the client left before there was an answer
    try:
        answer = await handler(request)
        status = answer.status
        return answer
    finally:
        took = needs.clock.boottime() - began
        needs.metrics.served(request.method, _route(request), status, took)
        log.info(
            "http.served",
            method=request.method[:20],
            path=_path(request),
            status=status,
            duration_ms=round(took * 1000, 1),
            request_id=request[REQUEST_ID],
        )


def _identify(request: web.Request, needs: Deps) -> None:
    asked = request.headers.get("X-Request-ID", "")
    fresh = needs.clock.new_id()
    request[REQUEST_ID] = asked if TOKEN_RULE.fullmatch(asked) else str(fresh)
    caller = Traceparent.parse(request.headers.get("traceparent"))
    span = needs.clock.new_id()
    here = caller.child(span) if caller else Traceparent.new(fresh, span)
    request[TRACEPARENT] = str(here)


def _path(request: web.Request) -> str:
    """Return the path for the log: elsewhere than in the API it may hold the secret of a link."""
    return request.path[:200] if request.path.startswith(API) else _route(request)


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical.rstrip("/") if resource else "unmatched"


@web.middleware
async def known_host(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse a Host that is none of ours; probes may use any."""
    hosts = deps(request).hosts
    if hosts and request.path.startswith(API) and _host(request) not in hosts:
        raise Malformed("the Host header names no host this server answers to")
    return await handler(request)


def _host(request: web.Request) -> str:
    name = request.headers.get("Host", "").lower()
    return name.partition("]")[0] + "]" if name.startswith("[") else name.partition(":")[0]


@web.middleware
async def authenticated(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let nobody without a valid token see anything of the API but its description.

    Nor anybody ask too often; but the probes of a supervisor.
    """
    counters = request.app[COUNTERS]
    if request.path.startswith(API) and _route(request) not in OPEN:
        try:
            await authenticate(request)
        except Unauthenticated:
            counters.failure(request)
            raise
        counters.user(request[PRINCIPAL])
    elif request.path.startswith((API, PAGES)):
        counters.address(request)
    return await handler(request)


async def authenticate(request: web.Request) -> None:
    """Find out who is asking, by the ``Authorization`` header alone; raises `Unauthenticated`."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not token:
        raise Unauthenticated("send Authorization: Bearer <token>; `pandar token` makes one")
    request[PRINCIPAL] = await deps(request).verifier.verify(token)
    request[TOKEN] = token


@web.middleware
async def caught_up(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Hold a read until the read models are at ``Pandar-Min-Position``."""
    position = header_number(request, "Pandar-Min-Position")
    waits = request.method in ("GET", "HEAD") and _route(request) not in OPEN
    if position is not None and waits:
        await reached(deps(request), position)
    return await handler(request)


def install(app: web.Application, needs: Deps) -> None:
    """Put all of this round an application's handlers."""
    app[DEPS] = needs
    app.middlewares.extend([observe, problems, known_host, authenticated, caught_up])
    app.on_response_prepare.append(mark)


__all__ = ["authenticate", "install"]
