"""The requests an agent has open, and the one answer each gets."""

from __future__ import annotations

from typing import Final, Protocol

from msgspec import Struct

from events.calls import Verdict
from pandar_daemon.adapters.agents.forms import Form
from pandar_daemon.adapters.agents.jsonrpc import Id, Params, answer

OPEN_MAX: Final = 100
"""Requests that wait at once; others are answered ``cancelled`` without being heard."""
FLOOD_MAX: Final = 10_000
"""So many asked in a row while `OPEN_MAX` wait: nothing more is heard of such an agent."""


class Open(Protocol):
    """A request that waits."""

    def answer(self, verdict: Verdict, words: str) -> Params:
        """Return the result that says so; ``ASK`` is for one that nobody decides."""
        ...


class Consent(Struct, frozen=True):
    """A form with nothing to fill in."""

    def answer(self, verdict: Verdict, words: str) -> Params:  # noqa: ARG002 - there is no place for words
        """Return the result that says so."""
        if verdict is Verdict.ALLOW:
            return {"action": "accept", "content": {}}
        return {"action": "decline" if verdict is Verdict.DENY else "cancel"}


class Question(Struct, frozen=True):
    """A form that wants an answer in words."""

    form: Form

    def answer(self, verdict: Verdict, words: str) -> Params:
        """Return the form, filled in; declined without words."""
        if verdict is Verdict.ALLOW and words.strip():
            return {"action": "accept", "content": self.form.filled(words)}
        return {"action": "cancel" if verdict is Verdict.ASK else "decline"}


class Asking:
    """What is open, by the text of its id. Each is answered once."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[Id, Open]] = {}
        self._refused = 0

    def __contains__(self, key: str) -> bool:
        return key in self._open

    @property
    def flooded(self) -> bool:
        """Whether it asked `FLOOD_MAX` times while nothing was answered."""
        return self._refused + OPEN_MAX >= FLOOD_MAX

    def open(self, key: str) -> Open | None:
        """Return what waits under an id."""
        return self._open.get(key, (None, None))[1]

    def begin(self, key: str, request: Id, asked: Open) -> bytes:
        """Open a request; return its answer when there are too many already."""
        if len(self._open) < OPEN_MAX:
            self._open[key] = request, asked
            return b""
        self._refused += 1
        return answer(request, asked.answer(Verdict.ASK, ""))

    def end(self, key: str, verdict: Verdict, words: str = "") -> bytes:
        """Return the answer, once; nothing for what is not open."""
        request, asked = self._open.pop(key, (None, None))
        if asked is None:
            return b""
        self._refused = 0
        return answer(request, asked.answer(verdict, words))

    def end_all(self) -> bytes:
        """Return the answers to all that is open: nobody will decide."""
        return b"".join([self.end(key, Verdict.ASK) for key in list(self._open)])
