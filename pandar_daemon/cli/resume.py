"""A stream of the API that goes on by itself after the connection was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Final

from pandar_daemon.cli.api_client import Api
from pandar_daemon.cli.output import Unreachable, note
from pandar_daemon.cli.sse import Message, Reader

_PATIENCE: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
_TRIES_MAX: Final = 60
"""Tries in a row without a single line: about five minutes, then the daemon is taken for gone."""


async def messages(
    api: Api,
    path: str,
    params: Mapping[str, str] | None = None,
    *,
    after: str = "",
    remark: Callable[[str], None] = note,
) -> AsyncGenerator[Message, None]:
    """Iterate over messages after the one with id ``after``, without a gap or a repetition.

    Remarks when the connection was lost. Raises `Unreachable` when there never was one,
    or when it does not come back for five minutes, and `Refused` as soon as the daemon does.
    """
    reader, failures = Reader(after), 0
    connected = False
    while True:
        try:
            async for line in _lines(api, path, params, reader.last_id):
                connected, failures = True, 0
                if message := reader.line(line):
                    yield message
        except Unreachable:
            failures += 1
            if not connected or failures > _TRIES_MAX:
                raise
            if failures == 1:
                remark("connection lost; trying again")
        await asyncio.sleep(_PATIENCE[min(failures, len(_PATIENCE) - 1)])
        reader = Reader(reader.last_id)


async def _lines(
    api: Api, path: str, params: Mapping[str, str] | None, last_id: str
) -> AsyncGenerator[str, None]:
    headers = {"Accept": "text/event-stream"}
    if last_id:
        headers["Last-Event-ID"] = last_id
    async with api.stream(path, params, headers) as answer:
        while line := await answer.content.readline():
            yield line.decode("utf-8", "replace")
