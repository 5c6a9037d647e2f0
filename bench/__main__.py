"""``python -m bench``: measure Pandar on servers of its own.

Prints a table and writes it to ``bench/RESULTS.md``. With ``--quick`` or ``--only`` nothing is
written unless ``--write`` is given. The exit code is 0 whatever the figures are.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from pathlib import Path

import structlog

from bench import (
    answering,
    appending,
    box,
    clones,
    consent,
    crowd,
    egress,
    flow,
    guard,
    redaction,
    results,
    running,
    slow_disk,
)
from bench.figures import Figure
from bench.peers import contest
from bench.scale import FULL, QUICK, Scale
from bench.site import site

PARTS = (
    "append",
    "slow",
    "flow",
    "near",
    "daemon",
    "consent",
    "peers",
    "crowd",
    "egress",
    "redaction",
    "guard",
    "clones",
    "box",
)
Measuring = Callable[[], Coroutine[object, object, list[Figure]]]


def main(argv: Sequence[str]) -> int:
    """Measure; return the exit code."""
    given = _parser().parse_args(argv)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    parts = given.only or PARTS
    data = Path(tempfile.mkdtemp(prefix="pandar-bench-", dir=given.data))
    setting = results.setting("bench", argv, data)
    try:
        figures = asyncio.run(_measure(data, QUICK if given.quick else FULL, parts))
    finally:
        shutil.rmtree(data, ignore_errors=True)
    results.show(setting, figures)
    if given.write or not (given.quick or given.only):
        results.write(setting, figures)
    return 0


async def _measure(data: Path, scale: Scale, parts: Collection[str]) -> list[Figure]:
    figures: list[Figure] = []
    if {"append", "flow", "near"} & set(parts):
        async with site(data / "servers") as servers:
            if "append" in parts:
                figures += await _told("append", appending.measure(servers, scale))
            if "flow" in parts:
                figures += await _told("flow", flow.measure(servers, scale))
            if "near" in parts:
                figures += await _told("near", answering.answers_near(servers, scale))
    for part, measuring in _alone(data, scale).items():
        if part in parts:
            figures += await _told(part, measuring())
    return figures


def _alone(data: Path, scale: Scale) -> Mapping[str, Measuring]:
    """Return what measures the parts that share nothing."""
    return {
        "slow": lambda: slow_disk.measure(data / "slow", scale),
        "daemon": lambda: running.measure(data / "up", scale),
        "consent": lambda: consent.measure(data / "consent", scale),
        "peers": lambda: contest.measure(data / "peers", scale),
        "crowd": lambda: crowd.measure(data / "crowd", scale),
        "egress": lambda: egress.measure(scale),
        "redaction": lambda: redaction.measure(scale),
        "guard": guard.measure,
        "clones": lambda: clones.measure(data / "clones", scale),
        "box": lambda: box.measure(data / "box", scale),
    }


async def _told(part: str, measuring: Coroutine[object, object, list[Figure]]) -> list[Figure]:
    began = time.perf_counter()
    figures = await measuring
    print(f"{part}: {time.perf_counter() - began:.0f} s", file=sys.stderr)
    return figures


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="a small run, about two minutes")
    add("--only", nargs="+", choices=PARTS, help="some parts")
    add("--write", action="store_true", help="write bench/RESULTS.md, whatever was measured")
    add("--data", type=Path, help="where to put the servers' data [the folder for temporary files]")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
