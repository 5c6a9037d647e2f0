"""Anthropic's Messages API, scripted: what Claude Code talks to."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web

from tests.support.fake_script import TICK_SEC, Item, Step, error_status, next_turn, ticks, words
from tests.support.fake_stream import stream

Json = dict[str, Any]
USAGE = {
    "input_tokens": 1000,
    "cache_creation_input_tokens": 50,
    "cache_read_input_tokens": 700,
    "output_tokens": 1,
}


def items(body: Mapping[str, Any]) -> list[Item]:
    """Return the conversation so far."""
    found: list[Item] = []
    for message in body["messages"]:
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        found += [_item(message["role"], block) for block in blocks]
    return [item for item in found if item.kind]


def _item(role: str, block: Mapping[str, Any]) -> Item:
    kinds = {"text": "user" if role == "user" else "", "tool_use": "call", "tool_result": "result"}
    return Item(kinds.get(block["type"], ""), str(block.get("text", "")))


async def messages(request: web.Request) -> web.StreamResponse:
    """Answer ``POST /v1/messages``; calls without tools are side calls, such as for a title."""
    body = await request.json()
    steps = next_turn(items(body)) if body.get("tools") else [("done", "title")]
    if status := error_status(steps):
        error = {"type": "overloaded_error", "message": "scripted"}
        return web.json_response({"type": "error", "error": error}, status=status)
    start = _start(body["model"])
    if not body.get("stream"):
        whole = [{"type": "text", "text": "ok"}]
        return web.json_response(start | {"content": whole, "stop_reason": "end_turn"})
    return await stream(request, _events(start, steps))


async def count_tokens(_request: web.Request) -> web.Response:
    """Answer ``POST /v1/messages/count_tokens``."""
    return web.json_response({"input_tokens": 1000})


def _start(model: str) -> Json:
    return {
        "id": f"msg_{uuid.uuid4().hex[:20]}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": USAGE,
    }


async def _events(start: Json, steps: list[Step]) -> AsyncIterator[Json]:
    yield {"type": "message_start", "message": start}
    stop = "end_turn"
    for index, (kind, value) in enumerate(steps):
        if kind in ("say", "done", "slow"):
            block: Json = {"type": "text", "text": ""}
        else:
            stop = "tool_use"
            block = {"type": "tool_use", "id": f"toolu_{uuid.uuid4().hex[:20]}", "input": {}}
            block["name"], given = _tool(kind, value)
        yield {"type": "content_block_start", "index": index, "content_block": block}
        if block["type"] == "tool_use":
            delta: Json = {"type": "input_json_delta", "partial_json": json.dumps(given)}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
        for piece in _pieces(kind, value):
            delta = {"type": "text_delta", "text": piece}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
            await asyncio.sleep(TICK_SEC if kind == "slow" else 0)
        yield {"type": "content_block_stop", "index": index}
    end = {"stop_reason": stop, "stop_sequence": None}
    yield {"type": "message_delta", "delta": end, "usage": {"output_tokens": 42}}
    yield {"type": "message_stop"}


def _pieces(kind: str, value: str) -> list[str]:
    if kind == "slow":
        return ticks(value)
    return words(value) if kind in ("say", "done") else []


def _tool(kind: str, value: str) -> tuple[str, Json]:
    if kind == "write":
        path, text = value.split("=", 1)
        return "Write", {"file_path": path, "content": text}
    if kind == "ask":
        options = [{"label": "one", "description": "1"}, {"label": "two", "description": "2"}]
        question = {"question": value, "header": "Q", "options": options, "multiSelect": False}
        return "AskUserQuestion", {"questions": [question]}
    return "Bash", {"command": value, "description": "scripted command"}
