"""What is told to a program whose request is refused: what, why, and what to do."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

REASON_HEADER: Final = "X-Pandar-Reason"


class Refused(Exception):
    """A request that is not carried out.

    ``reason`` is one of the words of the documentation, for programs; ``text`` is for people.
    """

    def __init__(self, status: HTTPStatus, reason: str, text: str) -> None:
        super().__init__(text)
        self.status, self.reason, self.text = status, reason, text


def malformed(text: str) -> Refused:
    """Return the refusal of a request that is none."""
    return Refused(HTTPStatus.BAD_REQUEST, "malformed", text)


def unreachable(text: str) -> Refused:
    """Return that the other side did not do its part."""
    return Refused(HTTPStatus.BAD_GATEWAY, "unreachable", text)


def late(text: str) -> Refused:
    """Return that the other side took too long."""
    return Refused(HTTPStatus.GATEWAY_TIMEOUT, "late", text)
