"""Conversations for tests: what an agent says, what people decide, and what comes of it."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from msgspec.structs import replace

from events.calls import GateRule, Match, Rules, Scope, ToolCall
from events.commands import Decision
from events.running import Decided, Resume
from events.task import Usage
from pandar_daemon.domain import hearing as heard
from pandar_daemon.domain import talking as talk
from pandar_daemon.domain.conversation import Conversation
from tests.support.calls import HOME, WORKSPACE, command

LOOK = command("ls -l")
PUSH = command("git push origin main")
OTHER_PUSH = command("git push origin release")
SUDO = command("sudo reboot")
GATE = "git_push_protected"
RULES = Rules(gates=[GATE], denied=[GateRule(name="root", match=Match(commands=["sudo *"]))])
TERMS = talk.Terms(
    agent="demo", prompt="tidy up", rules=RULES, workspace=WORKSPACE, home=HOME, park_after_sec=60.0
)
LATER = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DONE = heard.TurnEnded(stop=heard.Stop.DONE, usage=Usage(input_tokens=10, output_tokens=1))
CANCELLED = heard.TurnEnded(stop=heard.Stop.CANCELLED)


def confirmation(number: int) -> UUID:
    """Return the confirmation under which people are asked a question of this number."""
    return UUID(int=number)


def asked(call: ToolCall = PUSH, request_id: str = "1", call_id: str = "") -> heard.Asked:
    """Return that it wants to be allowed something."""
    return heard.Asked(request_id=request_id, call=call, call_id=call_id, intent="I must")


def questioned(request_id: str = "q", text: str = "which branch?") -> heard.Questioned:
    """Return that it wants an answer."""
    return heard.Questioned(request_id=request_id, text=text, choices=["main", "dev"])


def cost(usd: float) -> heard.Used:
    """Return that its session has cost so much."""
    return heard.Used(usage=Usage(cost_usd=usd))


def decided(
    decision: Decision = Decision.APPROVE,
    reason: str = "",
    *,
    scope: Scope = Scope.CALL,
    pattern: str = "",
    expired: bool = False,
) -> Decided:
    """Return what Ann decided; nobody did, when it expired."""
    by = "" if expired else "ann"
    return Decided(
        decision=decision, reason=reason, by=by, scope=scope, pattern=pattern, expired=expired
    )


def denied(reason: str = "") -> Decided:
    """Return that Ann said no."""
    return decided(Decision.DENY, reason)


def resume(answer: Decided | None = None, **fields: object) -> Resume:
    """Return that another process asked for a push, and what Ann said."""
    known: dict[str, object] = {"session_id": "s-1", "summary": "the end of what it said"}
    if answer is not None:
        known |= {"confirmation_id": confirmation(9), "gate": GATE, "what": PUSH.command}
        known |= {"call_sha256": PUSH.sha256, "decided": answer}
    return Resume(**{**known, **fields})  # type: ignore[arg-type]


class Chat:
    """A conversation a test takes part in; a second passes with each signal."""

    def __init__(self, **terms: object) -> None:
        self.conversation = Conversation(replace(TERMS, **terms))
        self.at = 0.0
        self.number = 0
        """Of what was asked last."""

    @classmethod
    def begun(cls, *said: heard.Heard, **terms: object) -> Chat:
        """Return one in the agent's turn, in which it said this."""
        chat = cls(**terms)
        chat.hear(heard.Ready(session_id="s-1"), *said)
        return chat

    def hear(self, *said: heard.Heard) -> list[talk.Effect]:
        """Return what comes of the last of these."""
        effects: list[talk.Effect] = []
        for each in said:
            self.at += 1.0
            effects = self.tell(talk.Hears(at=self.at, heard=each))
        return effects

    def answer(self, answer: Decided, number: int | None = None) -> list[talk.Effect]:
        """Return what comes of a decision on what was asked last, or on another number."""
        self.at += 1.0
        about = self.number if number is None else number
        return self.tell(
            talk.Answered(
                at=self.at, number=about, confirmation_id=confirmation(about), decided=answer
            )
        )

    def grant(self, number: int | None = None) -> list[talk.Effect]:
        """Return what comes of it when the project consented to what people would be asked."""
        self.at += 1.0
        about = self.number if number is None else number
        return self.tell(talk.Granted(at=self.at, number=about, grant_id=confirmation(7)))

    def proxy(self, text: str | None, number: int | None = None) -> list[talk.Effect]:
        """Return what comes of another agent's answer."""
        self.at += 1.0
        about = self.number if number is None else number
        return self.tell(talk.ProxyAnswered(at=self.at, number=about, text=text))

    def unrecorded(self, call: ToolCall = PUSH, request_id: str = "1") -> list[talk.Effect]:
        """Return what comes of it when a call may not be done."""
        self.at += 1.0
        return self.tell(talk.Unrecorded(at=self.at, request_id=request_id, call=call))

    def wait(self, seconds: float) -> list[talk.Effect]:
        """Return what comes of so much time."""
        self.at += seconds
        return self.tell(talk.Waited(at=self.at))

    def tell(self, signal: talk.Signal) -> list[talk.Effect]:
        """Return what comes of a signal."""
        effects = self.conversation.receive(signal)
        for effect in effects:
            if isinstance(effect, ASKS):
                self.number = effect.number
        return effects


ASKS = (talk.AskCall, talk.AskQuestion, talk.AskBudget, talk.Consult)


def kinds(effects: list[talk.Effect]) -> list[type[talk.Effect]]:
    """Return of what kinds effects are."""
    return [type(effect) for effect in effects]


def over(effects: list[talk.Effect]) -> talk.Conclude:
    """Return the last effect, which must be the last of all."""
    assert effects, "nothing came of it"
    last = effects[-1]
    assert isinstance(last, talk.Conclude), effects
    return last


def settled(effects: list[talk.Effect]) -> talk.Settle:
    """Return what is done about a call, first of all."""
    assert effects, "nothing came of it"
    first = effects[0]
    assert isinstance(first, talk.Settle), effects
    return first


def prompt(effects: list[talk.Effect]) -> str:
    """Return what is said to the agent, last of all."""
    assert effects, "nothing came of it"
    last = effects[-1]
    assert isinstance(last, talk.Prompt), effects
    return last.text


def call_of(effects: list[talk.Effect]) -> ToolCall:
    """Return what people are asked about, last of all."""
    assert effects, "nothing came of it"
    last = effects[-1]
    assert isinstance(last, talk.AskCall), effects
    return last.call
