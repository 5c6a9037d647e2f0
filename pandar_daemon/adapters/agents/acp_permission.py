"""What can be answered to an ACP agent that wants to be permitted something.

An option is chosen by its ``kind`` alone, and only ``allow_once`` ever allows: what agents offer as
"always" widens what they do unasked.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from events.calls import Verdict
from pandar_daemon.adapters.agents.jsonrpc import Params
from pandar_daemon.adapters.agents.shapes import items, mapping, text

CANCELLED: Final[Params] = {"outcome": {"outcome": "cancelled"}}


class Permission(Struct, frozen=True):
    """A request to allow a call: the ids of the options that do it once."""

    allow: str | None
    reject: str | None

    def answer(self, verdict: Verdict, words: str) -> Params:  # noqa: ARG002 - ACP has no place for words
        """Return the result that says so; ``cancelled`` where no option says just that."""
        option = {Verdict.ALLOW: self.allow, Verdict.DENY: self.reject}.get(verdict)
        if option is None:
            return CANCELLED
        return {"outcome": {"outcome": "selected", "optionId": option}}


def permission(params: Params) -> Permission:
    """Return what can be answered to a ``session/request_permission``."""
    options = [mapping(each) for each in items(params.get("options"))]
    return Permission(_option(options, "allow_once"), _option(options, "reject_once"))


def _option(options: list[Params], kind: str) -> str | None:
    found = (text(each.get("optionId")) for each in options if each.get("kind") == kind)
    return next(found, None)
