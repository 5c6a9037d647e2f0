"""Server-sent events of the scripted model servers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web


async def stream(request: web.Request, events: AsyncIterator[dict[str, Any]]) -> web.StreamResponse:
    """Write events as they come; an event's ``type`` is its name, too."""
    response = web.StreamResponse(
        headers={"content-type": "text/event-stream", "cache-control": "no-cache"}
    )
    await response.prepare(request)
    async for event in events:
        name = f"event: {event['type']}\n" if "type" in event else ""
        try:
            await response.write(f"{name}data: {json.dumps(event)}\n\n".encode())
        except ConnectionError:  # a cancelled turn hangs up
            return response
    await response.write_eof()
    return response
