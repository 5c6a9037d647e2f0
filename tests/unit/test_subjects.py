"""Names on the bus, ids and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events import ids, instant, subjects
from events.codec import EVENTS
from events.commands import ACTIONS
from tests.support.given import recorded
from tests.support.specimen import specimen

# --- subjects --------------------------------------------------------------------------------


@given(
    action=st.sampled_from(sorted(ACTIONS)),
    of=st.none() | st.integers(1, ids.ID_MAX),
    target=st.none() | st.integers(1, ids.ID_MAX) | st.uuids(),
)
def test_subjects_round_trip(action: str, of: int | None, target: int | UUID | None) -> None:
    """What is asked is read back from its subject, behind both doors."""
    expected = (
        action,
        subjects.ANY if of is None else str(of),
        subjects.ANY if target is None else str(target),
    )
    for make in (subjects.command, subjects.queued):
        subject = make(action, of, target)
        assert subjects.parse_command(subject) == expected
        assert all(ids.TOKEN.fullmatch(token) for token in subject.split("."))


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "pandar.v1.cmd",
        "pandar.v1.cmd.task.start.1",
        "pandar.v1.cmd.task.start.1.42.7",
        "pandar.v1.cmd.task.start..42",
        "pandar.v1.cmd.task.start.*.42",
        "pandar.v1.cmd.task.start.1.>",
        "pandar.v1.cmd.task.start.1.4 2",
        "pandar.v1.cmd.task.start.1.42\n",
        "pandar.v1.cmd.task.start.1." + "4" * 65,
        "pandar.v2.cmd.task.start.1.42",
        "pandar.v1.cmdtask.start.1.42",
        "pandar.v1.evt.task.started.1.42",
        "pandar.v1.cmd.täsk.start.1.42",
    ],
)
def test_other_subjects_are_refused(subject: str) -> None:
    """What does not have exactly the tokens of a command is not taken for one."""
    with pytest.raises(subjects.BadSubject):
        subjects.parse_command(subject)


@given(st.text(max_size=80))
def test_no_subject_breaks_the_reader(text: str) -> None:
    """Any text is a command's subject or a `BadSubject`."""
    try:
        subjects.parse_command(f"{subjects.COMMANDS}.{text}")
    except subjects.BadSubject:
        return


@pytest.mark.parametrize("name", EVENTS)
def test_an_event_has_a_subject(name: str) -> None:
    """Events are published under category, name, project and id; a filter for its task takes it."""
    subject = subjects.event(recorded(specimen(EVENTS[name])))
    assert subject == f"pandar.v1.evt.{name}.1.42"
    homeless = msgspec.structs.replace(recorded(specimen(EVENTS[name])), project_id=None)
    assert subjects.event(homeless) == f"pandar.v1.evt.{name}._.42"


def test_filters_and_the_rest() -> None:
    """Every other name on the bus, as documented."""
    assert subjects.events_of_task(1, 42) == "pandar.v1.evt.task.*.1.42"
    assert subjects.events_of_task(None, 42, live=True) == "pandar.v1.live.evt.task.*.*.42"
    assert subjects.output(1, 42, 3) == "pandar.v1.out.1.42.3"
    assert subjects.live_output(1, 42, 3) == "pandar.v1.live.out.1.42.3"
    assert subjects.run("claim", "r-1") == "pandar.v1.run.claim.r-1"
    assert subjects.control("r-1", "cancel") == "pandar.v1.ctl.r-1.cancel"
    assert subjects.heartbeat("r-1") == "pandar.v1.hb.r-1"
    assert subjects.result("c-1") == "pandar.v1.result.c-1"
    assert subjects.events_stream(3) == "PANDAR_EVENTS_3"


# --- ids and times ---------------------------------------------------------------------------


def test_uuid7_layout() -> None:
    """48 bits of time, version 7, 12 random bits, variant, 62 random bits (RFC 9562, A.6)."""
    made = ids.uuid7(0x017F22E279B0, bytes.fromhex("0cc318c4dc0c0c07398f"))
    assert str(made).startswith("017f22e2-79b0-7")
    assert (made.version, made.variant) == (7, "specified in RFC 4122")
    everything = ids.uuid7(2**48 - 1, b"\xff" * 10)
    assert str(everything) == "ffffffff-ffff-7fff-bfff-ffffffffffff"
    assert str(ids.uuid7(0, b"\x00" * 10)) == "00000000-0000-7000-8000-000000000000"


@given(st.lists(st.tuples(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=16))))
def test_uuid7_sorts_by_time(made: list[tuple[int, bytes]]) -> None:
    """Ids, as numbers and as text, are in the order of their milliseconds."""
    by_time = sorted(made, key=lambda one: one[0])
    made_ids = [ids.uuid7(at, randomness) for at, randomness in by_time]
    for (earlier, a), (later, b) in zip(
        zip((at for at, _ in by_time), made_ids, strict=True),
        list(zip((at for at, _ in by_time), made_ids, strict=True))[1:],
        strict=False,
    ):
        assert earlier == later or (a < b and str(a) < str(b))


def test_stream_names() -> None:
    """A stream's name tells category and id, also when the id has dashes."""
    assert ids.task_stream(42) == "task-42"
    assert ids.project_stream(1) == "project-1"
    stream = ids.schedule_stream(UUID(int=7))
    assert ids.category_of(stream) == "schedule"
    assert ids.id_of(stream) == str(UUID(int=7))


def test_times_are_utc() -> None:
    """Any zone becomes UTC, as text that sorts; a naive time is refused."""
    east = datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=9)))
    assert instant.text(east) == "2026-01-01T18:04:05.000000Z"
    assert instant.to_utc(east).tzinfo is UTC
    with pytest.raises(ValueError, match="needs its zone"):
        instant.to_utc(east.replace(tzinfo=None))
