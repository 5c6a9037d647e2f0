"""Events as CloudEvents: out and back without loss, and no garbage in."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.envelope import Recorded
from events.ids import ID_MAX
from pandar_daemon.adapters.nats.cloudevents import NotAnEvent, decode, encode
from tests.support.bus import recorded

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - hypothesis adds the zone
NUMBER = st.integers(1, ID_MAX)

RECORDED = st.builds(
    Recorded,
    position=NUMBER,
    stream=TEXT,
    version=NUMBER,
    event_id=st.uuids(),
    type=st.from_regex(r"[a-z_]{1,20}\.[a-z_]{1,20}", fullmatch=True),
    schema_version=st.integers(1, 999_999),
    recorded_at=st.datetimes(min_value=EPOCH, timezones=st.just(UTC)),
    actor=TEXT,
    project_id=st.none() | NUMBER,
    command_id=TEXT,
    correlation_id=TEXT,
    causation_id=st.none() | TEXT,
    traceparent=st.none() | TEXT,
    data=st.dictionaries(TEXT, TEXT).map(lambda d: msgspec.Raw(msgspec.json.encode(d))),
)


@given(RECORDED)
def test_every_field_survives_the_round_trip(event: Recorded) -> None:
    """Any text in any field comes back equal, whatever the case of the headers."""
    headers = {name.upper(): value for name, value in encode(event).items()}
    back = decode(headers, bytes(event.data))
    assert back == event
    assert bytes(back.data) == bytes(event.data)


@given(RECORDED)
def test_headers_are_printable_ascii(event: Recorded) -> None:
    """No value can end a header, start another or lose its edges to trimming."""
    for value in encode(event).values():
        assert re.fullmatch(r"[\x21-\x7e]*", value)


def test_the_headers_are_those_of_the_binding() -> None:
    """The attributes of one event, word for word."""
    assert encode(recorded(7)) == {
        "ce-specversion": "1.0",
        "ce-id": str(recorded(7).event_id),
        "ce-source": "/pandar/1",
        "ce-type": "dev.pandar.task.progressed.v1",
        "ce-subject": "task-42",
        "ce-time": "2026-01-02T03:04:05.678901Z",
        "ce-datacontenttype": "application/json",
        "ce-sequence": "00000000000000000007",
        "ce-correlationid": "correlation",
        "ce-authtype": "user",
        "ce-authid": "user:zo%C3%AB%20100%25",
        "Pandar-Position": "7",
        "Pandar-Version": "7",
        "Pandar-Project": "1",
        "Pandar-Command-Id": "command-7",
    }


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in encode(recorded(1))
        if n not in {"ce-source", "ce-datacontenttype", "ce-sequence", "ce-authtype"}
    ],
)
@pytest.mark.parametrize("value", [None, "", "\ufffd", "-1", "1e9", "%ff", "9" * 30])
def test_a_missing_or_broken_header_is_not_an_event_or_read_as_text(
    name: str, value: str | None
) -> None:
    """Nothing but `NotAnEvent` is ever raised, and a missing header always raises it."""
    headers = encode(recorded(1))
    del headers[name]
    if value is not None:
        headers[name] = value
    try:
        event = decode(headers, b"{}")
    except NotAnEvent:
        return
    assert value is not None
    assert event.position == 1 or name == "Pandar-Position"


@given(st.dictionaries(TEXT, TEXT), st.binary(max_size=50))
def test_garbage_is_not_an_event(headers: dict[str, str], data: bytes) -> None:
    """Whatever the headers and body are."""
    with pytest.raises(NotAnEvent):
        decode(headers, data)


@pytest.mark.parametrize("data", [b"", b"[]", b"1", b"{", b"\xff", b'{"a":}', b"{}x"])
def test_a_body_that_is_no_json_object_is_not_an_event(data: bytes) -> None:
    """The headers being right is not enough."""
    with pytest.raises(NotAnEvent):
        decode(encode(recorded(1)), data)
