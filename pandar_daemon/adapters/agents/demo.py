"""A small agent without a model, to try the whole of Pandar with, and to test it against.

It speaks the Agent Client Protocol on its standard input and output, starts in some 50 ms, needs
no key and no network, and does what the prompt tells it step by step (see `demo_script`).

Run with ``python -P -m pandar_daemon.adapters.agents.demo``; ``--mute`` never answers, and
``--exit`` ends before it says hello.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from pathlib import Path
from typing import Final

from pandar_daemon.adapters.agents import jsonrpc
from pandar_daemon.adapters.agents.demo_faults import do
from pandar_daemon.adapters.agents.demo_script import Step, resumed, steps_of
from pandar_daemon.adapters.agents.demo_sessions import Session, Sessions
from pandar_daemon.adapters.agents.demo_steps import Cancelled, Doing, Ended, Reply
from pandar_daemon.adapters.agents.jsonrpc import (
    METHOD_NOT_FOUND,
    Answer,
    Failure,
    Id,
    Inbox,
    Message,
    Notice,
    Params,
    Request,
)
from pandar_daemon.adapters.agents.shapes import items, mapping, text

CAPABILITIES: Final[Params] = {"loadSession": True, "promptCapabilities": {}}
USAGE: Final[Params] = {
    "inputTokens": 1_000,
    "outputTokens": 50,
    "cachedReadTokens": 200,
    "totalTokens": 1_250,
}
"""What each turn consumes."""
TURN_USD: Final = 0.01
_LOAD_ERROR: Final = -32002


class Turn:
    """A prompt that is being followed: the steps left, and the one that is being done."""

    def __init__(self, request: Id, steps: list[Step]) -> None:
        self.request, self.steps = request, steps
        self.doing: Doing | None = None
        self.waits_for: int | None = None
        self.early: dict[Id, Reply] = {}  # answers nothing waits for yet
        self.kinds = {step.kind for step in steps}


class Demo:
    """The agent. ``write`` and ``pause`` are all it needs of its process."""

    def __init__(self, home: Path, output: int) -> None:
        self._sessions, self._output = Sessions(home), output
        self._session: Session | None = None
        self._turn: Turn | None = None
        self._numbers = 0
        self._calls = 0
        self.cwd = Path.cwd()
        self.stubborn = False
        self._pause_sec = 0.0

    # What a step needs

    def update(self, update: Params) -> None:
        """Tell the client, and remember it."""
        if self._session:
            self._session.updates.append(update)
            self.tell("session/update", {"update": update})

    def tell(self, method: str, params: Params) -> None:
        """Send a notification."""
        self.write(jsonrpc.notice(method, self._named(params)))

    def ask(self, method: str, params: Params) -> int:
        """Send a request; return its number."""
        self._numbers += 1
        self.write(jsonrpc.request(self._numbers, method, self._named(params)))
        return self._numbers

    def write(self, data: bytes) -> None:
        """Write all of this."""
        while data:
            data = data[os.write(self._output, data) :]

    def new_call_id(self) -> str:
        """Return an id no call of this process had."""
        self._calls += 1
        return f"call-{os.getpid()}-{self._calls}"

    def _named(self, params: Params) -> Params:
        return {"sessionId": self._session.session_id if self._session else "", **params}

    # What arrives

    def take(self, message: Message) -> None:
        """Act on a message."""
        match message:
            case Request():
                self._serve(message)
            case Notice(method="session/cancel") if self._turn and not self.stubborn:
                self._end({"stopReason": "cancelled"})
            case Answer() | Failure():
                self._hear(message)

    def _serve(self, request: Request) -> None:
        params = request.params
        match request.method:
            case "initialize":
                self._answer(request.id, self._hello())
            case "session/new":
                self._session = self._sessions.begin(text(params.get("cwd")))
                self.cwd = Path(self._session.cwd)
                self._answer(request.id, {"sessionId": self._session.session_id})
            case "session/load":
                self._load(request)
            case "session/prompt" if self._session and not self._turn:
                self._begin(request, self._session)
            case _:
                error = f"not now, or not at all: {request.method}"
                self.write(jsonrpc.failure(request.id, METHOD_NOT_FOUND, error))

    def _hello(self) -> Params:
        info = {"name": "pandar-demo", "title": "Pandar's demo agent", "version": "1"}
        return {
            "protocolVersion": 1,
            "agentCapabilities": CAPABILITIES,
            "agentInfo": info,
            "authMethods": [],
        }

    def _load(self, request: Request) -> None:
        try:
            session = self._sessions.load(text(request.params.get("sessionId")))
        except (OSError, ValueError) as error:
            self.write(jsonrpc.failure(request.id, _LOAD_ERROR, f"cannot load: {error}"))
            return
        self._session, self.cwd = session, Path(text(request.params.get("cwd")) or session.cwd)
        for update in session.updates:
            self.tell("session/update", {"update": update})
        self._answer(request.id, {})

    def _begin(self, request: Request, session: Session) -> None:
        said = "".join(text(mapping(b).get("text")) for b in items(request.params.get("prompt")))
        steps = resumed(said, session.left) or steps_of(said)
        session.turns += 1
        block = {"type": "text", "text": said}
        session.updates.append({"sessionUpdate": "user_message_chunk", "content": block})
        self._turn = Turn(request.id, steps)
        self._go_on()

    def _hear(self, reply: Answer | Failure) -> None:
        if self._turn:
            self._turn.early[reply.id] = mapping(reply.result) if isinstance(reply, Answer) else {}
            if self._turn.waits_for == reply.id:
                self._go_on()

    # What it does

    def pause(self) -> float | None:
        """Return for how long to wait for messages, ``None`` is for ever."""
        waiting = self._turn and self._turn.waits_for is None
        return self._pause_sec if waiting else None

    def wake(self) -> None:
        """Go on after a pause."""
        if self._turn and self._turn.waits_for is None:
            self._go_on()

    def _go_on(self) -> None:
        """Do steps until one waits."""
        turn = self._turn
        try:
            while turn and self._turn is turn:
                wanted = self._step(turn)
                turn.waits_for = wanted if isinstance(wanted, int) else None
                if isinstance(wanted, float) or (wanted and wanted not in turn.early):
                    self._pause_sec = wanted
                    return
        except Cancelled:
            self._end({"stopReason": "cancelled"})
        except Ended as end:
            self._end(end.result, end.error)

    def _step(self, turn: Turn) -> int | float | None:
        """Do what can be done of the present step; return what it waits for."""
        if turn.doing is None:
            if not turn.steps:
                raise Ended({"stopReason": "end_turn"})
            self._keep(turn.steps)
            turn.doing = do(self, turn.steps[0])
        try:
            if turn.waits_for is None:
                return next(turn.doing)
            return turn.doing.send(turn.early.pop(turn.waits_for))
        except StopIteration:
            turn.doing = None
            del turn.steps[0]
            return None

    def _end(self, result: Params | None, error: Params | None = None) -> None:
        turn, self._turn = self._turn, None
        if turn is None or self._session is None:
            return
        if turn.doing:
            turn.doing.close()
        if result and result["stopReason"] == "end_turn":
            self._keep([])
        answered = {"id": turn.request, "jsonrpc": "2.0"}
        if error:
            self.write(jsonrpc.line(answered | {"error": error}))
            return
        cost = {"amount": round(TURN_USD * self._session.turns, 6), "currency": "USD"}
        told = {} if "lie" in turn.kinds else {"usage": USAGE}
        if told:
            self.update({"sessionUpdate": "usage_update", "used": 1250, "size": 9999, "cost": cost})
        for _ in range(2 if "twice" in turn.kinds else 1):
            self.write(jsonrpc.line(answered | {"result": {**(result or {}), **told}}))

    def _keep(self, left: list[Step]) -> None:
        if self._session:
            self._session.left = left
            self._sessions.keep(self._session)

    def _answer(self, request: Id, result: Params) -> None:
        self.write(jsonrpc.answer(request, result))


def main(arguments: list[str]) -> None:
    """Serve until the standard input ends."""
    if "--exit" in arguments:
        return
    if "--mute" in arguments:
        while True:
            signal.pause()
    agent, inbox = Demo(Path.home(), sys.stdout.fileno()), Inbox()
    source = sys.stdin.fileno()
    while True:
        if not select.select([source], [], [], agent.pause())[0]:
            agent.wake()
        elif data := os.read(source, 2**16):
            for message in inbox.feed(data):
                agent.take(message)
        else:
            return


if __name__ == "__main__":
    main(sys.argv[1:])
