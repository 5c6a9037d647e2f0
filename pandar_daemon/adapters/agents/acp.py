"""An Agent Client Protocol (v1) client without I/O: every rule of the conversation is here.

::

    open() ─▶ initialize ─▶ session/load ─▶ Ready(loaded) ─▶ prompt() ─▶ … ─▶ TurnEnded ─▶ prompt()
                        └─▶ session/new  ─▶ Ready            cancel() answers what is open first

* Only what the conversation needs is offered: no files, no terminals; agents use their own tools.
* Of a session that is loaded, what the agent repeats is not passed on. One that cannot be loaded
  becomes a new one: `Ready` tells.
* After `cancel` nothing more is asked in that turn: requests are answered ``cancelled`` at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec.structs import replace

from events.calls import Verdict
from events.instant import Instant
from pandar_daemon import __version__
from pandar_daemon.adapters.agents import jsonrpc
from pandar_daemon.adapters.agents.acp_permission import Permission, permission
from pandar_daemon.adapters.agents.acp_updates import Story
from pandar_daemon.adapters.agents.asking import Consent, Question
from pandar_daemon.adapters.agents.faults import trouble
from pandar_daemon.adapters.agents.forms import consent, form
from pandar_daemon.adapters.agents.jsonrpc import SHOWN_MAX, Failure, Notice, Params, Request
from pandar_daemon.adapters.agents.peer import SESSION_ID_MAX, Peer, Reply
from pandar_daemon.adapters.agents.quirks import Quirks
from pandar_daemon.adapters.agents.shapes import as_json, mapping, text
from pandar_daemon.adapters.agents.usage import turn_usage
from pandar_daemon.domain.hearing import Questioned, Ready, Stop

PROTOCOL_VERSION: Final = 1
AUTH_REQUIRED: Final = -32000
HELLO: Final[Params] = {
    "protocolVersion": PROTOCOL_VERSION,
    "clientCapabilities": {
        "fs": {"readTextFile": False, "writeTextFile": False},
        "terminal": False,
        "elicitation": {"form": {}},
    },
    "clientInfo": {"name": "pandar", "title": "Pandar", "version": __version__},
}


class AcpDriver(Peer):
    """One conversation; see `ports.agents.Driver`.

    ``prompt`` raises ``RuntimeError`` before `Ready` and during a turn.
    """

    def __init__(self, now: Callable[[], Instant], quirks: Quirks | None = None) -> None:
        self._quirks = quirks or Quirks()
        super().__init__(self._quirks.agent)
        self._now = now
        self._story = Story(self._quirks)
        self._cwd, self._wanted = "", ""
        self._steers = False

    def open(self, cwd: str, session_id: str = "") -> bytes:
        """Begin."""
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
        """Answer what was asked, once; a reason for a denial is told within the turn if possible.

        The protocol's own answer has no place for it.
        """
        permitting = isinstance(self._asking.open(request_id), Permission)
        answered = super().answer(request_id, verdict, text)
        denied = verdict is Verdict.DENY and permitting and self._in_turn
        if not (answered and denied and text and self._steers):
            return answered
        told = {"type": "text", "text": text}
        meta = {"steering": {"idleBehavior": "promptRequired"}}
        where = {"sessionId": self._session, "prompt": [told], "_meta": meta}
        return answered + self._request("_session/steering", where, self._steered)

    def _interrupt(self) -> bytes:
        return jsonrpc.notice("session/cancel", {"sessionId": self._session})

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
        steering = mapping(mapping(hello.get("_meta")).get("steering")).get("supported") is True
        self._steers = steering and self._quirks.steers
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

    def _steered(self, _reply: Reply) -> None:
        """Nothing: the turn may have ended meanwhile."""

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
            self._out.append(self._withdraw(as_json(notice.params.get("requestId"))))
        elif notice.method == "session/update" and self._session:
            self._heard += self._story.update(mapping(notice.params.get("update")))

    def _consider(self, request: Request) -> None:
        match request.method:
            case "session/request_permission":
                self._permit(request, mapping(request.params.get("toolCall")))
            case "elicitation/create" if request.params.get("mode", "form") == "form":
                self._question(request)
            case _:
                self._refuse(request)

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
