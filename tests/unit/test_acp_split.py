"""What an agent writes means the same however it arrives cut."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pandar_daemon.adapters.agents.jsonrpc import (
    Answer,
    Failure,
    Garbage,
    Inbox,
    Message,
    Notice,
    Request,
    TooLong,
    message_in,
)
from pandar_daemon.domain.hearing import Heard
from tests.support.acp_lines import asks, driver, ended, hello, line, prompted, said, update

CALL = {"toolCallId": "c1", "title": "ls 🐼", "kind": "execute", "rawInput": {"command": "ls"}}
TURN = b"".join(
    [
        said("grüße 🐼 "),
        b"garbage \xff\xfe\n",
        b'{"half": "\\ud83d"}\n',
        b"\r\n",
        update("tool_call", **CALL),
        asks(7, {"toolCallId": "c1"}),
        asks("q", CALL),
        line(method="$/cancel_request", params={"requestId": "q"}),
        line(id=9, method="fs/write_text_file", params={}),
        ended(),
        said("late"),
        b"an unfinished line",
    ]
)


def outcome(*pieces: bytes) -> tuple[list[Heard], bytes]:
    """Return all that is heard and written when a turn arrives in these pieces."""
    made = prompted()
    results = [made.receive(piece) for piece in (*pieces, b"")]
    return [each for told, _ in results for each in told], b"".join(out for _, out in results)


WHOLE = outcome(TURN)


def test_a_turn_arrives_byte_by_byte() -> None:
    """Every byte alone makes the same turn."""
    assert outcome(*(TURN[at : at + 1] for at in range(len(TURN)))) == WHOLE


def test_a_turn_arrives_in_two_pieces() -> None:
    """A cut at any byte changes nothing."""
    for at in range(1, len(TURN)):
        assert outcome(TURN[:at], TURN[at:]) == WHOLE, f"cut at {at}"


def test_a_turn_has_what_it_should() -> None:
    """The turn that is cut contains every kind of thing that can be heard in one."""
    kinds = [type(each).__name__ for each in WHOLE[0]]
    assert kinds == (
        ["Said", "Called", "Asked", "Asked", "Withdrawn", "Used", "TurnEnded", "Said", "Broken"]
    )


def test_a_beginning_arrives_byte_by_byte() -> None:
    """The hello may come in any pieces, too."""
    made = driver()
    made.open("/srv")
    data = hello(loadSession=True)
    written = [made.receive(data[at : at + 1])[1] for at in range(len(data))]
    assert [bool(each) for each in written].index(True) == len(data) - 1


LINES = st.lists(
    st.sampled_from([b"{}", b"", b"x" * 30, b'{"method":"m"}', b'{"id":1,"result":2}', b"  "])
)


@settings(max_examples=200)
@given(LINES, st.lists(st.integers(0, 200)), st.integers(5, 40))
def test_an_inbox_gives_the_same_messages(lines: list[bytes], cuts: list[int], limit: int) -> None:
    """Also around the limit of a line, pieces of any size give the messages of the whole."""
    data = b"\n".join(lines)
    bounds = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[a:b] for a, b in pairwise(bounds)]
    inbox, whole = Inbox(limit), Inbox(limit)
    assert [m for piece in pieces for m in inbox.feed(piece)] == list(whole.feed(data))


MESSAGES: list[tuple[bytes, Message]] = [
    (b'{"id":1,"method":"m","params":{"a":1}}', Request(1, "m", {"a": 1})),
    (b'{"id":null,"method":"m"}', Request(None, "m", {})),
    (b'{"id":"x","method":"m","params":[1]}', Request("x", "m", {})),
    (b'{"method":"m"}', Notice("m", {})),
    (b'{"id":1,"result":null}', Answer(1, None)),
    (b'{"id":1,"error":{"code":-1,"message":"x"}}', Failure(1, -1, "x")),
    (b'{"id":1,"error":null,"result":2}', Answer(1, 2)),
    (b'{"method":"\\ud83d\\ude00 \\ud83d \\\\ud83d"}', Notice("😀 \ufffd \\ud83d", {})),
    (b'{"method":"\\u0000"}', Notice("\0", {})),
]


@pytest.mark.parametrize(("data", "message"), MESSAGES)
def test_a_line_is_a_message(data: bytes, message: Message) -> None:
    """Requests, notices, answers and failures, as agents write them."""
    assert message_in(data) == message


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"hello", "malformed"),
        (b"\xff", "malformed"),
        (b'{"method":"\xff"}', "decode"),
        (b'{"method":"m","params":' + b"[" * 50_000, "nested too deeply"),
        (b'{"id":true,"method":"m"}', "id"),
        (b'{"id":1.5,"method":"m"}', "id"),
        (b'{"id":{},"result":1}', "id"),
        (b'{"id":"' + b"x" * 300 + b'","method":"m"}', "id is too long"),
        (b'{"id":' + b"9" * 5_000 + b',"method":"m"}', ""),
        (b'{"id":1}', "neither"),
        (b'{"result":1}', "neither"),
        (b"[]", "object"),
        (b"null", "object"),
        (b'{"method":1}', "str"),
        (b'{"id":1,"error":"bad"}', "object"),
    ],
)
def test_a_line_is_garbage(data: bytes, why: str) -> None:
    """Anything else is garbage, and says why."""
    found = message_in(data)
    assert isinstance(found, Garbage)
    assert why in found.why
    assert len(found.shown) <= 800


def test_keys_of_ids_differ() -> None:
    """A number and the text of it are different requests."""
    keys = {Request(each, "m", {}).key for each in (1, "1", None, "null", '"1"')}
    assert len(keys) == 5


def test_a_line_of_the_limit_is_read() -> None:
    """Exactly the limit is fine; a byte more is not, and then nothing is read any more."""
    data = msgspec.json.encode({"method": "m"})
    assert list(Inbox(len(data)).feed(data + b"\n")) == [Notice("m", {})]
    inbox = Inbox(len(data) - 1)
    assert list(inbox.feed(data + b"\n" + b"{}\n")) == [TooLong()]
    assert list(inbox.feed(b"{}\n")) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
WORDS = """update sessionUpdate toolCall toolCallId content rawInput locations options kind
requestedSchema _meta usage cost stopReason error codex status title"""
NAMES = st.sampled_from(WORDS.split())
KINDS = st.sampled_from(["tool_call", "agent_message_chunk", "usage_update", "session_info_update"])
FIELDS = st.dictionaries(NAMES, JSON | KINDS | st.dictionaries(NAMES, JSON | KINDS))
METHODS = st.sampled_from(
    ["session/update", "session/request_permission", "elicitation/create", "$/cancel_request"]
)
STRANGE = st.one_of(
    st.builds(lambda method, params: line(method=method, params=params), METHODS, FIELDS),
    st.builds(lambda method, p: line(id=1, method=method, params=p), METHODS, FIELDS),
    st.builds(lambda result: line(id=3, result=result), FIELDS),
    st.builds(lambda error: line(id=3, error=error), FIELDS),
    st.binary(max_size=30).map(lambda data: data + b"\n"),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(STRANGE, max_size=5))
def test_nothing_an_agent_writes_raises(lines: list[bytes]) -> None:
    """Whatever it writes is heard, passed over, or the end."""
    made = prompted()
    for data in (*lines, b""):
        heard, out = made.receive(data)
        assert isinstance(out, bytes)
        assert all(msgspec.json.encode(each) for each in heard)
