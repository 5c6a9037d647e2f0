"""What it costs to judge a command: against reading it alone, and against `sh -n` of it."""

from __future__ import annotations

import statistics
import subprocess
import time
import tomllib
from collections.abc import Callable
from itertools import islice
from pathlib import Path

from bench.figures import Figure, at_most, ratio
from pandar_daemon.domain.guard import check
from pandar_daemon.domain.shell_runs import runs
from pandar_daemon.domain.shell_second import doubts

PART = "guard"
_CORPUS = Path(__file__).parents[1] / "tests" / "unit" / "corpus" / "ordinary.toml"
_KINDS = ("git", "tests_and_builds", "files_and_text", "installs_and_scripts")
_ROUNDS = 5
_SPAWNED = 60
"""Commands that a shell is started for."""


async def measure() -> list[Figure]:
    """Return what the guard takes for each of some hundred ordinary commands, by turns."""
    texts = _texts()
    rounds = [(_timed(check, texts), _timed(_read, texts)) for _ in range(_ROUNDS)]
    each = [statistics.median(times) for times in zip(*(r[0] for r in rounds), strict=True)]
    reads = [statistics.median(times) for times in zip(*(r[1] for r in rounds), strict=True)]
    shell = statistics.median(_timed(_parsed_by_sh, list(islice(texts, _SPAWNED))))
    guard, read = statistics.median(each), statistics.median(reads)
    worst = statistics.quantiles(each, n=100)[-1]
    return [
        Figure(part=PART, what="judge p50", value=guard, unit="µs", goal=at_most(300)),
        Figure(
            part=PART,
            what="judge, of the slowest commands",
            value=worst,
            unit="µs",
            goal=at_most(2_000),
        ),
        Figure(
            part=PART,
            what="judging, of reading by both readers",
            value=ratio(guard, read),
            unit="x",
            note=f"reading p50 {read:.0f} µs",
        ),
        Figure(
            part=PART,
            what="judging, of a spawned `sh -n`",
            value=ratio(guard, shell),
            unit="x",
            goal=at_most(0.5),
            note=f"`sh -n` p50 {shell:.0f} µs",
        ),
    ]


def _texts() -> list[str]:
    found = tomllib.loads(_CORPUS.read_text("utf-8"))
    return [text for kind in _KINDS for text in found[kind]["texts"]]


def _timed(work: Callable[[str], object], texts: list[str]) -> list[float]:
    """Return how many µs each text took."""
    taken = []
    for text in texts:
        began = time.perf_counter()
        work(text)
        taken.append(1_000_000 * (time.perf_counter() - began))
    return taken


def _read(text: str) -> None:
    runs(text)
    list(doubts(text))


def _parsed_by_sh(text: str) -> None:
    subprocess.run(["/bin/sh", "-n", "-c", text], check=False, stderr=subprocess.DEVNULL)
