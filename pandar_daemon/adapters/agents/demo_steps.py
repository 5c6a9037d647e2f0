"""How the demo agent does its steps: each a generator that yields what it must wait for.

It yields the numbers of requests it waits for, or seconds to let pass, and is sent the answers.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import IO, Final, Protocol

from pandar_daemon.adapters.agents.jsonrpc import Params
from pandar_daemon.adapters.agents.shapes import mapping, text

TICK_SEC: Final = 0.05
OPTIONS: Final[list[Params]] = [
    {"optionId": "always", "name": "Always allow", "kind": "allow_always"},
    {"optionId": "once", "name": "Allow", "kind": "allow_once"},
    {"optionId": "no", "name": "Reject", "kind": "reject_once"},
]

Reply = dict[str, object]
Doing = Generator["int | float", "Reply", None]


class Cancelled(Exception):
    """The turn is over because nobody wants it any more."""


class Ended(Exception):
    """The turn ends here, with this answer."""

    def __init__(self, result: Params | None = None, error: Params | None = None) -> None:
        self.result, self.error = result, error


class Talk(Protocol):
    """What a step needs to say."""

    cwd: Path
    stubborn: bool

    def update(self, update: Params) -> None:
        """Tell the client, and remember it for when the session is loaded."""
        ...

    def ask(self, method: str, params: Params) -> int:
        """Send a request; return its number."""
        ...

    def tell(self, method: str, params: Params) -> None:
        """Send a notification."""
        ...

    def write(self, data: bytes) -> None:
        """Write what is no message."""
        ...

    def new_call_id(self) -> str:
        """Return an id for a call."""
        ...


def _say(talk: Talk, value: str) -> Doing:
    talk.update(chunk("agent_message_chunk", value))
    yield from ()


def _think(talk: Talk, value: str) -> Doing:
    talk.update(chunk("agent_thought_chunk", value))
    yield from ()


def _run(talk: Talk, value: str) -> Doing:
    call = execute(talk, value)
    if not (yield from _allowed(talk, call)):
        return
    with tempfile.TemporaryFile() as output:
        code = yield from _process(talk, value, output)
        output.seek(0)
        _finish(
            talk, call, "failed" if code else "completed", output.read().decode(errors="replace")
        )


def _process(talk: Talk, command: str, output: IO[bytes]) -> Generator[float, Reply, int]:
    """Run a command to its end and return its code; kill it when the turn ends before."""
    process = subprocess.Popen(  # noqa: S602 - it is shell text, and somebody allowed it
        command, shell=True, cwd=talk.cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output
    )
    try:
        while process.poll() is None:
            yield TICK_SEC
    finally:
        process.kill()
    return process.wait()


def _write(talk: Talk, value: str) -> Doing:
    name, _, new = value.partition("=")
    path = talk.cwd / name
    old = path.read_text() if path.exists() else None
    diff = {"type": "diff", "path": str(path), "oldText": old, "newText": new}
    call: Params = {
        "toolCallId": talk.new_call_id(),
        "name": "write",
        "title": f"Write {name}",
        "kind": "edit",
        "content": [diff],
        "locations": [{"path": str(path)}],
    }
    if (yield from _allowed(talk, call)):
        path.write_text(new)
        _finish(talk, call, "completed")


def _push(talk: Talk, value: str) -> Doing:
    call = execute(talk, value)
    if not (yield from _allowed(talk, call)):
        return
    with (talk.cwd / "pushed.log").open("a") as log:
        log.write(f"{value}\n")
    _finish(talk, call, "completed", "noted in pushed.log\n")
    talk.update(chunk("agent_message_chunk", f"I did: {value}\n"))


def _question(talk: Talk, value: str) -> Doing:
    question, *choices = value.split("|")
    field: Params = {"type": "string", "title": question}
    if choices:
        field["oneOf"] = [{"const": each, "title": each} for each in choices]
    schema = {"type": "object", "properties": {"answer": field}}
    form: Params = {"mode": "form", "message": question, "requestedSchema": schema}
    reply = yield talk.ask("elicitation/create", form)
    if reply.get("action") == "cancel":
        raise Cancelled
    said = text(mapping(reply.get("content")).get("answer")) or "nothing"
    talk.update(chunk("agent_message_chunk", f"You answered: {said}\n"))


def _slow(talk: Talk, value: str) -> Doing:
    for tick in range(int(value)):
        talk.update(chunk("agent_message_chunk", f"tick {tick} "))
        yield TICK_SEC


def _stop(reason: str) -> Callable[[Talk, str], Doing]:
    def end(_talk: Talk, _value: str) -> Doing:
        yield from ()
        raise Ended({"stopReason": reason})

    return end


def _error(_talk: Talk, value: str) -> Doing:
    yield from ()
    message = f"API Error: {value} scripted"
    raise Ended(error={"code": -32603, "message": message, "data": {"errorKind": "server_error"}})


def _quota(_talk: Talk, value: str) -> Doing:
    yield from ()
    message = f"You've hit your usage limit. Try again in {value} seconds."
    raise Ended(error={"code": -32603, "message": message})


def chunk(kind: str, words: str) -> Params:
    """Return an update that carries words."""
    return {"sessionUpdate": kind, "content": {"type": "text", "text": words}}


def execute(talk: Talk, command: str) -> Params:
    """Return a call that would run a command."""
    return {
        "toolCallId": talk.new_call_id(),
        "name": "shell",
        "title": command,
        "kind": "execute",
        "rawInput": {"command": command, "cwd": str(talk.cwd)},
    }


def permission(call: Params) -> Params:
    """Return what is asked for a call."""
    return {"toolCall": call, "options": OPTIONS}


def _allowed(talk: Talk, call: Params) -> Generator[int | float, Reply, bool]:
    """Tell of a call, ask for it by its id alone, and return the answer."""
    talk.update({"sessionUpdate": "tool_call", "status": "pending", **call})
    known = {"toolCallId": call["toolCallId"], "title": call["title"]}
    reply = yield talk.ask("session/request_permission", permission(known))
    outcome = mapping(reply.get("outcome"))
    if outcome.get("outcome") != "selected":
        raise Cancelled
    if outcome.get("optionId") == "once":
        return True
    _finish(talk, call, "failed", "not allowed")
    words = f"I was not allowed to do this, so I go on without it: {call['title']}\n"
    talk.update(chunk("agent_message_chunk", words))
    return False


def _finish(talk: Talk, call: Params, status: str, output: str = "") -> None:
    update = {"sessionUpdate": "tool_call_update", "toolCallId": call["toolCallId"]}
    block = {"type": "content", "content": {"type": "text", "text": output}}
    talk.update(update | {"status": status} | ({"content": [block]} if output else {}))


DOING: Final[dict[str, Callable[[Talk, str], Doing]]] = {
    "say": _say,
    "think": _think,
    "run": _run,
    "write": _write,
    "ask": _push,
    "question": _question,
    "slow": _slow,
    "refuse": _stop("refusal"),
    "limit": _stop("max_tokens"),
    "error": _error,
    "quota": _quota,
}
"""The steps of an agent that behaves; `demo_faults` has the others."""
