"""The bus's description of itself: an AsyncAPI 3.0 document, made from the Structs.

Pandar is the application that is described: it *receives* commands and *sends* events.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from events import subjects
from events.codec import EVENTS
from events.commands import ACTIONS, Accepted
from events.problem import CONTENT_TYPE, Problem
from events.running import RUNNER_ACTIONS, Assignments, Renewed
from events.task import Json
from pandar_daemon.adapters.nats import asyncapi_messages as headers
from pandar_daemon.adapters.nats import streams
from pandar_daemon.adapters.nats.asyncapi_messages import CancelHint, Presence
from pandar_daemon.adapters.nats.jetstream_api import StreamConfig
from pandar_daemon.domain.access import ACTION_PERMISSION

VERSION: Final = "1.0.0"
"""Of the language on the bus: the first number is that of its subjects."""

_REF: Final = "#/components/schemas/{name}"
_ANSWERS: Final[dict[str, type[Struct]]] = {
    "accepted": Accepted,
    "assignments": Assignments,
    "renewed": Renewed,
}
_RUNNER_ANSWER: Final = {"claim": "assignments", "renew": "renewed"}
_PARAMETERS: Final = {
    "project": "A project's id, `_` where it is not stated.",
    "target": "The id of what the command is for, `_` when it creates.",
    "id": "The id of the task or project.",
    "category": "`task`, `project`, `member` or `schedule`.",
    "name": "What happened, in the past tense: `completed`.",
    "command_id": "`Pandar-Command-Id` of the command.",
    "runner": "A runner's id, fresh at every start of its process.",
    "task": "A task's id.",
    "attempt": "From 1.",
}


def document() -> Json:
    """Return the description of everything on the bus that is meant for others."""
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Pandar",
            "version": VERSION,
            "license": {"name": "Apache-2.0"},
            "description": (
                "Commands are requests to the NATS service `pandar` (`$SRV.INFO.pandar` tells of"
                " it), or are left in a durable queue. Events are CloudEvents 1.0 in binary mode,"
                " percent-encoded; their sequence in the stream is their position in the log."
                " Ignore events and fields you do not know."
            ),
        },
        "defaultContentType": "application/json",
        "servers": {
            "nats": {
                "host": "127.0.0.1:4222",
                "protocol": "nats",
                "description": "`pandar up` prints the address and its token.",
            }
        },
        "channels": _channels(),
        "operations": _operations(),
        "components": {"messages": _messages(), "schemas": _components()},
    }


# --- where ------------------------------------------------------------------------------------


def _channels() -> Json:
    events = subjects.EVENTS, subjects.LIVE_EVENTS
    tail, out = "{category}.{name}.{project}.{id}", "{project}.{task}.{attempt}"
    return {
        **_command_channels(),
        "reply": {
            "address": None,
            "description": "The reply subject of a request; NATS chooses it.",
            "messages": _refs(*_ANSWERS, "problem"),
        },
        "result": _channel(
            subjects.result("{command_id}"),
            ["accepted", "problem"],
            streams.results(1),
            "The answer to a queued command, kept for an hour.",
        ),
        "evt": _channel(
            f"{events[0]}.{tail}",
            EVENTS,
            streams.events(1, 1),
            "Every event, in log order, for ever. The stream's number is that of the log's epoch.",
        ),
        "live.evt": _channel(
            f"{events[1]}.{tail}",
            EVENTS,
            None,
            "Each event again as soon as it is stored. May miss, or tell twice: use it to wake up.",
        ),
        "out": _channel(
            f"{subjects.OUTPUT}.{out}",
            ["output"],
            streams.output(1, streams.OUTPUT_MAX_BYTES),
            "What an attempt writes, by byte offset; repetitions overlap.",
        ),
        "live.out": _channel(
            f"{subjects.LIVE_OUTPUT}.{out}", ["output"], None, "The same again, once stored."
        ),
        "ctl.cancel": _channel(
            subjects.control("{runner}", "cancel"), ["cancel-hint"], None, "Renew now: a task ends."
        ),
        "ctl.drain": _channel(
            subjects.control("{runner}", "drain"), ["drain"], None, "Take no more work, and end."
        ),
        "hb": _channel(
            subjects.heartbeat("{runner}"), ["presence"], None, "A runner is there; no promise."
        ),
    }


def _command_channels() -> Json:
    found: Json = {}
    for action in ACTIONS:
        tail = f"{action}.{{project}}.{{target}}"
        found[f"cmd.{action}"] = _channel(f"{subjects.COMMANDS}.{tail}", [action])
        queued = f"{subjects.QUEUE}.{tail}"
        found[f"queue.{action}"] = _channel(queued, [f"queued.{action}"], streams.commands(1))
    for action in RUNNER_ACTIONS:
        found[f"run.{action}"] = _channel(subjects.run(action, "{runner}"), [f"run.{action}"])
    return found


def _channel(
    address: str,
    messages: Iterable[str],
    stream: StreamConfig | None = None,
    description: str = "",
) -> Json:
    names = [token[1:-1] for token in address.split(".") if token.startswith("{")]
    shown: Json = {
        "address": address,
        "description": description,
        "parameters": {name: _parameter(name) for name in names},
        "messages": _refs(*messages),
        "x-jetstream": None if stream is None else msgspec.to_builtins(stream),
    }
    return {name: value for name, value in shown.items() if value}


def _parameter(name: str) -> Json:
    where = {"location": "$message.header#/Pandar-Command-Id"} if name == "command_id" else {}
    return {"description": _PARAMETERS[name], **where}


def _refs(*names: str) -> Json:
    return {name: {"$ref": f"#/components/messages/{name}"} for name in names}


# --- who does what ----------------------------------------------------------------------------


def _operations() -> Json:
    found: Json = {}
    for action in ACTIONS:
        found[f"cmd.{action}"] = _answering(f"cmd.{action}", action, "reply", "accepted")
        found[f"queue.{action}"] = _answering(f"queue.{action}", action, "result", "accepted")
    for action in RUNNER_ACTIONS:
        name = f"run.{action}"
        found[name] = _answering(name, name, "reply", _RUNNER_ANSWER.get(action, "accepted"))
    for name in ("evt", "live.evt", "out", "live.out", "ctl.cancel", "hb"):
        found[name] = {"action": "send", "channel": {"$ref": f"#/channels/{name}"}}
    found["ctl.drain"] = {"action": "receive", "channel": {"$ref": "#/channels/ctl.drain"}}
    return found


def _answering(channel: str, action: str, reply: str, answer: str) -> Json:
    answers = f"#/channels/{reply}"
    kind = ACTIONS.get(action) or RUNNER_ACTIONS[action.removeprefix("run.")]
    return {
        "action": "receive",
        "summary": _plain(inspect.getdoc(kind)),
        "channel": {"$ref": f"#/channels/{channel}"},
        "reply": {
            "channel": {"$ref": answers},
            "messages": [{"$ref": f"{answers}/messages/{one}"} for one in (answer, "problem")],
        },
        "x-permission": ACTION_PERMISSION[action],
    }


# --- what -------------------------------------------------------------------------------------


def _messages() -> Json:
    found = {name: _event(name) for name in EVENTS}
    for name, kind in ACTIONS.items():
        found[name] = _message(kind, headers.COMMAND)
        found[f"queued.{name}"] = _message(kind, headers.QUEUED)
    for name, kind in RUNNER_ACTIONS.items():
        found[f"run.{name}"] = _message(kind, headers.COMMAND)
    found |= {name: _message(kind, headers.ANSWER) for name, kind in _ANSWERS.items()}
    found["problem"] = {**_message(Problem, headers.PROBLEM), "contentType": CONTENT_TYPE}
    found["output"] = {
        "summary": "At most 64 KiB of what an attempt wrote.",
        "contentType": "application/octet-stream",
        "headers": headers.OUTPUT,
        "payload": {"type": "string", "format": "binary"},
    }
    found["cancel-hint"] = _message(CancelHint)
    found["drain"] = {"summary": "Take no more work; the body is not looked at."}
    found["presence"] = _message(Presence)
    return {name: {"name": name, **message} for name, message in found.items()}


def _event(name: str) -> Json:
    kind = EVENTS[name]
    type_ = f"dev.pandar.{name}.v{kind.SCHEMA_VERSION}"
    return {**_message(kind, headers.event(type_)), "x-subject": f"{subjects.EVENTS}.{name}.*.*"}


def _message(kind: type[Struct], header: Mapping[str, object] | None = None) -> Json:
    shown = {"summary": _plain(inspect.getdoc(kind)), "headers": header, "payload": _schema(kind)}
    return {name: value for name, value in shown.items() if value}


def _plain(text: str | None) -> str:
    return " ".join((text or "").partition("\n\n")[0].replace("``", "`").split())


class _Shapes(NamedTuple):
    of: dict[type[Struct], Json]
    components: dict[str, Json]


@cache
def _shapes() -> _Shapes:
    kinds: tuple[type[Struct], ...] = (
        *ACTIONS.values(),
        *RUNNER_ACTIONS.values(),
        *_ANSWERS.values(),
        *EVENTS.values(),
        Problem,
        CancelHint,
        Presence,
    )
    schemas, components = msgspec.json.schema_components(kinds, ref_template=_REF)
    return _Shapes(dict(zip(kinds, schemas, strict=True)), components)


def _schema(kind: type[Struct]) -> Json:
    return _shapes().of[kind]


def _components() -> Json:
    return {name: _readable(one) for name, one in sorted(_shapes().components.items())}


def _readable(schema: Json) -> Json:
    """Return a schema with its docstring as Markdown."""
    text = inspect.cleandoc(schema.get("description", "")).replace("``", "`")
    return {**schema, "description": text} if text else schema
