"""Bodies as bytes: what is read, and how every fault is told."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.commands import (
    ACTIONS,
    RUNNER_ACTIONS,
    CancelTask,
    Command,
    CreateTask,
    Renew,
)
from pandar_daemon.domain.options import (
    validate,
)
from pandar_daemon.domain.reading import decode, problem_of
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
        (b"{}", {"name": "is required", "command": "is required", "project_id": "is required"}),
        (b"[]", {"body": "expected object, got array"}),
        (b"null", {"body": "expected object, got null"}),
        (body(nmae="x"), {"nmae": "is not a field of this request"}),
        (body(name=1, project_id=0), {"name": "expected str, got int",
                                      "project_id": "expected int >= 1"}),
        (body(name=""), {"name": "expected str of length >= 1"}),
        (body(name="n" * 201), {"name": "expected str of length <= 200"}),
        (body(command="c" * 10_001), {"command": "expected str of length <= 10000"}),
        (body(priority="soon"), {"priority": "must be one of low, medium, high, urgent"}),
        (body(metadata=[1]), {"metadata": "expected object, got array"}),
        (body(project_id=1.5), {"project_id": "expected int, got float"}),
        (body(project_id=10**30), {"project_id": "expected int <= 9223372036854775807"}),
        (body(scheduled_at="2026-01-01T00:00:00"),
         {"scheduled_at": "expected datetime with a timezone component"}),
        (body(scheduled_at="tomorrow"), {"scheduled_at": "invalid RFC3339 encoded datetime"}),
        (body(description="\0"), {"description": "must not contain NUL characters"}),
        (body(metadata={"a": ["\0"]}), {"metadata.a[0]": "must not contain NUL characters"}),
        (b'{"name":"a","name":"b","command":"c","project_id":1}',
         {"name": "occurs more than once"}),
        (b'{"name":"a","command":"c","project_id":1,"metadata":{"x":1e999}}',
         {"metadata.*": "number out of range"}),
        (b'{"name":"a","command":"c","project_id":1,"metadata":{"x":' + b"9" * 5_000 + b"}}",
         {"metadata.*": "integer value out of range"}),
    ],
)  # fmt: skip
def test_a_bodys_faults_are_named(given_body: bytes, expected: dict[str, str]) -> None:
    """Each field at fault is named with the rule it breaks, all of a body's own at once."""
    assert faults(lambda: decode(given_body, CreateTask)) == expected


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
    assert [error.field for error in problem.problem.errors] == ["command"]
    assert problem_of(msgspec.DecodeError("no")).problem.status == 400


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
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
