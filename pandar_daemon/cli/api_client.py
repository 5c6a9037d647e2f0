"""The HTTP API as the command line uses it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiohttp
import msgspec
from msgspec import Struct
from yarl import URL

from events.problem import CONTENT_TYPE, Problem
from events.task import Json
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.cli.output import CliError, Exit, Refused, Unreachable
from pandar_daemon.cli.rows import ForeignAnswer

API: Final = "/api/v1"
_CONNECT_SEC: Final = 5.0
_ANSWER_SEC: Final = 30.0
_QUIET_SEC: Final = 60.0
"""A stream that says nothing for this long, not even a keep-alive, is taken for dead."""
_LINE_MAX: Final = 2 * 1024 * 1024
_NOT_READY: Final = frozenset({502, 503, 504})
_CLIENT_ERROR, _SERVER_ERROR = 400, 500
_ANSWER: Final = aiohttp.ClientTimeout(total=_ANSWER_SEC, sock_connect=_CONNECT_SEC)
_ENDLESS: Final = aiohttp.ClientTimeout(sock_connect=_CONNECT_SEC, sock_read=_QUIET_SEC)


class Access(Struct, frozen=True, kw_only=True):
    """Where the API is, and what shows who asks; the token is read when it is needed."""

    url: str
    token_file: Path | None = None
    token: str | None = None

    def bearer(self) -> str:
        """Return the token; raises `CliError` that says where one comes from."""
        if self.token:
            return self.token
        if self.token_file is None:
            raise CliError(
                "no token",
                f"the token of the daemon here is not sent to {self.url}",
                "set PANDAR_TOKEN or name a file with --token-file",
                code=Exit.USAGE,
            )
        try:
            return self.token_file.read_text().strip()
        except OSError as error:
            raise CliError(
                f"no token: {self.token_file} cannot be read ({error.strerror})",
                "`pandar up` writes it; or set PANDAR_TOKEN, or name a file with --token-file",
                code=Exit.USAGE,
            ) from error


class Api:
    """One session with the API; an async context manager. Follows no redirect with the token.

    Every method raises `Unreachable` when nobody answers, `Refused` for a 4xx answer and
    `ForeignAnswer` when what answers is no Pandar.
    """

    def __init__(self, access: Access) -> None:
        self._base = access.url.rstrip("/") + API
        self._bearer = access.bearer()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {self._bearer}", "Accept": "application/json"},
            read_bufsize=_LINE_MAX,
        )
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Json:
        """Return the JSON object at a path."""
        async with self._asked("GET", path, params=params, headers=headers) as answer:
            return _object(await answer.read())

    async def post(self, path: str, body: Json) -> Json:
        """Send a command; trying again by itself it never does it twice."""
        async with self._asked("POST", path, body=body, headers=_once()) as answer:
            return _object(await answer.read())

    async def put(self, path: str, body: Json) -> Json:
        """Send a command, as `post` does."""
        async with self._asked("PUT", path, body=body, headers=_once()) as answer:
            return _object(await answer.read())

    async def delete(self, path: str) -> None:
        """Send a command that is answered with nothing."""
        async with self._asked("DELETE", path, headers=_once()):
            return

    @asynccontextmanager
    async def stream(
        self,
        path: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Open an answer without an end; reading it raises `Unreachable` when it breaks off."""
        async with self._asked(
            "GET", path, params=params, headers=headers, wait=_ENDLESS
        ) as answer:
            yield answer

    @asynccontextmanager
    async def _asked(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: Json | None = None,
        headers: Mapping[str, str] | None = None,
        wait: aiohttp.ClientTimeout = _ANSWER,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise RuntimeError("Api is used outside its `async with`")
        url = URL(self._base + path, encoded=True).update_query(dict(params or {}))
        data = None if body is None else msgspec.json.encode(body)
        sent = {**(headers or {}), **({"Content-Type": "application/json"} if data else {})}
        try:
            async with self._session.request(
                method, url, data=data, headers=sent, allow_redirects=False, timeout=wait
            ) as answer:
                if answer.status >= 300:  # noqa: PLR2004 - anything but success
                    raise _refusal(answer, await answer.read())
                yield answer
        except aiohttp.InvalidURL as error:
            raise CliError(f"{self._base} is not a URL", code=Exit.USAGE) from error
        except (aiohttp.ClientError, TimeoutError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: BaseException) -> Unreachable:
        where = self._base.removesuffix(API)
        why = "it does not answer in time" if isinstance(error, TimeoutError) else _why(error)
        return Unreachable(
            f"cannot reach Pandar at {where}: {why}",
            "is it running? `pandar up` starts it; --url or PANDAR_URL name another",
        )


def _why(error: BaseException) -> str:
    cause = getattr(error, "os_error", error)
    number = getattr(cause, "errno", None) or 0
    if number > 0:
        return os.strerror(number).lower()
    return getattr(cause, "strerror", None) or str(cause) or type(error).__name__


def _object(data: bytes) -> Json:
    try:
        return msgspec.json.decode(data, type=Json)
    except msgspec.MsgspecError as error:
        raise ForeignAnswer(f"not JSON of Pandar's API: {error}") from error


def _refusal(answer: aiohttp.ClientResponse, data: bytes) -> CliError:
    problem = _problem(answer, data)
    if answer.status in _NOT_READY:
        return Unreachable(f"Pandar is not ready: {problem.detail or problem.title}")
    if _CLIENT_ERROR <= answer.status < _SERVER_ERROR:
        return Refused(problem)
    return CliError(f"the daemon answered {answer.status}: {problem.detail or problem.title}")


def _problem(answer: aiohttp.ClientResponse, data: bytes) -> Problem:
    if answer.content_type == CONTENT_TYPE:
        try:
            return msgspec.json.decode(data, type=Problem)
        except msgspec.MsgspecError:
            pass
    title = f"{answer.status} {answer.reason or ''}".strip()
    return Problem(type="about:blank", title=title, status=answer.status, detail="not by Pandar?")


def _once() -> dict[str, str]:
    return {"Idempotency-Key": str(SystemClock().new_id())}
