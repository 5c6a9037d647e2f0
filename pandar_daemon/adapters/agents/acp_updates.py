"""What an ACP agent tells while it works (``session/update``), as it is heard."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from events.task import Usage
from pandar_daemon.adapters.agents.acp_calls import Calls, Told
from pandar_daemon.adapters.agents.acp_results import Signs
from pandar_daemon.adapters.agents.jsonrpc import Params
from pandar_daemon.adapters.agents.quirks import Quirks
from pandar_daemon.adapters.agents.shapes import mapping, text
from pandar_daemon.adapters.agents.usage import added, cost_usd
from pandar_daemon.domain.hearing import Asked, Called, CallStatus, Heard, Said, Used

INTENT_MAX: Final = 1_000
"""Characters of what the agent said last that stand for its intent."""


class Story:
    """What was told in a session so far: its calls, its last words, what it consumed."""

    def __init__(self, quirks: Quirks) -> None:
        self.spent = Usage()
        self.signs = Signs()
        self._calls = Calls(by_title=quirks.tells_by_title)
        self._said, self._acted = "", False  # its last words, and whether it did something since

    def begin_turn(self) -> None:
        """Forget the signs and the words of the turn before."""
        self.signs, self._said = Signs(), ""

    def update(self, update: Params) -> list[Heard]:
        """Return what is heard of an update; nothing of kinds that do not matter here."""
        heard: list[Heard] = []
        if "_meta" in update and (retrying := self.signs.see(update)):
            heard.append(Said(text=retrying, thought=True))
        return heard + self._told(update)

    def _told(self, update: Params) -> list[Heard]:
        match update.get("sessionUpdate"):
            case "agent_message_chunk":
                return self._say(update)
            case "agent_thought_chunk":
                words = _words(update)
                return [Said(text=words, thought=True)] if words else []
            case "tool_call" | "tool_call_update":
                return self._call(update)
            case "usage_update" if (cost := cost_usd(update)) is not None:
                return self.spend(replace(self.spent, cost_usd=cost))
            case _:
                return []

    def consumed(self, turn: Usage | None) -> list[Heard]:
        """Return what is heard of a turn's consumption: that of all turns so far."""
        return self.spend(added(self.spent, turn)) if turn else []

    def spend(self, spent: Usage) -> list[Heard]:
        """Return what is heard when the session consumed so much in all."""
        if spent == self.spent:
            return []
        self.spent = spent
        return [Used(usage=spent)]

    def asked(self, key: str, call: Params) -> Asked:
        """Return what is heard when it wants to be allowed a call, perhaps known by its id."""
        told, _ = self._calls.tell(call)
        intent = told.intent or self._said.strip()
        return Asked(request_id=key, call=told.call, call_id=told.call_id, intent=intent)

    def _say(self, update: Params) -> list[Heard]:
        words = _words(update)
        if not words:
            return []
        before = "" if self._acted else self._said
        self._said, self._acted = (before + words[-INTENT_MAX:])[-INTENT_MAX:], False
        self.signs.say(words)
        return [Said(text=words)]

    def _call(self, update: Params) -> list[Heard]:
        told, new = self._calls.tell(update)
        return [self._called(told)] if new else []

    def _called(self, told: Told) -> Called:
        over = told.status in (CallStatus.DONE, CallStatus.FAILED)
        self._acted = self._acted or over
        output = (told.output or told.note) if over else ""
        return Called(call_id=told.call_id, call=told.call, status=told.status, output=output)


def _words(update: Params) -> str:
    return text(mapping(update.get("content")).get("text"))
