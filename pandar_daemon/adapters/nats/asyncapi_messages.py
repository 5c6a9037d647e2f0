"""The headers of the messages on the bus, and the bodies that are no command and no event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from msgspec import Struct

from events.ids import TOKEN
from events.problem import CONTENT_TYPE
from events.task import Json
from pandar_daemon.adapters.nats.messages import ERROR_CODE, ERROR_TITLE


class CancelHint(Struct, frozen=True, kw_only=True):
    """A hint: the execution is to end; the answer to a renewal decides."""

    task_id: int
    execution_id: UUID


class Presence(Struct, frozen=True, kw_only=True):
    """What a heartbeat says."""

    runner_id: str
    slots: int
    running: int
    draining: bool


def _object(properties: Mapping[str, Json], *required: str) -> Json:
    return {"type": "object", "properties": dict(properties), "required": list(required)}


def _text(description: str, **more: object) -> Json:
    told = {"description": description} if description else {}
    return {"type": "string", **told, **more}


_NUMBER: Final = "^[0-9]+$"
_TRACE: Final = {"traceparent": _text("W3C trace context.")}
_ID: Final = _text(
    "The same id again gets the first answer, for ever; a fresh one if absent.",
    pattern=f"^{TOKEN.pattern}$",
)
_ASKED: Final = {
    "Pandar-Command-Id": _ID,
    "Pandar-Expected-Version": _text("Refuse, 412, at any other version.", pattern=_NUMBER),
    "Pandar-Correlation-Id": _text("Goes into every event that follows from it."),
    "Pandar-Causation-Id": _text("The event or command that made you ask."),
    **_TRACE,
}

COMMAND: Final = _object(
    {"Pandar-Token": _text("The bearer token of the asker."), **_ASKED}, "Pandar-Token"
)
QUEUED: Final = _object(
    {
        "Pandar-Proof": _text("Made with the asker's token, which must not lie on a disk."),
        "Nats-Msg-Id": _text("The command id, so that JetStream keeps it once."),
        **_ASKED,
    },
    "Pandar-Proof",
    "Pandar-Command-Id",
)
ANSWER: Final = _object(
    {
        "Content-Type": _text("", const="application/json"),
        "Pandar-Command-Id": _text("On a result: whose it is."),
    }
)
PROBLEM: Final = _object(
    {
        ERROR_CODE: _text("The HTTP status.", pattern="^[45][0-9]{2}$"),
        ERROR_TITLE: _text("The problem's title."),
        "Content-Type": _text("", const=CONTENT_TYPE),
        "Pandar-Command-Id": _text("On a result: whose it is."),
    },
    ERROR_CODE,
    ERROR_TITLE,
)
OUTPUT: Final = _object(
    {
        "Pandar-Offset": _text("Of the first byte.", pattern=_NUMBER),
        "Pandar-Execution": _text("The execution's id.", format="uuid"),
        "Nats-Msg-Id": _text("Makes a repetition harmless."),
    },
    "Pandar-Offset",
    "Pandar-Execution",
)

_OPTIONAL: Final = frozenset({"ce-causationid", "traceparent"})


def event(type_: str) -> Json:
    """Return the headers of an event of this CloudEvents type."""
    found = {
        "ce-specversion": _text("", const="1.0"),
        "ce-id": _text("The event's id, to recognise a repetition.", format="uuid"),
        "ce-source": _text("`/pandar/{project}`, `_` for none."),
        "ce-type": _text("Name and version of the shape of the body.", const=type_),
        "ce-subject": _text("Whose event it is: `task-42`."),
        "ce-time": _text("When it was recorded.", format="date-time"),
        "ce-datacontenttype": _text("", const="application/json"),
        "ce-sequence": _text("The position, as 20 digits.", pattern="^[0-9]{20}$"),
        "ce-correlationid": _text("The request it belongs to."),
        "ce-causationid": _text("The event or command that caused it."),
        "ce-authtype": _text("What the actor is."),
        "ce-authid": _text("Who did it: `user:7`."),
        "Pandar-Position": _text("The position in the log.", pattern=_NUMBER),
        "Pandar-Version": _text("Which event of its own stream it is, from 1.", pattern=_NUMBER),
        "Pandar-Project": _text("The project, `_` for none."),
        "Pandar-Command-Id": _text("The command that was answered with it."),
        **_TRACE,
    }
    return _object(found, *(name for name in found if name not in _OPTIONAL))
