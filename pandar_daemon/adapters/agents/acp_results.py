"""How a turn of an ACP agent ended, whatever it calls that end.

``end_turn`` is no success when errors were told on the way: Codex ends a turn so when its model
server answered 529. What the agent told of errors during the turn is collected here.
"""

from __future__ import annotations

from typing import Final

from events.instant import Instant
from events.task import Usage
from pandar_daemon.adapters.agents.faults import from_epoch, trouble
from pandar_daemon.adapters.agents.jsonrpc import Failure, Params
from pandar_daemon.adapters.agents.shapes import as_json, count, cut, first_text, mapping, text
from pandar_daemon.domain.hearing import Fault, Stop, TurnEnded

_STOPS: Final = {
    "end_turn": Stop.DONE,
    "cancelled": Stop.CANCELLED,
    "refusal": Stop.REFUSED,
    "max_tokens": Stop.LIMIT,
    "max_turn_requests": Stop.LIMIT,
}
_ERRORS: Final = {Stop.REFUSED: "the model refused", Stop.LIMIT: "a limit was reached: "}
_WORDS: Final = ("additionalDetails", "message")
_RATE_LIMIT: Final = "_claude/rateLimit"


class Signs:
    """The errors told during one turn, beside its end."""

    def __init__(self) -> None:
        self._failed = False
        self._error: Params = {}
        self._said = ""
        self._resets: Instant | None = None

    def see(self, update: Params) -> str:
        """Take note of an update that may tell of an error; return what it says of trying again."""
        meta = mapping(update.get("_meta"))
        codex = mapping(meta.get("codex"))
        limit = mapping(meta.get(_RATE_LIMIT))
        if limit.get("status") == "rejected":
            self._resets = from_epoch(count(limit.get("resetsAt")))
        if mapping(codex.get("threadStatus")).get("type") == "systemError":
            self._fail()
        return self._see_error(mapping(codex.get("error")))

    def _see_error(self, error: Params) -> str:
        if not error:
            return ""
        self._error = error
        if error.get("willRetry") is True:
            return f"{text(error.get('message'))}: {text(error.get('additionalDetails'))}\n"
        self._fail()
        return ""

    def _fail(self) -> None:
        self._failed, self._said = True, ""

    def say(self, words: str) -> None:
        """Take note of what the agent says: after a failure it is the reason."""
        self._said = cut((self._said + words)[-1_000:], 1_000)

    def ended(self, result: Params, usage: Usage | None, now: Instant) -> TurnEnded:
        """Return the end of the turn its answer tells, or what the signs make of it."""
        reason = text(result.get("stopReason"))
        stop = _STOPS.get(reason, Stop.FAILED)
        if stop is Stop.FAILED:
            return TurnEnded(stop=stop, error=f"unknown stop reason {reason!r}", usage=usage)
        meta = mapping(result.get("_meta"))
        told = mapping(meta.get("error")) or mapping(mapping(meta.get("codex")).get("error"))
        if stop is Stop.DONE and (self._failed or told):
            return self._failure(told or self._error, usage, now)
        error = _ERRORS.get(stop, "")
        return TurnEnded(
            stop=stop, error=error + (reason if stop is Stop.LIMIT else ""), usage=usage
        )

    def failed(self, failure: Failure, usage: Usage | None, now: Instant) -> TurnEnded:
        """Return the end of a turn that was answered with an error."""
        found = trouble(failure.message, failure.data, now)
        retry_at = found.retry_at or (self._resets if found.fault is Fault.QUOTA else None)
        return TurnEnded(
            stop=Stop.FAILED, error=found.error, fault=found.fault, usage=usage, retry_at=retry_at
        )

    def _failure(self, error: Params, usage: Usage | None, now: Instant) -> TurnEnded:
        named = first_text(error, _WORDS)
        words = self._said.strip() or named or as_json(error)
        kind = {name: error[name] for name in error if name not in _WORDS}
        return self.failed(Failure(None, 0, words, kind), usage, now)
