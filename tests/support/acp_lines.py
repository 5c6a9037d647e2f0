"""An ACP agent as lines it writes, and a driver that hears them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from pandar_daemon.adapters.agents.acp import AcpDriver
from pandar_daemon.adapters.agents.quirks import Quirks
from pandar_daemon.domain.hearing import Heard

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
SESSION = "s-1"
PROMPT_ID = 3
OPTIONS = [
    {"optionId": "always", "name": "Always", "kind": "allow_always"},
    {"optionId": "yes", "name": "Yes", "kind": "allow_once"},
    {"optionId": "no", "name": "No", "kind": "reject_once"},
]
CANCELLED = {"outcome": {"outcome": "cancelled"}}
USAGE = {"inputTokens": 800, "outputTokens": 84, "cachedReadTokens": 1400, "totalTokens": 2284}

Json = dict[str, Any]


def line(**message: object) -> bytes:
    """Return a message as the agent writes it."""
    return msgspec.json.encode({"jsonrpc": "2.0", **message}) + b"\n"


def hello(**capabilities: object) -> bytes:
    """Return the answer to ``initialize``."""
    return line(id=1, result={"protocolVersion": 1, "agentCapabilities": capabilities})


def began(session: str = SESSION) -> bytes:
    """Return the answer to ``session/new``."""
    return line(id=2, result={"sessionId": session})


def update(kind: str, /, **fields: object) -> bytes:
    """Return a ``session/update``."""
    told = {"sessionUpdate": kind, **fields}
    return line(method="session/update", params={"sessionId": SESSION, "update": told})


def said(words: str) -> bytes:
    """Return a piece of what the agent says."""
    return update("agent_message_chunk", content={"type": "text", "text": words})


def asks(number: object, call: Json, options: Sequence[Json] = OPTIONS) -> bytes:
    """Return a request for permission."""
    params = {"sessionId": SESSION, "toolCall": call, "options": options}
    return line(id=number, method="session/request_permission", params=params)


def ended(reason: str = "end_turn", **fields: object) -> bytes:
    """Return the answer to the first prompt."""
    return line(id=PROMPT_ID, result={"stopReason": reason, "usage": USAGE, **fields})


def failed(message: str, code: int = -32603, **data: object) -> bytes:
    """Return an error as the answer to the first prompt."""
    return line(id=PROMPT_ID, error={"code": code, "message": message, "data": data})


def messages(data: bytes) -> list[Json]:
    """Return what was written, message by message."""
    return [msgspec.json.decode(each, type=Json) for each in data.splitlines()]


def driver(quirks: Quirks | None = None) -> AcpDriver:
    """Return a driver at the beginning, at noon of a day in March."""
    return AcpDriver(lambda: NOW, quirks or Quirks(agent="robot"))


def ready(quirks: Quirks | None = None) -> AcpDriver:
    """Return a driver whose agent can be prompted."""
    made = driver(quirks)
    made.open("/srv")
    made.receive(hello(loadSession=True))
    made.receive(began())
    return made


def prompted(quirks: Quirks | None = None) -> AcpDriver:
    """Return a driver in its first turn."""
    made = ready(quirks)
    made.prompt("Do it.")
    return made


def heard(made: AcpDriver, *lines: bytes) -> list[Heard]:
    """Return what is heard of these lines."""
    return list(made.receive(b"".join(lines))[0])


def wrote(made: AcpDriver, *lines: bytes) -> list[Json]:
    """Return what the driver writes of its own accord at these lines."""
    return messages(made.receive(b"".join(lines))[1])
