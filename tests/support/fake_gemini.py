"""Google's Gemini API, scripted: what Gemini CLI talks to."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from aiohttp import web

from tests.support.fake_script import TICK_SEC, Item, Step, error_status, next_turn, ticks
from tests.support.fake_stream import stream

Json = dict[str, Any]
USAGE = {
    "promptTokenCount": 1200,
    "candidatesTokenCount": 42,
    "totalTokenCount": 1249,
    "thoughtsTokenCount": 7,
    "cachedContentTokenCount": 700,
}
SIDE = {
    "reasoning": "x",
    "next_speaker": "user",
    "model_choice": "flash",
    "complexity_reasoning": "x",
    "complexity_score": 1,
}


def items(body: Mapping[str, Any]) -> list[Item]:
    """Return the conversation so far."""
    parts = [
        (content.get("role", "user"), part)
        for content in body.get("contents", [])
        for part in content.get("parts", [])
    ]
    return [item for role, part in parts if (item := _item(role, part)).kind]


def _item(role: str, part: Mapping[str, Any]) -> Item:
    if "functionResponse" in part:
        return Item("result")
    if "functionCall" in part:
        return Item("call")
    return Item("user" if role == "user" else "", str(part.get("text", "")))


async def generate(request: web.Request) -> web.StreamResponse:
    """Answer ``POST /{version}/models/{model}:{method}``; JSON is asked for by side calls."""
    body = await request.json()
    model, method = request.match_info["model"].rsplit(":", 1)
    if method == "countTokens":
        return web.json_response({"totalTokens": 1200})
    wants_json = body.get("generationConfig", {}).get("responseMimeType") == "application/json"
    if method == "generateContent":
        return web.json_response(_chunk(model, [{"text": json.dumps(SIDE)}], "STOP"))
    steps = [("done", json.dumps(SIDE))] if wants_json else next_turn(items(body))
    if status := error_status(steps):
        error = {"code": status, "message": "scripted", "status": "UNAVAILABLE"}
        return web.json_response({"error": error}, status=status)
    return await stream(request, _events(model, steps))


async def _events(model: str, steps: list[Step]) -> AsyncIterator[Json]:
    for kind, value in steps:
        if kind == "slow":
            for piece in ticks(value):
                yield _chunk(model, [{"text": piece}])
                await asyncio.sleep(TICK_SEC)
        elif kind in ("say", "done"):
            yield _chunk(model, [{"text": value}])
        else:
            yield _chunk(model, [{"functionCall": _call(kind, value)}])
    yield _chunk(model, [{"text": ""}], "STOP")


def _chunk(model: str, parts: list[Json], finish: str = "") -> Json:
    candidate: Json = {"content": {"role": "model", "parts": parts}, "index": 0}
    if finish:
        candidate["finishReason"] = finish
    told = {"usageMetadata": USAGE, "modelVersion": model, "responseId": "r1"}
    return {"candidates": [candidate], **told}


def _call(kind: str, value: str) -> Json:
    if kind == "write":
        path, text = value.split("=", 1)
        return {"name": "write_file", "args": {"file_path": path, "content": text}}
    given = {"command": value, "description": "scripted command"}
    return {"name": "run_shell_command", "args": given}
