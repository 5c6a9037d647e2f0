"""Our own bytes for a message mean what those of nats-py mean."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nats.aio.client import Client

from pandar_daemon.adapters.nats.cloudevents import encode
from pandar_daemon.adapters.nats.framing import framed, headers_of
from tests.support.bus import recorded

NAMES = st.from_regex(r"[A-Za-z0-9-]{1,20}", fullmatch=True)
VALUES = st.text(max_size=40) | st.from_regex(r"[ -~]{0,40}", fullmatch=True)
HEADERS = st.dictionaries(NAMES, VALUES, max_size=6)


def parsed(data: bytes) -> tuple[str, str, dict[str, str], bytes]:
    """Return subject, reply, headers and body of a frame as a server would take them."""
    control, _, rest = data.partition(b"\r\n")
    verb, subject, *others = control.decode().split(" ")
    size, header_size = int(others.pop()), int(others.pop()) if verb == "HPUB" else 0
    payload, end = rest[:size], rest[size:]
    assert (len(payload), end) == (size, b"\r\n")
    block, body = payload[:header_size], payload[header_size:]
    headers = Client._parse_header_lines(block.removeprefix(b"NATS/1.0\r\n"))
    return subject, "".join(others), headers, body


@given(HEADERS, st.binary(max_size=50), st.sampled_from(["", "_INBOX.a.1"]))
def test_what_is_framed_is_read_as_it_was_meant(
    headers: dict[str, str], body: bytes, reply: str
) -> None:
    """Every header comes back with its value and no other one appears; or nothing is framed."""
    frame = framed("test.subject", reply, headers, body)
    if frame is not None:
        assert parsed(frame.data) == ("test.subject", reply, headers, body)


def test_an_event_is_framed() -> None:
    """What is sent most does not go the long way round."""
    event = recorded(7)
    frame = framed("pandar.v1.evt.task.progressed.1.42", "_INBOX.a", encode(event), b"{}")
    assert frame is not None
    assert parsed(frame.data)[2] == encode(event)


@pytest.mark.parametrize("value", ["", " x", "x ", "a\r\nb: c", "a\nb", "ü", "\x00", "\x7f"])
def test_an_unusual_value_is_left_to_nats_py(value: str) -> None:
    """It is trimmed, folded, encoded or refused there."""
    assert framed("test.subject", "", {"a": value}, b"") is None


@pytest.mark.parametrize("subject", ["", "a b", "a\r\nPUB b 0", "ü", "a" * 1_001])
def test_an_unusual_subject_is_left_to_nats_py(subject: str) -> None:
    """It is refused there."""
    assert framed(subject, "", {}, b"") is None
    assert framed("test.subject", subject, {}, b"") is None or not subject


@given(st.lists(st.tuples(NAMES, VALUES), max_size=6), st.sampled_from([b"", b" 503", b"\r\n"]))
def test_headers_are_read_as_nats_py_reads_them(
    lines: list[tuple[str, str]], status: bytes
) -> None:
    """The same names and values, the last of equal ones; or they are left to it."""
    text = "".join(f"{name}: {value}\r\n" for name, value in lines)
    block = b"NATS/1.0" + status + b"\r\n" + text.encode() + b"\r\n"
    headers = headers_of(block)
    if headers is not None:
        assert headers == Client._parse_header_lines(text.encode())
