"""How the demo agent does its steps: each a generator that yields what it must wait for.

It yields the numbers of requests it waits for, or seconds to let pass, and is sent the answers.
"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import IO, Final, Protocol

from pandar_daemon.adapters.agents.demo_script import Step
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


def do(talk: Talk, step: Step) -> Doing:
    """Do a step."""
    yield from DOING[step.kind](talk, step.value)


def _say(talk: Talk, value: str) -> Doing:
    talk.update(_chunk("agent_message_chunk", value))
    yield from ()


def _think(talk: Talk, value: str) -> Doing:
    talk.update(_chunk("agent_thought_chunk", value))
    yield from ()


def _run(talk: Talk, value: str) -> Doing:
    call = _execute(talk, value)
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
    call = _execute(talk, value)
    if not (yield from _allowed(talk, call)):
        return
    with (talk.cwd / "pushed.log").open("a") as log:
        log.write(f"{value}\n")
    _finish(talk, call, "completed", "noted in pushed.log\n")
    talk.update(_chunk("agent_message_chunk", f"I did: {value}\n"))


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
    talk.update(_chunk("agent_message_chunk", f"You answered: {said}\n"))


def _slow(talk: Talk, value: str) -> Doing:
    for tick in range(int(value)):
        talk.update(_chunk("agent_message_chunk", f"tick {tick} "))
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


def _withdraw(talk: Talk, value: str) -> Doing:
    number = talk.ask("session/request_permission", _permission(_execute(talk, value)))
    talk.tell("$/cancel_request", {"requestId": number})
    yield number


def _ask_many(talk: Talk, value: str) -> Doing:
    calls = [_execute(talk, f"echo {n}") for n in range(int(value))]
    numbers = [talk.ask("session/request_permission", _permission(call)) for call in calls]
    for number in numbers:  # noqa: UP028 - a list cannot be sent the answers
        yield number


def _flood(talk: Talk, value: str) -> Doing:
    for _ in range(int(value)):
        talk.update(_chunk("agent_message_chunk", "x" * 1023 + "\n"))
    yield from ()


def _big_line(talk: Talk, value: str) -> Doing:
    left = int(value)
    while left > 0:
        talk.write(b"x" * min(left, 2**16))
        left -= 2**16
    talk.write(b"\n")
    yield from ()


def _garbage(talk: Talk, value: str) -> Doing:
    talk.write(b"this is {no JSON\n" * int(value or 1))
    yield from ()


def _fork(_talk: Talk, _value: str) -> Doing:
    subprocess.Popen(  # noqa: S602 - a daemon that somebody else has to find and kill
        "/bin/sleep 3600 & /bin/sleep 3600",
        shell=True,
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield from ()


def _crash(_talk: Talk, _value: str) -> Doing:
    yield from ()
    os.kill(os.getpid(), signal.SIGKILL)


def _exit(_talk: Talk, _value: str) -> Doing:
    yield from ()
    os._exit(0)


def _hang(_talk: Talk, _value: str) -> Doing:
    yield from ()
    while True:
        signal.pause()


def _ignore(talk: Talk, _value: str) -> Doing:
    yield from ()
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    talk.stubborn = True


def _chunk(kind: str, words: str) -> Params:
    return {"sessionUpdate": kind, "content": {"type": "text", "text": words}}


def _execute(talk: Talk, command: str) -> Params:
    return {
        "toolCallId": talk.new_call_id(),
        "name": "shell",
        "title": command,
        "kind": "execute",
        "rawInput": {"command": command, "cwd": str(talk.cwd)},
    }


def _permission(call: Params) -> Params:
    return {"toolCall": call, "options": OPTIONS}


def _allowed(talk: Talk, call: Params) -> Generator[int | float, Reply, bool]:
    """Tell of a call, ask for it by its id alone, and return the answer."""
    talk.update({"sessionUpdate": "tool_call", "status": "pending", **call})
    known = {"toolCallId": call["toolCallId"], "title": call["title"]}
    reply = yield talk.ask("session/request_permission", _permission(known))
    outcome = mapping(reply.get("outcome"))
    if outcome.get("outcome") != "selected":
        raise Cancelled
    if outcome.get("optionId") == "once":
        return True
    _finish(talk, call, "failed", "not allowed")
    words = f"I was not allowed to do this, so I go on without it: {call['title']}\n"
    talk.update(_chunk("agent_message_chunk", words))
    return False


def _finish(talk: Talk, call: Params, status: str, output: str = "") -> None:
    update = {"sessionUpdate": "tool_call_update", "toolCallId": call["toolCallId"]}
    block = {"type": "content", "content": {"type": "text", "text": output}}
    talk.update(update | {"status": status} | ({"content": [block]} if output else {}))


def _nothing(_talk: Talk, _value: str) -> Doing:
    yield from ()


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
    "lie": _nothing,
    "twice": _nothing,
    "withdraw": _withdraw,
    "askmany": _ask_many,
    "flood": _flood,
    "bigline": _big_line,
    "garbage": _garbage,
    "fork": _fork,
    "crash": _crash,
    "exit": _exit,
    "hang": _hang,
    "ignore-cancel": _ignore,
}
"""What does each step."""
