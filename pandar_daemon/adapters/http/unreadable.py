"""Requests that could not even be read, answered as every error is.

The server below us would tell such a client in plain text what it sent, perhaps a token, and its
own name. Here it gets a problem that repeats nothing.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError, LineTooLong
from aiohttp.typedefs import Handler

from events.problem import Problem
from pandar_daemon.adapters.http.middlewares import SECURITY
from pandar_daemon.adapters.http.problems import INTERNAL, of_http, response
from pandar_daemon.domain.refusals import Malformed

log = structlog.get_logger(__name__)

_HEADERS: Final = {**SECURITY, "Server": "pandar", "Cache-Control": "no-store"}
_TOO_MANY: Final = "Too many headers"


class Quiet(web.AppRunner):
    """Serves an application and repeats nothing of what it cannot read."""

    __slots__ = ()

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            _problems(made.request_handler),  # type: ignore[arg-type]
            request_factory=made.request_factory,
            handler_cancellation=made.handler_cancellation,
            **made._kwargs,  # noqa: SLF001 - what the application was given, as it gives it on
        )


class _Server(web.Server):
    def __call__(self) -> web.RequestHandler:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Connection(web.RequestHandler):
    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = HTTPStatus.INTERNAL_SERVER_ERROR,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002 - it repeats what was sent
    ) -> web.StreamResponse:
        """Return the answer to a request that cannot be read, or failed outside its handler."""
        if request.writer.output_size > 0:
            msg = "an answer has begun; only breaking it off tells that it failed"
            raise ConnectionError(msg)
        if isinstance(exc, HttpProcessingError):
            problem = _problem(exc, self.max_line_size)
            log.info("http.unreadable", status=problem.status, error=type(exc).__name__)
        else:
            problem = INTERNAL
            log.error("http.failed", status=status, exc_info=exc)
        answer = response(problem, _HEADERS)
        answer.force_close()
        return answer


def _problem(error: HttpProcessingError, line_bytes: int) -> Problem:
    if isinstance(error, LineTooLong):
        return _too_long(error.args[1], line_bytes)
    if error.message.startswith(_TOO_MANY):
        return _head(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "send fewer headers")
    return Malformed("this is not HTTP/1.1 as RFC 9112 has it").problem


def _too_long(limit: object, line_bytes: int) -> Problem:
    if limit == line_bytes:
        return _head(HTTPStatus.REQUEST_URI_TOO_LONG, f"a URL may have {limit} bytes")
    return _head(
        HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
        f"a header may have {limit} bytes, name included",
    )


def _head(status: HTTPStatus, detail: str) -> Problem:
    name = status.phrase.lower().replace(" ", "-").replace("request-", "")
    return Problem(
        type=f"urn:pandar:problem:{name}", title=status.phrase, status=status, detail=detail
    )


def _problems(handler: Handler) -> Handler:
    """Answer what the router refuses before any middleware of ours sees it, such as ``Expect``."""

    async def handle(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except web.HTTPException as error:
            return response(of_http(error), _HEADERS)

    return handle
