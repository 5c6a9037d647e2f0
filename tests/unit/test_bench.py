"""The pure parts of the benchmark: quantiles, lags, figures, tables, the page of results."""

from __future__ import annotations

import math
import random
from collections import Counter
from pathlib import Path

import pytest

from bench.audience import Client, Seat
from bench.distribution import PRECISION, Distribution, Lag
from bench.figures import HEADINGS, Figure, at_least, at_most, number, ratio, unmeasured
from bench.load import main, summary, text
from bench.loading import MISSING, NAMED_MAX, REFUSED, Report
from bench.peers.environment import NAMES, versions
from bench.results import BEGIN, END, SCALE, Setting, replaced, report, setting
from bench.table import markdown, plain

SETTING = Setting(date="2026-01-02", machine="2 x a", versions="b 1", command="python -m bench")


def filled(*seconds: float) -> Distribution:
    """Return a distribution of these durations."""
    taken = Distribution()
    for one in seconds:
        taken.add(one)
    return taken


@pytest.mark.parametrize("q", [0.01, 0.5, 0.9, 0.99, 0.999, 1.0])
def test_quantile_is_within_its_precision(q: float) -> None:
    """A quantile is within 1 % of the one that all durations, sorted, give."""
    rng = random.Random(7)
    seconds = [rng.lognormvariate(-6, 2) for _ in range(10_000)]
    exact = sorted(seconds)[math.ceil(q * len(seconds)) - 1]
    assert filled(*seconds).quantile(q) == pytest.approx(exact, rel=PRECISION * 1.05)


def test_quantiles_of_nothing_are_not_numbers() -> None:
    """Nothing measured is not zero seconds."""
    assert math.isnan(Distribution().p50)


def test_one_duration_is_every_quantile() -> None:
    """No quantile exceeds the greatest duration there was."""
    taken = filled(0.25)
    assert taken.p99 <= 0.25
    assert taken.p50 == pytest.approx(0.25, rel=PRECISION)


def test_distribution_stays_small() -> None:
    """Any number of durations between a microsecond and a day take at most 1,300 buckets."""
    rng = random.Random(1)
    taken = Distribution()
    for _ in range(100_000):
        taken.add(10 ** rng.uniform(-7, 5))
    assert len(taken._buckets) < 1_300


def test_lag_is_taken_of_each_position_once() -> None:
    """A position is timed from where it first began to where it first ended."""
    lag = Lag()
    lag.began(2, 10.0)
    lag.began(1, 11.0)
    lag.began(3, 11.0)
    lag.ended(2, 12.0)
    lag.ended(2, 50.0)
    assert (lag.taken.count, lag.waiting) == (2, 1)
    assert lag.taken.greatest == 2.0
    lag.ended(9, 12.0)
    assert (lag.taken.count, lag.waiting) == (3, 0)


def test_lag_skips_the_past() -> None:
    """What was skipped is not timed, though it ends."""
    lag = Lag()
    lag.skip(5)
    lag.began(6, 1.0)
    lag.ended(6, 2.0)
    assert lag.taken.count == 1


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0"),
        (0.00123456, "0.00123"),
        (0.5, "0.5"),
        (9.996, "10"),
        (12.345, "12.3"),
        (100.4, "100"),
        (1234567.8, "1,234,568"),
        (-2.5, "-2.5"),
        (math.nan, "nan"),
    ],
)
def test_number_has_three_digits_that_count(value: float, shown: str) -> None:
    """Numbers are shown as exactly as they were measured, not more."""
    assert number(value) == shown


def test_ratio_to_nothing_is_not_a_number() -> None:
    """Nothing to compare with is no division by zero."""
    assert math.isnan(ratio(1.0, 0.0))


def test_goals_are_bounds_that_may_be_touched() -> None:
    """A figure at its bound meets its goal; one that was not measured misses it."""
    assert at_most(2).is_met(2)
    assert not at_most(2).is_met(2.1)
    assert at_least(0.5).is_met(0.5)
    assert not at_least(0.5).is_met(math.nan)


def test_figure_says_whether_its_goal_is_met() -> None:
    """The cells of a figure name the goal and the outcome; without a goal the cell is empty."""
    missed = Figure(part="p", what="w", value=3, unit="ms", goal=at_most(2), note="n")
    assert missed.cells() == ("p", "w", "3", "ms", "≤ 2 missed", "n")
    assert missed.is_missed
    assert Figure(part="p", what="w", value=3).cells()[4] == ""


def test_unmeasured_part_says_why() -> None:
    """What could not be measured is said in its line, and is no goal met or missed."""
    line = unmeasured("p", "no C compiler")
    assert line.cells() == ("p", "not measured", "nan", "", "", "no C compiler")
    assert not line.is_missed


def test_peers_are_named_with_their_locked_versions() -> None:
    """Nobody is compared with without a version."""
    assert set(versions()) == set(NAMES)


@pytest.mark.parametrize("size", [1, 7, 1_000])
async def test_client_of_the_crowd_counts_events_however_they_are_cut(size: int) -> None:
    """Each whole event counts once, in order; heartbeats and the frames between count nothing."""
    client = Client(0, Seat(1, "token"), 0, Distribution())
    event = 'id: {0}\nevent: task.created\ndata: {{"recorded_at":"2026-01-02T03:04:05Z"}}\n\n'
    body = "".join(f"\r\n5a\r\n: heartbeat\nid: 9\n\n{event.format(n)}" for n in (10, 11, 12))
    data = f"HTTP/1.1 200 OK\r\n\r\n{body}".encode()
    for begin in range(0, len(data), size):
        client.data_received(data[begin : begin + size])
    assert list(client.positions) == [10, 11, 12]


def test_plain_table_aligns_its_columns() -> None:
    """Numbers stand at the right, words at the left, and no line ends in blanks."""
    assert plain(("what", "n"), [("a", "1,000"), ("long one", "2.5")]).splitlines() == [
        "what      n",
        "--------  -----",
        "a         1,000",
        "long one    2.5",
    ]


def test_plain_table_may_be_empty() -> None:
    """A table without rows is its headings."""
    assert plain(("a", "bb"), []) == "a  bb\n-  --"


def test_markdown_table_keeps_its_columns() -> None:
    """A bar in a cell does not begin another column."""
    assert markdown(("a", "b"), [("x|y", "1")]) == "| a | b |\n| --- | --- |\n| x\\|y | 1 |"


def test_report_names_its_setting_and_counts_its_goals() -> None:
    """Figures never stand without the date, machine, versions and command they came from."""
    figures = [
        Figure(part="p", what="w", value=1, goal=at_most(2)),
        Figure(part="p", what="v", value=3, goal=at_most(2)),
        Figure(part="p", what="u", value=3),
    ]
    shown = report(SETTING, figures)
    assert "Goals met: 1 of 2" in shown
    for part in (SETTING.date, SETTING.machine, SETTING.versions, SETTING.command, *HEADINGS):
        assert part in shown


def test_setting_does_not_name_a_place_on_the_machine(tmp_path: Path) -> None:
    """Where the servers had their data is left out of the command, all else is in it."""
    given = ["--only", "near", "--data", str(tmp_path), "--write"]
    assert setting("bench", given, tmp_path).command == "python -m bench --only near --write"
    assert setting("bench", [f"--data={tmp_path}"], tmp_path).command == "python -m bench"


def test_results_keep_what_people_wrote() -> None:
    """Only what stands between the marks is replaced, again and again."""
    page = f"# Story\n\n{BEGIN}\nold\n{END}\n\nWhat we learned.\n"
    once = replaced(page, "new")
    assert once == f"# Story\n\n{BEGIN}\nnew\n{END}\n\nWhat we learned.\n"
    assert replaced(once, "new") == once


def test_results_begin_with_a_page_of_their_own() -> None:
    """Where there is no page yet, there is one afterwards."""
    assert replaced("", "new") == f"# Results\n\n{BEGIN}\nnew\n{END}\n"


def test_load_report_is_whole_without_missing_tasks() -> None:
    """Failed tasks came to an end; missing and refused ones did not."""
    done = Report(ended=Counter(completed=3, failed=1), seconds=2.0)
    done.life.add(0.5)
    assert done.is_whole
    assert "4 tasks in 2.0 s, 2 a second" in text(done)
    assert summary(done)["ended"] == {"completed": 3, "failed": 1}
    for kind in (MISSING, REFUSED):
        broken = Report()
        broken.trouble(kind, "task-9")
        assert not broken.is_whole
        assert f"{kind}: task-9" in text(broken)


def test_load_report_stays_small() -> None:
    """However many tasks are missing, few are named and all are counted."""
    lost = Report()
    for n in range(10 * NAMED_MAX):
        lost.trouble(MISSING, f"task-{n}")
    assert lost.ended[MISSING] == 10 * NAMED_MAX
    assert len(lost.troubles) == NAMED_MAX


@pytest.mark.parametrize("option", ["--tasks", "--in-flight"])
def test_load_of_nothing_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A load of no tasks, or of none at a time, is a mistake that is named."""
    with pytest.raises(SystemExit) as ended:
        main(["--tasks", "1", option, "0"])
    assert ended.value.code == 2
    assert "expected at least 1" in capsys.readouterr().err


def test_two_programs_write_one_page() -> None:
    """Each replaces what it wrote itself; the second section comes to the end of the page."""
    page = replaced(f"# Story\n\n{BEGIN}\nold\n{END}\n\nWhat we learned.\n", "scale 1", SCALE)
    assert page.index("What we learned.") < page.index("## At scale") < page.index("scale 1")
    both = replaced(replaced(page, "bench 2"), "scale 2", SCALE)
    assert ("bench 2" in both, "scale 2" in both) == (True, True)
    assert not {"old", "scale 1"} & set(both.splitlines())
    assert both.count("## At scale") == 1
