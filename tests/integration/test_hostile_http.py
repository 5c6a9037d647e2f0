"""Clients of the HTTP API that lie, or never come to an end."""

from __future__ import annotations

import asyncio
import gzip
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
