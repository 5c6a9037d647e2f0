"""`pandar usage`, and what `pandar task show` says of tokens and money, as people see it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from rich.cells import cell_len

from events.task import Json, Status, Usage
from pandar_daemon.cli.amounts import dollars, many, used
from pandar_daemon.cli.harmless import harmless
from pandar_daemon.cli.look import PLAIN, Look
from pandar_daemon.cli.rows import ExecutionRow, ForeignAnswer, TaskRow
from pandar_daemon.cli.task_card import Card, task_card
from pandar_daemon.cli.usage_table import first_day, usage_table

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
DEAR: Json = {
    "executions": 12,
    "unpriced_executions": 0,
    "cpu_sec": 754.2,
    "input_tokens": 2_345_678,
    "output_tokens": 84_000,
    "cached_tokens": 14_000_000,
    "thought_tokens": 0,
    "cost_usd": 12.3456,
}
UNPRICED: Json = {
    "executions": 3,
    "unpriced_executions": 2,
    "cpu_sec": 9.5,
    "input_tokens": 5_000,
    "output_tokens": 50,
    "cached_tokens": 0,
    "thought_tokens": 0,
    "cost_usd": 0.0,
}
COMMANDS: Json = {**UNPRICED, "unpriced_executions": 0, "input_tokens": 0, "output_tokens": 0}
TOTAL: Json = {
    **DEAR,
    "executions": 18,
    "unpriced_executions": 2,
    "cpu_sec": 773.2,
    "input_tokens": 2_350_678,
    "output_tokens": 84_050,
}
BY_AGENT: Json = {
    "items": [
        {"agent": "claude", **DEAR},
        {"agent": "codex", **UNPRICED},
        {"agent": "", **COMMANDS},
    ],
    "total": TOTAL,
    "has_more": False,
}
PLAIN_100 = """\
AGENT       RUNS        CPU     IN  CACHED    OUT     USD
claude        12  12 m 34 s   2.3M   14.0M  84.0k   12.35
codex          3      9.5 s  5,000       0     50       ?
(commands)     3      9.5 s      0       0      0
total         18  12 m 53 s   2.3M   14.0M  84.0k  12.35+
2 runs used tokens and nobody told what these cost
"""


def shown(document: Json, by: str = "agent", look: Look = PLAIN) -> str:
    """Return the table."""
    return usage_table(document, by, "2026-01-01", look)


def test_plain_at_100_columns() -> None:
    """A line for each agent, commands by that name, the total below, and what is missing of it."""
    assert shown(BY_AGENT, look=Look(width=100)) == PLAIN_100


@pytest.mark.parametrize("width", [40, 60, 80, 100, 200])
@pytest.mark.parametrize("colour", [False, True])
def test_no_line_is_wider_than_the_terminal(width: int, colour: bool) -> None:
    """What is merely nice to know gives way."""
    text = harmless(shown(BY_AGENT, look=Look(width=width, colour=colour)))
    assert max(map(cell_len, text.splitlines())) <= width


@pytest.mark.parametrize(
    ("by", "key"),
    [("day", {"day": "2026-01-31"}), ("project", {"project_id": 31}), ("task", {"task_id": 31})],
)
def test_each_sum_says_of_what(by: str, key: Json) -> None:
    """Its name stands first in its line, below what it is summed by."""
    text = shown({"items": [{**key, **DEAR}], "total": DEAR}, by)
    (head, line) = text.splitlines()
    assert head.split()[0] == by.upper()
    assert line.split()[0] in {"2026-01-31", "31"}


def test_one_sum_needs_no_total() -> None:
    """It would say the same again."""
    assert "total" not in shown({"items": [{"agent": "x", **DEAR}], "total": DEAR})


def test_what_is_left_out_is_told() -> None:
    """Nobody takes some sums for all."""
    document = {"items": [{"task_id": 1, **DEAR}], "total": TOTAL, "has_more": True}
    text = shown(document, "task")
    assert "only the first 1 are shown; the total is of all\n" in text
    assert "total" in text.splitlines()[2]


def test_nothing_is_told_with_its_day() -> None:
    """An empty table says nothing; a sentence does."""
    assert shown({"items": [], "total": COMMANDS}) == "Nothing has ended since 2026-01-01.\n"


def test_a_name_cannot_act_on_the_terminal() -> None:
    """Agents' names are configuration, and old events may hold anything."""
    text = shown({"items": [{"agent": "\x1b[2Jx\ny", **DEAR}], "total": DEAR})
    assert "\x1b" not in text
    assert len(text.splitlines()) == 2


def test_what_is_no_answer_of_ours_is_said_so() -> None:
    """A foreign document is no empty table."""
    with pytest.raises(ForeignAnswer):
        shown({"items": "many"})


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (9_999, "9,999"),
        (10_000, "10.0k"),
        (999_999, "999.9k"),
        (1_000_000, "1.0M"),
        (2 * 10**9, "2.0G"),
    ],
)
def test_numbers_are_short(number: int, text: str) -> None:
    """At most six characters up to a million millions, and never more than there are."""
    assert many(number) == text


@pytest.mark.parametrize(
    ("amount", "text"),
    [(0.0, "0.00"), (0.00001, "<0.0001"), (0.0042, "0.0042"), (0.42, "0.42"), (1234.5, "1,234.50")],
)
def test_little_money_has_more_digits(amount: float, text: str) -> None:
    """A cost is never shown as nothing."""
    assert dollars(amount) == text


@pytest.mark.parametrize(
    ("since_sec", "day"),
    [
        (1, "2026-01-31"),
        (43_201, "2026-01-30"),
        (30 * 86_400, "2026-01-01"),
        (10**12, "0001-01-01"),
    ],
)
def test_the_first_day(since_sec: int, day: str) -> None:
    """The whole of the day on which the time began, and never before there were days."""
    assert first_day(since_sec, NOW) == day


# --- pandar task show ------------------------------------------------------------------------


TOLD = Usage(input_tokens=2_000, output_tokens=84, cached_tokens=14_000, cost_usd=0.4)
UNTOLD = Usage(input_tokens=1_000, output_tokens=16)


@pytest.mark.parametrize(
    ("usages", "text"),
    [
        ([], ""),
        ([Usage(cpu_sec=3.0)], ""),
        ([TOLD], "tokens 2,000 in, 14.0k cached, 84 out; 0.40 USD"),
        ([TOLD, TOLD], "tokens 4,000 in, 28.0k cached, 168 out; 0.80 USD"),
        ([TOLD, UNTOLD], "tokens 3,000 in, 14.0k cached, 100 out; at least 0.40 USD"),
        ([UNTOLD], "tokens 1,000 in, 16 out; nobody told the cost"),
        ([Usage(cost_usd=0.25)], "0.25 USD"),
    ],
)
def test_what_executions_used_together(usages: list[Usage], text: str) -> None:
    """What nobody told is not taken for nothing."""
    assert used(usages) == text


def test_a_card_tells_tokens_and_cost() -> None:
    """In a line among the facts, when there are any."""
    task = TaskRow(id=1, name="x", status=Status.COMPLETED, command="true", attempt=1)
    rows = [ExecutionRow(attempt=1, status="completed", usage=TOLD)]
    text = task_card(Card(task=task, executions=rows), NOW, PLAIN)
    assert "used       tokens 2,000 in, 14.0k cached, 84 out; 0.40 USD\n" in text
    plain = [ExecutionRow(attempt=1, status="completed", usage=Usage(cpu_sec=2.0))]
    assert "used" not in task_card(Card(task=task, executions=plain), NOW, PLAIN)
