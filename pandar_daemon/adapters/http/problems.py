"""RFC 9457 on HTTP: every error is a `Problem`; none tells an unexpected exception's text."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler

from events.problem import CONTENT_TYPE, Problem
from pandar_daemon.domain.refusals import Refusal, TooLarge, TooMany, Unavailable

log = structlog.get_logger(__name__)

_HEADERS: Mapping[int, Mapping[str, str]] = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": 'Bearer realm="pandar"'},
    HTTPStatus.TOO_MANY_REQUESTS: {"Retry-After": "5"},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "1"},
}


class UnsupportedMedia(Refusal):
    """415: a body that does not say it is JSON."""

    def __init__(self, content_type: str) -> None:
        super().__init__(
            Problem(
                type="urn:pandar:problem:unsupported-media-type",
                title="Unsupported media type",
                status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
                detail=f"send Content-Type: application/json, not {content_type}",
            )
        )


class TooManyStreams(Refusal):
    """429: this user has as many open streams as one may have."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            Problem(
                type="urn:pandar:problem:too-many-streams",
                title="Too many open streams",
                status=HTTPStatus.TOO_MANY_REQUESTS,
                detail=f"at most {limit} streams may be open at once; close one first",
            )
        )


def response(problem: Problem, headers: Mapping[str, str] | None = None) -> web.Response:
    """Return a problem as the answer to a request, with the headers its status calls for."""
    return web.Response(
        body=msgspec.json.encode(problem),
        status=problem.status,
        content_type=CONTENT_TYPE,
        headers={**_HEADERS.get(problem.status, {}), **(headers or {})},
    )


def of_http(error: web.HTTPException) -> Problem:
    """Return a refusal of the router's as a problem."""
    status = HTTPStatus(error.status)
    return Problem(
        type=f"urn:pandar:problem:{status.phrase.lower().replace(' ', '-')}",
        title=status.phrase,
        status=status,
    )


INTERNAL = Problem(
    type="urn:pandar:problem:internal",
    title="Internal error",
    status=HTTPStatus.INTERNAL_SERVER_ERROR,
    detail="Pandar's log has the details under this answer's X-Request-ID",
)


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turn whatever a handler raises into a problem; once a stream has begun, only end it."""
    try:
        return await handler(request)
    except Refusal as refusal:
        again = refusal.retry_after_sec if isinstance(refusal, TooMany) else None
        return response(refusal.problem, {"Retry-After": str(again)} if again else None)
    except web.HTTPRequestEntityTooLarge:
        limit = request.client_max_size
        return response(TooLarge(f"a body may have {limit} bytes").problem)
    except web.HTTPException as error:
        allow = error.headers.get("Allow")
        return response(of_http(error), {"Allow": allow} if allow else None)
    except OSError:
        log.exception("http.backend_away")
        return response(Unavailable("a part Pandar needs is away; ask again").problem)
    except Exception:
        log.exception("http.failed")
        return response(INTERNAL)
