"""An agent that spends a dollar as soon as it is prompted, and is done when prompted again.

It ends its first turn when it is told to. Run as a program; speaks ACP on its standard streams.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def say(**message: object) -> None:
    """Write a message."""
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def spend(usd: float) -> None:
    """Tell what the session has cost."""
    cost = {"amount": usd, "currency": "USD"}
    update = {"sessionUpdate": "usage_update", "used": 1, "size": 9, "cost": cost}
    say(method="session/update", params={"sessionId": "s", "update": update})


def end(request: object, reason: str) -> None:
    """End a turn."""
    usage = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}
    say(id=request, result={"stopReason": reason, "usage": usage})


def main() -> None:
    """Serve until the standard input ends."""
    turns: list[object] = []
    hello = {"protocolVersion": 1, "agentCapabilities": {"loadSession": False}}
    for line in sys.stdin:
        message: dict[str, Any] = json.loads(line)
        match message.get("method"):
            case "initialize":
                say(id=message["id"], result=hello)
            case "session/new":
                say(id=message["id"], result={"sessionId": "s"})
            case "session/prompt" if not turns:
                turns.append(message["id"])
                spend(1.0)
            case "session/prompt":
                spend(1.5)
                end(message["id"], "end_turn")
            case "session/cancel":
                end(turns[0], "cancelled")


if __name__ == "__main__":
    main()
