"""Clients of the HTTP API that lie, or never come to an end."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pandar_daemon.adapters.http.deps import Limits
from tests.support.api import Api, running_api

BODY = {"Content-Type": "application/json"}


@pytest.fixture
async def api(database_url: str, nats_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """Return an API that waits for nobody, with project 1 of user 1."""
    limits = Limits(idle_sec=0.3, body_sec=0.3)
    async with running_api(database_url, nats_url, tmp_path, limits=limits) as running:
        await running.person().project()
        yield running


async def _exchange(api: Api, request: str) -> bytes:
    """Return all that is answered to an unfinished request until the server closes."""
    port = int(api.base_url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request.encode())
        async with asyncio.timeout(20):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
@pytest.mark.parametrize("path", ["/tasks", "/tasks/bulk", "/tasks/1/action", "/projects"])
async def test_a_body_that_is_not_compressed_as_it_says(api: Api, path: str, encoding: str) -> None:
    """It is the client's fault, not ours: 400, and no word of it in an error log."""
    headers = {**BODY, "Content-Encoding": encoding}
    reply, problem = await api.person().call("POST", path, data=b"{}", headers=headers)
    assert reply.status == 400, problem


async def test_a_small_body_that_grows_beyond_the_limit(api: Api) -> None:
    """What counts is its size once unpacked: 413."""
    bomb = gzip.compress(b" " * 5_000_000)
    headers = {**BODY, "Content-Encoding": "gzip"}
    await api.person().refused("POST", "/tasks", 413, data=bomb, headers=headers)


@pytest.mark.parametrize("begun", ["", "GET /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nX: "])
async def test_headers_that_never_end(api: Api, begun: str) -> None:
    """A connection without a whole request is closed, so that they cannot use up our files."""
    assert await _exchange(api, begun) == b""


async def test_a_body_that_never_ends(api: Api) -> None:
    """Its sender is told so and the connection closed."""
    answer = await _exchange(
        api,
        "POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {api.person().token}\r\nContent-Length: 100\r\n\r\n{{",
    )
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"did not come to its end" in answer


SECRET = "eyJhbGciOiJIUzI1NiJ9"
_LINE = "GET /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (f"{_LINE}Authorization: Bearer {SECRET}{'x' * 20_000}\r\n\r\n", 431, None),
        (f"{_LINE}{SECRET}{'x' * 20_000}: 1\r\n\r\n", 431, None),
        (_LINE + "".join(f"X-{SECRET}-{n}: 1\r\n" for n in range(200)) + "\r\n", 431, None),
        (f"GET /api/v1/tasks?q={SECRET}{'x' * 20_000} HTTP/1.1\r\n\r\n", 414, None),
        (f"{SECRET} nonsense\r\n\r\n", 400, "malformed"),
        (f"{_LINE}Bad Header {SECRET}: 1\r\n\r\n", 400, "malformed"),
        (f"GET http://[{SECRET} HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "malformed"),
        (f"GET / HTTP/{SECRET}\r\n\r\n", 400, "malformed"),
        (f"{_LINE}Connection: close\r\nExpect: {SECRET}\r\n\r\n", 417, "expectation-failed"),
        ("\x16\x03\x01 TLS\r\n\r\n", 400, "malformed"),
    ],
)
async def test_what_cannot_be_read_is_not_repeated(
    api: Api, request_: str, status: int, code: str | None
) -> None:
    """A problem names the limit or the fault; no header, and no name of the software, is told."""
    head, _, body = (await _exchange(api, request_)).decode().partition("\r\n\r\n")
    assert head.split()[1] == str(status)
    assert "Content-Type: application/problem+json" in head
    assert "Server: pandar\r\n" in head + "\r\n"
    assert SECRET not in head + body
    assert "aiohttp" not in (head + body).lower()
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["type"].startswith("urn:pandar:problem:")
    assert code is None or problem["type"].endswith(code)
