"""Times as people read and write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from pandar_daemon.cli.times import age, clock, parse_span, parse_when, span

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (12.7, "12 s"),
        (60, "1 m"),
        (123, "2 m 3 s"),
        (3_600, "1 h"),
        (3_840, "1 h 4 m"),
        (90_000, "1 d 1 h"),
        (9_000_000, "104 d 4 h"),
    ],
)
def test_a_span_has_at_most_two_units(seconds: float, text: str) -> None:
    """A duration is told as precisely as anybody wants to know."""
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "now"),
        (0.4, "now"),
        (-3, "3 s ago"),
        (-190, "3 m ago"),
        (-86_399, "23 h ago"),
        (-14 * 86_400, "2 w ago"),
        (7_200, "in 2 h"),
        (7_198, "in 2 h"),
    ],
)
def test_an_age_has_one_unit_and_a_direction(seconds: float, text: str) -> None:
    """The past is ago, the future is in."""
    assert age(NOW + timedelta(seconds=seconds), NOW) == text


def test_never_is_nothing() -> None:
    """A time that is not there takes no room."""
    assert age(None, NOW) == clock(None, NOW) == ""


def test_a_time_of_another_day_has_its_date() -> None:
    """Today a time of day is enough."""
    assert clock(NOW, NOW) == "12:00:00"
    assert clock(NOW - timedelta(days=1), NOW) == "2026-01-30 12:00:00"


def test_spans_are_read() -> None:
    """Units may be combined."""
    assert [parse_span(text) for text in ("90s", "15m", "12h", "30d", "1h30m")] == [
        90,
        900,
        43_200,
        2_592_000,
        5_400,
    ]


@pytest.mark.parametrize("text", ["", "30", "d", "-1d", "1.5h", "0s", "1y", "9" * 30 + "d", "1d "])
def test_what_is_no_span_is_refused(text: str) -> None:
    """The message shows the forms that are understood."""
    with pytest.raises(ValueError, match="90s, 15m, 12h or 30d"):
        parse_span(text)


def test_a_moment_is_read_with_its_zone_or_from_now_on() -> None:
    """Any zone becomes UTC, a plus counts from now."""
    assert parse_when("2026-01-31T14:00:00+02:00", NOW) == NOW
    assert parse_when("+2h", NOW) == NOW + timedelta(hours=2)


@pytest.mark.parametrize("text", ["2026-01-31T09:00:00", "tomorrow", "", "+", "9:00"])
def test_a_moment_without_a_zone_is_refused(text: str) -> None:
    """Guessing a zone would start a task at the wrong hour."""
    with pytest.raises(ValueError, match="expected a time"):
        parse_when(text, NOW)
