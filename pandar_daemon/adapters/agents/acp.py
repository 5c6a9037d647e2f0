"""An Agent Client Protocol (v1) client without I/O: every rule of the conversation is here.

::

    open() ─▶ initialize ─▶ session/load ─▶ Ready(loaded) ─▶ prompt() ─▶ … ─▶ TurnEnded ─▶ prompt()
                        └─▶ session/new  ─▶ Ready            cancel() answers what is open first

* Only what the conversation needs is offered: no files, no terminals; agents use their own tools.
* Of a session that is loaded, what the agent repeats is not passed on. One that cannot be loaded
  becomes a new one: `Ready` tells.
* After `cancel` nothing more is asked in that turn: requests are answered ``cancelled`` at once.
* A line that is no message, an answer nobody waits for and a request under an open id are strays.
  `STRAYS_MAX` are tolerated: programs warn on their standard output.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from events.calls import Verdict
from events.instant import Instant
from pandar_daemon import __version__
from pandar_daemon.adapters.agents import jsonrpc
from pandar_daemon.adapters.agents.acp_asking import (
    FLOOD_MAX,
    Asking,
    Consent,
    Open,
    Question,
    permission,
)
from pandar_daemon.adapters.agents.acp_forms import consent, form
from pandar_daemon.adapters.agents.acp_updates import Story
from pandar_daemon.adapters.agents.faults import trouble
from pandar_daemon.adapters.agents.jsonrpc import (
    METHOD_NOT_FOUND,
    SHOWN_MAX,
    Answer,
    Failure,
    Garbage,
    Inbox,
    Message,
    Notice,
    Params,
    Request,
    TooLong,
)
from pandar_daemon.adapters.agents.quirks import Quirks
from pandar_daemon.adapters.agents.shapes import as_json, mapping, text
from pandar_daemon.adapters.agents.usage import turn_usage
from pandar_daemon.domain.hearing import Broken, Fault, Heard, Questioned, Ready, Stop, Withdrawn

PROTOCOL_VERSION: Final = 1
AUTH_REQUIRED: Final = -32000
STRAYS_MAX: Final = 20
"""Lines that mean nothing and are passed over; one more and the agent is given up."""
SESSION_ID_MAX: Final = 200
HELLO: Final[Params] = {
    "protocolVersion": PROTOCOL_VERSION,
    "clientCapabilities": {
        "fs": {"readTextFile": False, "writeTextFile": False},
        "terminal": False,
        "elicitation": {"form": {}},
    },
    "clientInfo": {"name": "pandar", "title": "Pandar", "version": __version__},
}

Reply = Answer | Failure
_Then = Callable[[Reply], None]


class AcpDriver:
    """One conversation. Once it is `Broken`, nothing is heard or said any more.

    ``prompt`` raises ``RuntimeError`` before `Ready` and during a turn.
    """

    def __init__(self, now: Callable[[], Instant], quirks: Quirks | None = None) -> None:
        self._now, self._quirks = now, quirks or Quirks()
        self._inbox, self._asking = Inbox(), Asking()
        self._story = Story(self._quirks)
        self._waiting: dict[int, _Then] = {}  # what is done with the answer to a request of ours
        self._numbers = itertools.count(1)
        self._heard: list[Heard] = []
        self._out: list[bytes] = []
        self._cwd, self._wanted, self._session = "", "", ""
        self._greeting = True
        self._in_turn = self._cancelling = self._broken = False
        self._strays = 0

    def open(self, cwd: str, session_id: str = "") -> bytes:
        """Begin; see `ports.agents.Driver`."""
        self._cwd, self._wanted = cwd, session_id
        return self._request("initialize", HELLO, self._greeted)

    def prompt(self, text: str) -> bytes:
        """Say this."""
        if self._broken:
            return b""
        if not self._session or self._in_turn:
            raise RuntimeError("an agent is prompted when it is ready, and once at a time")
        self._in_turn, self._cancelling = True, False
        self._story.begin_turn()
        said = {"sessionId": self._session, "prompt": [{"type": "text", "text": text}]}
        return self._request("session/prompt", said, self._prompted)

    def answer(self, request_id: str, verdict: Verdict, text: str = "") -> bytes:
        """Answer what was asked, once."""
        return b"" if self._broken else self._asking.end(request_id, verdict, text)

    def cancel(self) -> bytes:
        """End the turn: what is open is answered ``cancelled`` first."""
        if self._broken:
            return b""
        answers = self._asking.end_all()
        if not self._in_turn:
            return answers
        self._cancelling = True
        return answers + jsonrpc.notice("session/cancel", {"sessionId": self._session})

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

    def _request(self, method: str, params: object, then: _Then) -> bytes:
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
        self._heard.append(Broken(error=f"{self._quirks.agent} {error}", fault=fault))

    def _how_it_ended(self) -> str:
        half = ", in the middle of a line" if self._inbox.unfinished else ""
        if not self._session:
            return f"ended before it {'said hello' if self._greeting else 'was ready'}{half}"
        return f"ended in the middle of a turn{half}" if self._in_turn else f"ended{half}"

    # Opening

    def _greeted(self, reply: Reply) -> None:
        if isinstance(reply, Failure):
            self._refused("cannot begin", reply)
            return
        self._greeting = False
        hello = mapping(reply.result)
        if hello.get("protocolVersion") != PROTOCOL_VERSION:
            spoken = as_json(hello.get("protocolVersion"))[:SHOWN_MAX]
            self._break(f"speaks version {spoken} of the protocol, not {PROTOCOL_VERSION}")
            return
        can_load = mapping(hello.get("agentCapabilities")).get("loadSession") is True
        self._out.append(self._load() if self._wanted and can_load else self._begin())

    def _load(self) -> bytes:
        where = {"cwd": self._cwd, "mcpServers": [], "sessionId": self._wanted}
        return self._request("session/load", where, self._loaded)

    def _loaded(self, reply: Reply) -> None:
        if isinstance(reply, Failure):
            self._out.append(self._begin())
            return
        self._ready(self._wanted, loaded=True)

    def _begin(self) -> bytes:
        where = {"cwd": self._cwd, "mcpServers": []}
        return self._request("session/new", where, self._begun)

    def _begun(self, reply: Reply) -> None:
        if isinstance(reply, Failure):
            self._refused("cannot begin a session", reply)
            return
        session = text(mapping(reply.result).get("sessionId"))
        if not 0 < len(session) <= SESSION_ID_MAX:
            self._break("began a session without a usable name")
            return
        self._ready(session, loaded=False)

    def _ready(self, session: str, *, loaded: bool) -> None:
        self._session = session
        self._heard.append(Ready(session_id=session, loaded=loaded))

    def _refused(self, what: str, failure: Failure) -> None:
        found = trouble(failure.message, failure.data, self._now())
        login = " (it wants to be logged in)" if failure.code == AUTH_REQUIRED else ""
        self._break(f"{what}{login}: {found.error}", found.fault)

    # A turn

    def _prompted(self, reply: Reply) -> None:
        self._in_turn = False
        signs, now = self._story.signs, self._now()
        if isinstance(reply, Failure):
            end = signs.failed(reply, None, now)
            self._heard.append(replace(end, stop=Stop.CANCELLED) if self._cancelling else end)
            return
        result = mapping(reply.result)
        usage = turn_usage(result, includes_cached=self._quirks.includes_cached)
        self._heard += self._story.consumed(usage)
        self._heard.append(signs.ended(result, self._story.spent if usage else None, now))

    def _note(self, notice: Notice) -> None:
        if notice.method == "$/cancel_request":
            self._withdraw(notice.params)
        elif notice.method == "session/update" and self._session:
            self._heard += self._story.update(mapping(notice.params.get("update")))

    # What it asks

    def _consider(self, request: Request) -> None:
        match request.method:
            case "session/request_permission":
                self._permit(request, mapping(request.params.get("toolCall")))
            case "elicitation/create" if request.params.get("mode", "form") == "form":
                self._question(request)
            case _:
                error = f"unknown method {request.method[:SHOWN_MAX]}"
                self._out.append(jsonrpc.failure(request.id, METHOD_NOT_FOUND, error))

    def _permit(self, request: Request, call: Params) -> None:
        heard = self._story.asked(request.key, call)
        self._ask(request, permission(request.params), heard)

    def _question(self, request: Request) -> None:
        asked = form(request.params)
        if not asked.fields:
            heard = self._story.asked(request.key, consent(request.params))
            self._ask(request, Consent(), heard)
            return
        question = Questioned(request_id=request.key, text=asked.question, choices=asked.choices)
        self._ask(request, Question(asked), question)

    def _ask(self, request: Request, asked: Open, heard: Heard) -> None:
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

    def _withdraw(self, params: Params) -> None:
        key = as_json(params.get("requestId"))
        if key in self._asking:
            self._out.append(self._asking.end(key, Verdict.ASK))
            self._heard.append(Withdrawn(request_id=key))
