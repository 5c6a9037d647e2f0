"""A client of ``codex app-server``, Codex' own protocol, without I/O.

It says what is lost over ACP: a denial lets the turn go on and hears why, and a turn that failed
says so::

    open() ─▶ initialize ─▶ thread/resume ─▶ Ready(loaded) ─▶ prompt(): turn/start … turn/completed
                        └─▶ thread/start  ─▶ Ready            cancel(): answers, turn/interrupt

Approvals are asked of us, never of a reviewing model. Of other threads (Codex' own helpers) only
what they ask is heard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from events.calls import Verdict
from events.instant import Instant
from events.task import Usage
from pandar_daemon import __version__
from pandar_daemon.adapters.agents import jsonrpc
from pandar_daemon.adapters.agents.asking import Open, Question
from pandar_daemon.adapters.agents.codex_items import Items, consented
from pandar_daemon.adapters.agents.codex_questions import (
    Approval,
    Permissions,
    elicitation,
    questions,
)
from pandar_daemon.adapters.agents.faults import from_epoch, trouble
from pandar_daemon.adapters.agents.forms import Form
from pandar_daemon.adapters.agents.jsonrpc import Answer, Failure, Notice, Params, Request
from pandar_daemon.adapters.agents.peer import SESSION_ID_MAX, Peer, Reply
from pandar_daemon.adapters.agents.quirks import Quirks
from pandar_daemon.adapters.agents.shapes import as_json, count, first_text, mapping, text
from pandar_daemon.adapters.agents.usage import less, tokens
from pandar_daemon.domain.hearing import (
    Asked,
    Fault,
    Questioned,
    Ready,
    Said,
    Stop,
    TurnEnded,
    Used,
)

CLIENT: Final[Params] = {"name": "pandar", "title": "Pandar", "version": __version__}
TERMS: Final[Params] = {
    "approvalPolicy": "on-request",
    "approvalsReviewer": "user",
}
FENCE: Final[Params] = {"sandbox": "workspace-write"}
SAID_MAX: Final = 1_000
_STOPS: Final = {"completed": Stop.DONE, "interrupted": Stop.CANCELLED}
_THOUGHTS: Final = frozenset({"item/reasoning/summaryTextDelta", "item/reasoning/textDelta"})


class CodexDriver(Peer):
    """One conversation; see `ports.agents.Driver`.

    ``prompt`` raises ``RuntimeError`` before `Ready` and during a turn. In a box it has no sandbox
    of its own, but what its configuration there says.
    """

    def __init__(
        self, now: Callable[[], Instant], quirks: Quirks | None = None, *, boxed: bool = False
    ) -> None:
        self._quirks = quirks or Quirks(agent="codex", includes_cached=True)
        super().__init__(self._quirks.agent)
        self._now = now
        self._terms = TERMS if boxed else {**TERMS, **FENCE}
        self._items = Items()
        self._cwd, self._wanted, self._turn = "", "", ""
        self._said = ""
        self._error: Params = {}
        self._resets: Instant | None = None
        self._before: Usage | None = None  # what the thread had consumed before this process
        self._spent, self._told = Usage(), False

    def open(self, cwd: str, session_id: str = "") -> bytes:
        """Begin."""
        self._cwd, self._wanted = cwd, session_id
        return self._request("initialize", {"clientInfo": CLIENT}, self._greeted)

    def prompt(self, text: str) -> bytes:
        """Say this."""
        if self._broken:
            return b""
        if not self._session or self._in_turn:
            raise RuntimeError("an agent is prompted when it is ready, and once at a time")
        self._in_turn, self._cancelling, self._told = True, False, False
        self._turn, self._said, self._error = "", "", {}
        said = {"threadId": self._session, "input": [{"type": "text", "text": text}]}
        return self._request("turn/start", said, self._started)

    def answer(self, request_id: str, verdict: Verdict, text: str = "") -> bytes:
        """Answer what was asked, once; a reason for a denial is told within the turn."""
        asked = self._asking.open(request_id)
        answered = super().answer(request_id, verdict, text)
        denied = verdict is Verdict.DENY and isinstance(asked, Approval)
        if not (answered and denied and text and self._turn):
            return answered
        told = {"type": "text", "text": text}
        where = {"threadId": self._session, "expectedTurnId": self._turn, "input": [told]}
        return answered + self._request("turn/steer", where, self._steered)

    # Opening

    def _greeted(self, reply: Reply) -> None:
        if isinstance(reply, Failure):
            self._refused("cannot begin", reply)
            return
        self._greeting = False
        self._out.append(jsonrpc.notice("initialized", {}))
        self._out.append(self._resume() if self._wanted else self._begin())

    def _resume(self) -> bytes:
        where = {"threadId": self._wanted, "cwd": self._cwd, "excludeTurns": True, **self._terms}
        return self._request("thread/resume", where, self._resumed)

    def _resumed(self, reply: Reply) -> None:
        if isinstance(reply, Failure):
            self._out.append(self._begin())
        else:
            self._ready(reply, loaded=True)

    def _begin(self) -> bytes:
        return self._request("thread/start", {"cwd": self._cwd, **self._terms}, self._begun)

    def _begun(self, reply: Reply) -> None:
        if isinstance(reply, Failure):
            self._refused("cannot begin a session", reply)
        else:
            self._ready(reply, loaded=False)

    def _ready(self, reply: Answer, *, loaded: bool) -> None:
        thread = text(mapping(mapping(reply.result).get("thread")).get("id"))
        if not 0 < len(thread) <= SESSION_ID_MAX:
            self._break("began a session without a usable name")
            return
        self._session = thread
        self._heard.append(Ready(session_id=thread, loaded=loaded))

    def _refused(self, what: str, failure: Failure) -> None:
        found = trouble(failure.message, failure.data, self._now())
        self._break(f"{what}: {found.error}", found.fault)

    # A turn

    def _started(self, reply: Reply) -> None:
        if isinstance(reply, Failure):
            self._end({"status": "failed", "error": {"message": reply.message}})
        else:
            self._go_on(mapping(mapping(reply.result).get("turn")))

    def _go_on(self, turn: Params) -> None:
        """Take note of the name of the turn; only now can it be interrupted."""
        first = not self._turn
        self._turn = text(turn.get("id"))
        if first and self._turn and self._cancelling and self._in_turn:
            self._out.append(self._interrupt())

    def _interrupt(self) -> bytes:
        if not self._turn:  # its name comes later, and then this is sent
            return b""
        turn = {"threadId": self._session, "turnId": self._turn}
        return self._request("turn/interrupt", turn, self._steered)

    def _steered(self, _reply: Reply) -> None:
        """Nothing: the turn may have ended meanwhile."""

    def _end(self, turn: Params) -> None:
        if not self._in_turn:
            return
        self._in_turn, self._turn = False, ""
        usage = self._spent if self._told else None
        error = mapping(turn.get("error")) or self._error
        stop = _STOPS.get(text(turn.get("status")), Stop.FAILED)
        if stop is not Stop.FAILED:
            self._heard.append(TurnEnded(stop=stop, usage=usage))
            return
        words = first_text(error, ("message", "additionalDetails")) or "the turn failed"
        found = trouble(words, error, self._now())
        retry_at = found.retry_at or (self._resets if found.fault is Fault.QUOTA else None)
        stop = Stop.CANCELLED if self._cancelling else Stop.FAILED
        self._heard.append(
            TurnEnded(
                stop=stop, error=found.error, fault=found.fault, usage=usage, retry_at=retry_at
            )
        )

    def _note(self, notice: Notice) -> None:
        params = notice.params
        if notice.method == "serverRequest/resolved":
            self._withdraw(as_json(params.get("requestId")))
        elif notice.method == "account/rateLimits/updated":
            limit = mapping(mapping(params.get("rateLimits")).get("primary"))
            self._resets = from_epoch(count(limit.get("resetsAt")))
        elif self._session and params.get("threadId") == self._session:
            self._follow(notice.method, params)

    def _follow(self, method: str, params: Params) -> None:
        """Take note of what happens in our thread."""
        match method:
            case "item/agentMessage/delta":
                self._say(text(params.get("delta")))
            case _ if method in _THOUGHTS:
                self._think(text(params.get("delta")))
            case "item/started" | "item/completed":
                called = self._items.tell(mapping(params.get("item")))
                self._heard += [called] if called else []
            case "turn/started":
                self._go_on(mapping(params.get("turn")))
            case "turn/completed":
                self._end(mapping(params.get("turn")))
            case "thread/tokenUsage/updated":
                self._consume(mapping(params.get("tokenUsage")))
            case "error":
                self._err(mapping(params.get("error")), retries=params.get("willRetry") is True)

    def _say(self, words: str) -> None:
        self._said = (self._said + words)[-SAID_MAX:]
        self._heard += [Said(text=words)] if words else []

    def _think(self, words: str) -> None:
        self._heard += [Said(text=words, thought=True)] if words else []

    def _err(self, error: Params, *, retries: bool) -> None:
        self._error = error
        if retries:
            self._think(f"{text(error.get('message'))}: {text(error.get('additionalDetails'))}\n")

    def _consume(self, told: Params) -> None:
        """Take note of what the thread consumed, of which we count what is ours."""
        total = self._tokens(told, "total")
        if not self._in_turn:
            self._before = total
            return
        if self._before is None:
            self._before = less(total, self._tokens(told, "last"))
        spent, self._told = less(total, self._before), True
        if spent != self._spent:
            self._spent = spent
            self._heard.append(Used(usage=spent))

    def _tokens(self, told: Params, name: str) -> Usage:
        cached = self._quirks.includes_cached
        return tokens(mapping(told.get(name)), includes_cached=cached) or Usage()

    # What it asks

    def _consider(self, request: Request) -> None:
        params = request.params
        match request.method:
            case "item/commandExecution/requestApproval" | "item/fileChange/requestApproval":
                self._approve(request, Approval())
            case "item/permissions/requestApproval":
                self._approve(request, Permissions(mapping(params.get("permissions"))))
            case "item/tool/requestUserInput":
                asked = questions(params)
                self._question(request, asked, asked.form)
            case "mcpServer/elicitation/request" if wanted := elicitation(params):
                self._elicit(request, wanted)
            case _:
                self._refuse(request)

    def _approve(self, request: Request, asked: Open) -> None:
        params = request.params
        heard = Asked(
            request_id=request.key,
            call=self._items.asked(params),
            call_id=text(params.get("itemId")),
            intent=text(params.get("reason")) or self._said.strip(),
        )
        self._ask(request, asked, heard)

    def _elicit(self, request: Request, wanted: Open) -> None:
        if isinstance(wanted, Question):
            self._question(request, wanted, wanted.form)
            return
        call = consented(request.params)
        self._ask(request, wanted, Asked(request_id=request.key, call=call))

    def _question(self, request: Request, asked: Open, shown: Form) -> None:
        heard = Questioned(request_id=request.key, text=shown.question, choices=shown.choices)
        self._ask(request, asked, heard)
