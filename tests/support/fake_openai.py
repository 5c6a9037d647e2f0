"""OpenAI's Responses API, scripted: what Codex talks to."""

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
SHELLS = ("exec_command", "shell_command", "shell", "local_shell")
USAGE = {
    "input_tokens": 1100,
    "input_tokens_details": {"cached_tokens": 700},
    "output_tokens": 42,
    "output_tokens_details": {"reasoning_tokens": 7},
    "total_tokens": 1142,
}


def items(body: Mapping[str, Any]) -> list[Item]:
    """Return the conversation so far."""
    return [item for each in body.get("input", []) if (item := _item(each)).kind]


def _item(entry: Mapping[str, Any]) -> Item:
    kind = entry.get("type", "message")
    if kind == "message" and entry.get("role") == "user":
        content = entry["content"]
        parts = [content] if isinstance(content, str) else [p.get("text", "") for p in content]
        return Item("user", "".join(parts))
    if kind.endswith("_call"):
        return Item("call")
    return Item("result" if kind.endswith("_output") else "")


async def responses(request: web.Request) -> web.StreamResponse:
    """Answer ``POST /v1/responses``; calls without a shell are side calls, such as for a title."""
    body = await request.json()
    tools = {tool.get("name") or tool.get("type") for tool in body.get("tools", [])}
    shell = next((name for name in SHELLS if name in tools), "")
    side: list[Step] = [("done", json.dumps({"title": "scripted"}))]
    steps = next_turn(items(body)) if shell else side
    if status := error_status(steps):
        error = {"message": "scripted", "type": "server_error", "code": None}
        return web.json_response({"error": error}, status=status)
    return await stream(request, _events(steps, shell))


async def _events(steps: list[Step], shell: str) -> AsyncIterator[Json]:
    made = f"resp_{uuid.uuid4().hex[:20]}"
    yield {"type": "response.created", "response": {"id": made}}
    output: list[Json] = []
    for index, (kind, value) in enumerate(steps):
        if kind in ("say", "done", "slow"):
            pieces = ticks(value) if kind == "slow" else words(value)
            item = _message("".join(pieces))
            opened = item | {"content": [], "status": "in_progress"}
            yield {"type": "response.output_item.added", "output_index": index, "item": opened}
            for piece in pieces:
                yield _delta(item["id"], index, piece)
                await asyncio.sleep(TICK_SEC if kind == "slow" else 0)
        else:
            item = _call(kind, value, shell)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
        output.append(item)
    end = {"id": made, "status": "completed", "output": output, "usage": USAGE}
    yield {"type": "response.completed", "response": end}


def _delta(message: str, index: int, piece: str) -> Json:
    where = {"item_id": message, "output_index": index, "content_index": 0}
    return {"type": "response.output_text.delta", "delta": piece, **where}


def _message(text: str) -> Json:
    content = [{"type": "output_text", "text": text, "annotations": []}]
    identity = {"id": f"msg_{uuid.uuid4().hex[:16]}", "type": "message", "role": "assistant"}
    return {**identity, "status": "completed", "content": content}


def _call(kind: str, value: str, shell: str) -> Json:
    command = value
    if kind == "write":
        path, text = value.split("=", 1)
        command = f"cat > {path} <<'E'\n{text}\nE"
    given: Json = {
        "exec_command": {"cmd": command},
        "shell_command": {"command": command},
    }.get(shell, {"command": ["bash", "-lc", command]})
    if kind == "run":
        given["sandbox_permissions"] = "require_escalated"
        given["justification"] = "scripted: needs to leave the sandbox"
    identity = f"call_{uuid.uuid4().hex[:16]}"
    return {
        "type": "function_call",
        "id": f"fc_{identity}",
        "call_id": identity,
        "name": shell,
        "arguments": json.dumps(given),
        "status": "completed",
    }
