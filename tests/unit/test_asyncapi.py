"""The description of the bus tells of every command, every event, and how they are carried."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from events import codec, subjects
from events.codec import EVENTS
from events.commands import ACTIONS
from events.running import RUNNER_ACTIONS
from events.task import TaskProgressed
from pandar_daemon.adapters.nats import asyncapi, asyncapi_messages, cloudevents
from pandar_daemon.services import presence
from tests.support.descriptions import references, resolve
from tests.support.given import recorded
from tests.support.specimen import specimen

Json = Any
DOCUMENT: Json = msgspec.json.decode(msgspec.json.encode(asyncapi.document()))
MESSAGES = DOCUMENT["components"]["messages"]
CHANNELS = DOCUMENT["channels"]


def test_every_reference_resolves() -> None:
    """Whatever the document refers to is in the document."""
    for reference in references(DOCUMENT):
        assert resolve(DOCUMENT, reference)


def test_every_event_is_a_message() -> None:
    """Both channels of events carry each type, and nothing else."""
    for channel in ("evt", "live.evt"):
        assert list(CHANNELS[channel]["messages"]) == list(EVENTS)


@pytest.mark.parametrize("name", EVENTS)
def test_events_are_their_structs(name: str) -> None:
    """An event's message has its Struct's fields and its CloudEvents type."""
    message = MESSAGES[name]
    schema: Json = resolve(DOCUMENT, message["payload"]["$ref"])
    assert list(schema["properties"]) == ["type", *EVENTS[name].__struct_encode_fields__]
    assert schema["properties"]["type"]["enum"] == [name]
    type_ = f"dev.pandar.{name}.v{EVENTS[name].SCHEMA_VERSION}"
    assert message["headers"]["properties"]["ce-type"]["const"] == type_


def test_headers_of_events_are_those_sent() -> None:
    """The described headers are the ones an event is published with; the optional are."""
    event = specimen(TaskProgressed)
    bare = recorded(event)
    full = msgspec.structs.replace(bare, causation_id="x", traceparent="00-a-b-01")
    shown = MESSAGES[codec.name_of(event)]["headers"]
    assert list(shown["properties"]) == list(cloudevents.encode(full))
    assert shown["required"] == list(cloudevents.encode(bare))


@pytest.mark.parametrize("name", ACTIONS)
def test_commands_are_asked_or_queued(name: str) -> None:
    """Each command has its two subjects, its Struct as the body, and where its answer comes."""
    tail = f"{name}.{{project}}.{{target}}"
    for door, reply in (("cmd", "reply"), ("queue", "result")):
        channel, operation = CHANNELS[f"{door}.{name}"], DOCUMENT["operations"][f"{door}.{name}"]
        assert channel["address"] == f"{subjects.ROOT}.{door}.{tail}"
        assert operation["channel"]["$ref"] == f"#/channels/{door}.{name}"
        assert operation["reply"]["channel"]["$ref"] == f"#/channels/{reply}"
        (reference,) = references(channel["messages"])
        message: Json = resolve(DOCUMENT, reference)
        assert message["payload"]["$ref"].endswith(f"/{ACTIONS[name].__name__}")
    assert "Pandar-Token" not in MESSAGES[f"queued.{name}"]["headers"]["properties"]


@pytest.mark.parametrize("name", RUNNER_ACTIONS)
def test_runners_are_answered(name: str) -> None:
    """Each action of a runner has its subject, its Struct, and an answer or a problem."""
    channel, operation = CHANNELS[f"run.{name}"], DOCUMENT["operations"][f"run.{name}"]
    assert channel["address"] == subjects.run(name, "{runner}")
    assert len(operation["reply"]["messages"]) == 2
    assert MESSAGES[f"run.{name}"]["payload"]["$ref"].endswith(RUNNER_ACTIONS[name].__name__)


def test_parameters_are_those_of_the_address() -> None:
    """Each channel describes exactly the parameters of its subject."""
    for name, channel in CHANNELS.items():
        tokens = (channel["address"] or "").split(".")
        wanted = [token[1:-1] for token in tokens if token.startswith("{")]
        assert list(channel.get("parameters", {})) == wanted, name


def test_what_is_kept_names_its_stream() -> None:
    """Commands in the queue, results, events and output tell which stream holds them, and how."""
    kept = {
        channel["x-jetstream"]["name"] for channel in CHANNELS.values() if "x-jetstream" in channel
    }
    assert kept == {
        subjects.COMMANDS_STREAM,
        subjects.RESULTS_STREAM,
        subjects.OUTPUT_STREAM,
        subjects.events_stream(1),
    }


def test_a_heartbeat_is_what_runners_send() -> None:
    """The described presence has the fields of the runner's own."""
    described = asyncapi_messages.Presence.__struct_fields__
    assert described == presence.Presence.__struct_fields__
