"""``codex app-server`` as lines it writes, and a driver that hears them."""

from __future__ import annotations

from typing import Any

import msgspec

from pandar_daemon.adapters.agents.codex_app_server import CodexDriver
from tests.support.acp_lines import NOW

THREAD, TURN = "t-1", "u-1"
Json = dict[str, Any]


def line(**message: object) -> bytes:
    """Return a message; Codex leaves the protocol's version out."""
    return msgspec.json.encode(message) + b"\n"


def note(method: str, **params: object) -> bytes:
    """Return a notification about our thread."""
    return line(method=method, params={"threadId": THREAD, **params})


def asks(number: object, method: str, **params: object) -> bytes:
    """Return a request about our thread."""
    return line(id=number, method=method, params={"threadId": THREAD, "turnId": TURN, **params})


def item(method: str, **fields: object) -> bytes:
    """Return what is told of an item."""
    return note(f"item/{method}", item=fields)


def used(total: int, last: int) -> bytes:
    """Return what the thread has consumed: so much input, a tenth as much output, half cached."""
    told = {name: _tokens(count) for name, count in (("total", total), ("last", last))}
    return note("thread/tokenUsage/updated", tokenUsage=told)


def _tokens(count: int) -> Json:
    return {
        "inputTokens": count,
        "cachedInputTokens": count // 2,
        "outputTokens": count // 10,
        "reasoningOutputTokens": 0,
        "totalTokens": count + count // 10,
    }


def completed(status: str = "completed", **error: object) -> bytes:
    """Return the end of a turn."""
    turn: Json = {"id": TURN, "status": status, "items": [], "error": error or None}
    return note("turn/completed", turn=turn)


def driver() -> CodexDriver:
    """Return a driver at the beginning."""
    return CodexDriver(lambda: NOW)


def ready() -> CodexDriver:
    """Return a driver whose agent can be prompted."""
    made = driver()
    made.open("/srv")
    made.receive(line(id=1, result={"userAgent": "codex"}))
    made.receive(line(id=2, result={"thread": {"id": THREAD}}))
    return made


def prompted() -> CodexDriver:
    """Return a driver in its first turn."""
    made = ready()
    made.prompt("Do it.")
    made.receive(line(id=3, result={"turn": {"id": TURN, "status": "inProgress", "items": []}}))
    return made
