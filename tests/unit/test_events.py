"""The public language: names, encoding and upcasting."""

from __future__ import annotations

import re
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import NODEFAULT, Raw

from events import codec, grant, notification, project, schedule, secret, task
from events.codec import EVENTS, CorruptEvent
from events.commands import ACTIONS, SCHEDULE_ACTIONS, UpdateTask
from events.running import RUNNER_ACTIONS
from events.upcast import STEPS, upcast
from pandar_daemon.domain.access import ACTION_PERMISSION
from tests.support.given import envelope, recorded
from tests.support.specimen import specimen

TAG = re.compile(r"[a-z]+\.[a-z_]+")
MODULES = (task, project, schedule, notification, grant, secret)
UNIONS = (
    task.TaskEvent,
    project.ProjectEvent,
    schedule.ScheduleEvent,
    notification.NotificationEvent,
    notification.SettingsEvent,
    grant.GrantEvent,
    secret.SecretEvent,
)

# --- names -----------------------------------------------------------------------------------


def test_names_are_unique() -> None:
    """No two events share a public name."""
    assert len(EVENTS) == sum(len(get_args(union)) for union in UNIONS)


@pytest.mark.parametrize("name", EVENTS)
def test_a_name_is_a_category_and_a_word(name: str) -> None:
    """A name makes exactly two tokens of a subject."""
    assert TAG.fullmatch(name)


def test_every_event_is_known_to_the_codec() -> None:
    """An event class that is in no union could be written and never read."""
    classes = {
        value
        for module in MODULES
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, task.Event) and value is not task.Event
    }
    assert classes == set(EVENTS.values())


def test_every_command_names_its_permission() -> None:
    """No command is served without a rule who may send it."""
    served = set(ACTIONS) | {f"run.{action}" for action in RUNNER_ACTIONS}
    assert set(ACTION_PERMISSION) == served
    assert all(TAG.fullmatch(action) for action in served | set(SCHEDULE_ACTIONS))


# --- encoding --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_survives_the_log(name: str) -> None:
    """What was written is read back, with every field set and with defaults alone."""
    event = specimen(EVENTS[name])
    assert codec.name_of(event) == name
    assert codec.decode(recorded(event)) == event
    required = {f.name for f in msgspec.structs.fields(event) if f.default is NODEFAULT}
    bare = {n: value for n, value in msgspec.to_builtins(event).items() if n in required}
    assert codec.decode(envelope(name, msgspec.json.encode({**bare, "type": name}))) is not None


@pytest.mark.parametrize("name", EVENTS)
def test_unknown_fields_are_ignored(name: str) -> None:
    """An event of a newer release, with more fields and a greater version, is read all the same."""
    event = specimen(EVENTS[name])
    newer = {**msgspec.json.decode(codec.encode(event)), "from_the_future": {"deep": [1]}}
    data = msgspec.json.encode(newer)
    for version in (event.SCHEMA_VERSION, event.SCHEMA_VERSION + 1):
        assert codec.decode(envelope(name, data, version)) == event


@pytest.mark.parametrize("data", [b"{}", b"garbage", b"", b"\xff"])
def test_an_unknown_type_is_nothing(data: bytes) -> None:
    """A type this release does not know is skipped, whatever it holds."""
    assert codec.decode(envelope("task.teleported", data)) is None


GARBAGE = [
    b"",
    b"null",
    b"[]",
    b"{",
    b"\xff",
    b'"task.started"',
    b'{"type":"task.completed"}',
    b'{"type":"task.started","execution_id":7}',
    b'{"type":"task.started","runner_id":"\xff"}',
    b'{"type":"task.started","x":' + b"[" * 100_000,
    b"\x00" * 10,
]


@pytest.mark.parametrize("data", GARBAGE, ids=range(len(GARBAGE)))
def test_garbage_is_corrupt(data: bytes) -> None:
    """A payload that contradicts its type raises the one error readers expect, naming the event."""
    with pytest.raises(CorruptEvent, match=r"event 7 \(task\.started\)"):
        codec.decode(envelope("task.started", data))


@given(data=st.binary(max_size=200), name=st.sampled_from(sorted(EVENTS)))
def test_no_bytes_break_the_reader(data: bytes, name: str) -> None:
    """Whatever bytes a payload holds, reading it returns an event or raises `CorruptEvent`."""
    try:
        codec.decode(envelope(name, data))
    except CorruptEvent:
        return


def test_a_naive_time_is_corrupt() -> None:
    """A time without its zone could mean any hour."""
    data = b'{"from_status":"failed","attempt":2,"not_before":"2026-01-02T03:04:05"}'
    with pytest.raises(CorruptEvent, match="not_before"):
        codec.decode(envelope("task.retried", data))


def test_a_payload_is_kept_byte_for_byte() -> None:
    """The envelope repeats what was appended, blanks included."""
    text = b'{ "type" : "task.start_requested" }'
    assert bytes(codec.raw(text)) == text
    assert isinstance(codec.raw("{}"), Raw)


@pytest.mark.parametrize("name", EVENTS)
def test_optional_fields_come_last(name: str) -> None:
    """Fields are added at the end with a default, so none without one follows one that has it."""
    have = [
        f.default is not NODEFAULT or f.default_factory is not NODEFAULT
        for f in msgspec.structs.fields(EVENTS[name])
    ]
    assert have == sorted(have)


def test_an_absent_field_is_not_null() -> None:
    """An update that clears a time differs from one that leaves it alone."""
    cleared = task.TaskUpdated(scheduled_at=None)
    assert b'"scheduled_at":null' in codec.encode(cleared)
    assert codec.encode(task.TaskUpdated()) == b'{"type":"task.updated"}'
    assert msgspec.json.decode(b"{}", type=UpdateTask) == UpdateTask()


# --- upcasting -------------------------------------------------------------------------------


def test_old_payloads_are_brought_up_to_date() -> None:
    """The steps of a type are applied in order, from the version a payload has."""
    steps = {
        ("a.b", 1): lambda data: {**data, "two": 2},
        ("a.b", 2): lambda data: {**data, "three": data["two"] + 1},
    }
    assert upcast("a.b", 1, {"one": 1}, to=3, steps=steps) == {"one": 1, "two": 2, "three": 3}
    assert upcast("a.b", 2, {"two": 5}, to=3, steps=steps) == {"two": 5, "three": 6}
    assert upcast("a.b", 3, {"x": 1}, to=3, steps=steps) == {"x": 1}
    assert upcast("a.b", 9, {"x": 1}, to=3, steps=steps) == {"x": 1}


def test_a_hole_in_the_chain_is_named() -> None:
    """A missing step is an error that says which one."""
    steps = {("a.b", 1): dict[str, object]}
    with pytest.raises(LookupError, match=r"no upcast from version 2 of a\.b"):
        upcast("a.b", 1, {}, to=3, steps=steps)


def test_a_payload_older_than_all_steps_is_corrupt() -> None:
    """A reader hears of a hole as of any payload that cannot be read."""
    with pytest.raises(CorruptEvent, match=r"no upcast from version 0 of task\.started"):
        codec.decode(envelope("task.started", b"{}", 0))


def test_every_step_leads_to_a_version_we_have() -> None:
    """Steps stand for every version before the present one, and for no other."""
    wanted = {
        (name, version)
        for name, event in EVENTS.items()
        for version in range(1, event.SCHEMA_VERSION)
    }
    assert set(STEPS) == wanted


def test_a_kind_of_failure_of_a_newer_release_is_read() -> None:
    """As the one that says least; what is no text at all contradicts the schema."""
    data = b'{"error":"x","kind":"%s","from_status":"running","execution_id":null}'
    read = codec.decode(envelope("task.failed", data.replace(b"%s", b"eclipse")))
    assert isinstance(read, task.TaskFailed)
    assert read.kind is task.FailureKind.EXIT_CODE
    with pytest.raises(CorruptEvent):
        codec.decode(envelope("task.failed", data.replace(b'"%s"', b"7")))
