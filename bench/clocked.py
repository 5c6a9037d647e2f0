"""An agent that asks, and keeps by the machine's clock when it did and when it was told.

``ask N``: so many permissions, one after the other; ``chat N``: so many words, nothing to ask.
When its turn is over, all times are in the file `STAMPS` of its folder, a line a request. It
speaks ACP on its standard streams and uses nothing but the standard library.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

STAMPS = "stamps.jsonl"
WORD = "word " * 10
OPTIONS = [
    {"optionId": "yes", "name": "Yes", "kind": "allow_once"},
    {"optionId": "no", "name": "No", "kind": "reject_once"},
]


def say(**message: object) -> None:
    """Write a message."""
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def hear() -> dict[str, Any]:
    """Return the next message; ends the program when there is none."""
    line = sys.stdin.readline()
    if not line:
        sys.exit()
    message: dict[str, Any] = json.loads(line)
    return message


def ask(number: int) -> dict[str, float]:
    """Ask for one permission; return when that was, and when it was answered."""
    raw = {"command": f"echo {number}", "cwd": str(Path.cwd())}
    call = {"toolCallId": f"c{number}", "title": raw["command"], "kind": "execute", "rawInput": raw}
    params = {"sessionId": "s", "toolCall": call, "options": OPTIONS}
    asked = time.monotonic()
    say(id=number, method="session/request_permission", params=params)
    while hear().get("id") != number:
        pass
    return {"asked": asked, "told": time.monotonic()}


def chat(words: int) -> None:
    """Say so many words."""
    chunk = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": WORD}}
    for _ in range(words):
        say(method="session/update", params={"sessionId": "s", "update": chunk})


def turn(request: object, prompt: str) -> None:
    """Do what is said."""
    verb, _, count = prompt.partition(" ")
    stamps = [ask(number) for number in range(int(count))] if verb == "ask" else []
    if verb == "chat":
        chat(int(count))
    Path(STAMPS).write_text("".join(json.dumps(stamp) + "\n" for stamp in stamps))
    usage = {"inputTokens": 10, "outputTokens": 5, "totalTokens": 15}
    say(id=request, result={"stopReason": "end_turn", "usage": usage})


def main() -> None:
    """Serve until the standard input ends."""
    hello = {"protocolVersion": 1, "agentCapabilities": {"loadSession": False}}
    while True:
        message = hear()
        match message.get("method"):
            case "initialize":
                say(id=message["id"], result=hello)
            case "session/new":
                say(id=message["id"], result={"sessionId": "s"})
            case "session/prompt":
                turn(message["id"], message["params"]["prompt"][0]["text"])


if __name__ == "__main__":
    main()
