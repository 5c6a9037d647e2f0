"""Bodies as bytes: what is read, and how every fault is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.commands import ACTIONS, CancelTask, Command, CreateTask
from events.running import RUNNER_ACTIONS, Renew
from events.task import Priority
from pandar_daemon.domain.options import (
    validate,
)
from pandar_daemon.domain.plain_words import TIME
from pandar_daemon.domain.reading import decode, fault_of, problem_of
from pandar_daemon.domain.refusals import Malformed, Refusal
from tests.support.faults import faults

AGENTS = frozenset({"claude", "codex", "gemini"})
NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)


def body(**fields: object) -> bytes:
    """Return a legal creation but for the given fields, as JSON."""
    return json.dumps({"name": "a", "command": "c", "project_id": 1, **fields}).encode()


@pytest.mark.parametrize(
    ("given_body", "expected"),
    [
        (b"{}", {"name": "is required", "project_id": "is required"}),
        (b"[]", {"body": "expected an object, got a list"}),
        (b"null", {"body": "expected an object, got nothing"}),
        (body(nmae="x"), {"nmae": "is not a field of this request"}),
        (body(name=1, project_id=0), {"name": "expected text, got a whole number",
                                      "project_id": "expected a whole number, at least 1"}),
        (body(name=""), {"name": "expected text of at least 1 character"}),
        (body(name="n" * 201), {"name": "expected text of at most 200 characters"}),
        (body(command="c" * 10_001), {"command": "expected text of at most 10000 characters"}),
        (body(priority="soon"), {"priority": "must be one of low, medium, high, urgent"}),
        (body(metadata=[1]), {"metadata": "expected an object, got a list"}),
        (body(project_id=1.5), {"project_id": "expected a whole number, got a number"}),
        (body(project_id=10**30),
         {"project_id": "expected a whole number, at most 9223372036854775807"}),
        (body(scheduled_at="2026-01-01T00:00:00"),
         {"scheduled_at": f"expected {TIME}"}),
        (body(scheduled_at="tomorrow"), {"scheduled_at": f"expected {TIME}"}),
        (body(description="\0"), {"description": "must not contain NUL characters"}),
        (body(metadata={"a": ["\0"]}), {"metadata.a[0]": "must not contain NUL characters"}),
        (b'{"name":"a","name":"b","command":"c","project_id":1}',
         {"name": "occurs more than once"}),
        (b'{"name":"a","command":"c","project_id":1,"metadata":{"x":1e999}}',
         {"metadata.*": "this number is out of range"}),
        (b'{"name":"a","command":"c","project_id":1,"metadata":{"x":' + b"9" * 5_000 + b"}}",
         {"metadata.*": "this whole number is out of range"}),
    ],
)  # fmt: skip
def test_a_bodys_faults_are_named(given_body: bytes, expected: dict[str, str]) -> None:
    """Each field at fault is named with the rule it breaks, all of a body's own at once."""
    assert faults(lambda: decode(given_body, CreateTask)) == expected


class _Kinds(msgspec.Struct):
    flag: bool = False
    share: float = 0.5
    many: Annotated[list[int], msgspec.Meta(max_length=1)] = []
    some: int | None = None
    id: UUID = UUID(int=0)
    size: Annotated[int, msgspec.Meta(gt=0, lt=9)] = 1
    priority: Priority = Priority.LOW


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ({"flag": 1}, "expected true or false, got a whole number"),
        ({"share": "x"}, "expected a number, got text"),
        ({"many": [1, 2]}, "expected a list of at most 1 item"),
        ({"many": None}, "expected a list, got nothing"),
        ({"some": "x"}, "expected a whole number or nothing, got text"),
        ({"id": "x"}, "expected a UUID"),
        ({"size": 0}, "expected a whole number, at least 1"),
        ({"size": 9}, "expected a whole number, at most 8"),
        ({"priority": "soon"}, "'soon' is none of the values there are"),
    ],
)
def test_rules_are_told_in_plain_words(value: object, rule: str) -> None:
    """No name of a type of Python's reaches whoever sent a value."""
    with pytest.raises(msgspec.ValidationError) as wrong:
        msgspec.convert(value, _Kinds)
    assert fault_of(str(wrong.value)).rule == rule


def test_faults_inside_lists_are_named() -> None:
    """A missing field of a list's item is named by its place."""
    lease = {"task_id": 1, "epoch": 1}
    assert faults(lambda: decode(json.dumps({"leases": [lease]}).encode(), Renew)) == {
        "leases[0].execution_id": "is required"
    }


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"  ",
        b"{",
        b"nonsense",
        b"\xff",
        b"\xef\xbb\xbf{}",
        b'{"name":"\xed\xa0\x80"}',
        b'{"name":"\\ud800"}',
        b'{"name":NaN}',
        b"{} {}",
        b'{"a":' * 100_000,
        b"[" * 100_000,
    ],
    ids=lambda garbage: repr(garbage[:12]),
)
def test_what_is_no_json_is_malformed(garbage: bytes) -> None:
    """What cannot be read at all is a 400 that shows no trace of our insides."""
    with pytest.raises(Malformed) as refused:
        decode(garbage, CreateTask)
    assert refused.value.problem.status == 400
    assert "msgspec" not in refused.value.problem.detail


@pytest.mark.parametrize("empty", [b"", b" \n", b"{}"])
def test_an_empty_body_is_enough_for_a_plain_command(empty: bytes) -> None:
    """A command without required fields needs no body."""
    assert decode(empty, CancelTask) == CancelTask()


def test_many_faults_stay_a_small_answer() -> None:
    """However many and long the bad names are, the answer is bounded."""
    bad = json.dumps({f"{i}-" + "x" * 1_000: 1 for i in range(1, 200)}).encode()
    found = faults(lambda: decode(bad, CreateTask))
    assert len(found) == 20
    assert all(len(name) <= 100 for name in found)


def test_problem_of_reads_what_msgspec_says() -> None:
    """A validation error names its field, anything else is malformed."""
    with pytest.raises(msgspec.ValidationError) as wrong:
        msgspec.json.decode(b'{"name":"n"}', type=CreateTask)
    problem = problem_of(wrong.value)
    assert [error.field for error in problem.problem.errors] == ["project_id"]
    assert problem_of(msgspec.DecodeError("no")).problem.status == 400


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
_SPACE = st.text(" \t\r\n", max_size=2)
_KEY = st.sampled_from(['"a"', '"b"', '"\\u0061"', '":"', '"a\\":"'])
_TEXTS = _KEY | st.sampled_from(["1", "null", '"a\\" :"', '": :"'])


@st.composite
def _objects(draw: st.DrawFn, depth: int = 2) -> tuple[str, bool]:
    """Return an object as somebody may write it, and whether a key within occurs twice."""
    keys = draw(st.lists(_KEY, max_size=4))
    repeats = len({json.loads(key) for key in keys}) < len(keys)
    fields = []
    for key in keys:
        value = draw(_TEXTS)
        if depth and draw(st.booleans()):
            value, inside = draw(_objects(depth - 1))
            repeats = repeats or inside
        fields.append(f"{key}{draw(_SPACE)}:{draw(_SPACE)}[{value}]{draw(_SPACE)}")
    return "{" + ",".join(fields) + "}", repeats


@given(_objects())
def test_no_key_occurs_twice(written: tuple[str, bool]) -> None:
    """However it is written and wherever it stands; texts that look like keys are none."""
    text, repeats = written
    rules: set[str] = set()
    try:
        decode(text.encode(), dict[str, object])
    except Refusal as refusal:
        rules = {each.rule for each in refusal.problem.errors}
    assert rules == ({"occurs more than once"} if repeats else set()), text


_NAMES = sorted({name for kind in ACTIONS.values() for name in kind.__struct_fields__})
_BODIES = st.binary() | st.dictionaries(st.sampled_from(_NAMES), _JSON, max_size=5).map(
    lambda value: json.dumps(value).encode()
)


@given(_BODIES, st.sampled_from([*ACTIONS.values(), *RUNNER_ACTIONS.values()]))
def test_reading_only_ever_refuses(anything: bytes, kind: type[Command]) -> None:
    """Any bytes become a command that says the same, or a `Refusal`."""
    try:
        command = decode(anything, kind)
        validate(command, AGENTS, NOW)
    except Refusal:
        return
    assert decode(msgspec.json.encode(command), kind) == command
