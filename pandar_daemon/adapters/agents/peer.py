"""Our side of a JSON-RPC conversation with an agent, whatever it is about; without I/O.

A line that is no message, an answer nobody waits for and a request under an open id are strays:
`STRAYS_MAX` are tolerated, for programs warn on their standard output.
"""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Final

from events.calls import Verdict
from pandar_daemon.adapters.agents import jsonrpc
from pandar_daemon.adapters.agents.asking import FLOOD_MAX, Asking, Open
from pandar_daemon.adapters.agents.jsonrpc import (
    METHOD_NOT_FOUND,
    SHOWN_MAX,
    Answer,
    Failure,
    Garbage,
    Inbox,
    Message,
    Notice,
    Request,
    TooLong,
)
from pandar_daemon.domain.hearing import Broken, Fault, Heard, Withdrawn

STRAYS_MAX: Final = 20
"""Lines that mean nothing and are passed over; one more and the agent is given up."""
SESSION_ID_MAX: Final = 200

Reply = Answer | Failure
Then = Callable[[Reply], None]


class Peer(ABC):
    """What all protocols share. Once `Broken`, nothing is heard or said any more."""

    def __init__(self, agent: str) -> None:
        self._agent = agent
        self._inbox, self._asking = Inbox(), Asking()
        self._waiting: dict[int, Then] = {}  # what is done with the answer to a request of ours
        self._numbers = itertools.count(1)
        self._heard: list[Heard] = []
        self._out: list[bytes] = []
        self._strays = 0
        self._greeting = True
        self._session = ""
        self._in_turn = self._cancelling = self._broken = False

    def answer(self, request_id: str, verdict: Verdict, text: str = "") -> bytes:
        """Answer what was asked, once."""
        return b"" if self._broken else self._asking.end(request_id, verdict, text)

    def cancel(self) -> bytes:
        """End the turn: what is open is answered as cancelled first."""
        if self._broken:
            return b""
        answers = self._asking.end_all()
        if not self._in_turn:
            return answers
        self._cancelling = True
        return answers + self._interrupt()

    def receive(self, data: bytes) -> tuple[Sequence[Heard], bytes]:
        """Take what it wrote."""
        self._heard, self._out = [], []
        if self._broken:
            return [], b""
        for message in self._inbox.feed(data):
            if not self._take(message):
                break
        if not data and not self._broken:
            self._break(self._how_it_ended())
        return self._heard, b"".join(self._out)

    @abstractmethod
    def _interrupt(self) -> bytes:
        """Return what ends the turn, as far as that can be said now."""

    @abstractmethod
    def _note(self, notice: Notice) -> None:
        """Take note of what it tells."""

    @abstractmethod
    def _consider(self, request: Request) -> None:
        """Answer a request, or have it decided with `_ask`."""

    def _request(self, method: str, params: object, then: Then) -> bytes:
        number = next(self._numbers)
        self._waiting[number] = then
        return jsonrpc.request(number, method, params)

    def _take(self, message: Message) -> bool:
        """Take note of a message; return whether another is of interest."""
        match message:
            case Notice():
                self._note(message)
            case Request():
                self._consider(message)
            case Answer() | Failure():
                self._hear_back(message)
            case Garbage():
                self._stray(f"{message.shown!r}: {message.why}")
            case TooLong():
                limit = jsonrpc.LINE_MAX // 2**20
                self._break(f"wrote a line of more than {limit} MiB")
        return not self._broken

    def _hear_back(self, reply: Reply) -> None:
        then = self._waiting.pop(reply.id, None) if isinstance(reply.id, int) else None
        if then is None:
            self._stray(f"an answer to request {reply.id!r}, which nobody waits for")
        else:
            then(reply)

    def _stray(self, what: str) -> None:
        self._strays += 1
        if self._strays > STRAYS_MAX:
            self._break(f"broke its protocol {self._strays} times, the last time with {what}")

    def _break(self, error: str, fault: Fault = Fault.AGENT) -> None:
        self._broken = True
        self._heard.append(Broken(error=f"{self._agent} {error}", fault=fault))

    def _how_it_ended(self) -> str:
        half = ", in the middle of a line" if self._inbox.unfinished else ""
        if not self._session:
            return f"ended before it {'said hello' if self._greeting else 'was ready'}{half}"
        return f"ended in the middle of a turn{half}" if self._in_turn else f"ended{half}"

    def _ask(self, request: Request, asked: Open, heard: Heard) -> None:
        """Have a request decided, unless it comes too late or there are too many."""
        if request.key in self._asking:
            self._stray(f"a second request {request.key}")
            return
        if self._cancelling or not self._session:
            self._out.append(jsonrpc.answer(request.id, asked.answer(Verdict.ASK, "")))
            return
        refusal = self._asking.begin(request.key, request.id, asked)
        if not refusal:
            self._heard.append(heard)
            return
        self._out.append(refusal)
        if self._asking.flooded:
            self._break(f"asked {FLOOD_MAX:,} times without waiting for an answer")

    def _withdraw(self, key: str) -> bytes:
        """Take note that it waits for a request no longer; return an answer to it."""
        if key not in self._asking:
            return b""
        self._heard.append(Withdrawn(request_id=key))
        return self._asking.end(key, Verdict.ASK)

    def _refuse(self, request: Request) -> None:
        """Say that we do not do such things."""
        error = f"unknown method {request.method[:SHOWN_MAX]}"
        self._out.append(jsonrpc.failure(request.id, METHOD_NOT_FOUND, error))
