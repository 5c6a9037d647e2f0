"""``python -m bench.scale_log``: the same things measured on a small log and on a large one.

Ten thousand events, and ten million events of a million tasks; lists and searches are compared
with ten thousand tasks. Both are measured in turn in the same run. Prints a table and writes it to
``bench/RESULTS.md``; another size (``--quick`` is a fiftieth) only with ``--write``. Needs 30 GiB
of disk. The exit code is 0 whatever the figures are.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from pathlib import Path

import structlog

from bench import results, scale_log_archive
from bench import scale_log_world as measures
from bench.figures import Figure, at_most, ratio, typical
from bench.scale_log_world import Measure, World, world
from bench.site import Site, site

SMALL, MIDDLE, LARGE = 1_000, 10_000, 1_000_000
QUICK = 50
PARTITIONS = 10
ROUNDS = 3
_BOUND, _LIST_BOUND = 1.5, 3.0

AGAINST_EVENTS: dict[str, Measure] = {
    "append, 64 in flight, each": measures.append,
    "claim p50": measures.claim,
    "read a task p50": measures.read,
    "read a task's events p50": measures.history,
    "read a task's events again p50": measures.history_again,
    "projector catch-up, each event": measures.catch_up,
}
AGAINST_TASKS: dict[str, Measure] = {
    "list p99": measures.page,
    "list with total p50": measures.numbered_page,
    "search p99": measures.search,
}


def main(argv: Sequence[str]) -> int:
    """Measure; return the exit code."""
    given = _parser().parse_args(argv)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    data = Path(tempfile.mkdtemp(prefix="pandar-bench-", dir=given.data))
    setting = results.setting("bench.scale_log", argv, data)
    try:
        figures = asyncio.run(_measure(data, LARGE // QUICK if given.quick else given.tasks))
    finally:
        shutil.rmtree(data, ignore_errors=True)
    results.show(setting, figures)
    if given.write or (given.tasks == LARGE and not given.quick):
        results.write(setting, figures, marks=results.SCALE)
    return 0


async def _measure(data: Path, tasks: int) -> list[Figure]:
    async with site(data / "servers") as servers, AsyncExitStack() as stack:
        width = tasks * 10 // PARTITIONS

        async def made(name: str, size: int) -> World:
            return await stack.enter_async_context(_told(servers, name, size, width))

        small, middle = await made("small", SMALL), await made("middle", MIDDLE)
        large = await made("large", tasks)
        figures = [_size(large, width)]
        for what, measure in AGAINST_EVENTS.items():
            figures.append(await _compared(what, measure, small, large, _BOUND))
        for what, measure in AGAINST_TASKS.items():
            figures.append(await _compared(what, measure, middle, large, _LIST_BOUND))
        what = "read a task's events from the disk p50"  # late: nothing is in memory then
        figures.append(await _compared(what, measures.history_from_disk, small, large, _BOUND))
        figures.append(_rebuilt(middle, large))
        archived = data / "archive"
        return figures + await scale_log_archive.measure(large, archived, width)


def _told(servers: Site, name: str, size: int, width: int) -> AbstractAsyncContextManager[World]:
    began = time.perf_counter()

    def progress(what: str, done: int, total: int) -> None:
        seconds = time.perf_counter() - began
        print(f"{name}: {what} {done:,} of {total:,}, {seconds:.0f} s", file=sys.stderr)

    return world(servers, name, size, width, progress)


async def _compared(what: str, measure: Measure, base: World, large: World, bound: float) -> Figure:
    """Return how much longer it takes in the large log; measured in turn, the typical of each."""
    took: dict[str, list[float]] = {base.name: [], large.name: []}
    for _ in range(ROUNDS):
        for one in (base, large):
            took[one.name].append(await measure(one))
    before, after = typical(took[base.name]), typical(took[large.name])
    print(f"{what}: {before * 1e3:.3g} ms, {after * 1e3:.3g} ms", file=sys.stderr)
    return Figure(
        part=f"{large.events:,} events",
        what=what,
        value=ratio(after, before),
        unit="x",
        goal=at_most(bound),
        note=f"{after * 1e3:.3g} ms; {before * 1e3:.3g} ms at {base.events:,}",
    )


def _size(large: World, width: int) -> Figure:
    return Figure(
        part="log",
        what="tasks",
        value=large.tasks,
        note=f"{large.events:,} events, {width:,} a partition",
    )


def _rebuilt(base: World, large: World) -> Figure:
    before, after = measures.rebuild_sec(base), measures.rebuild_sec(large)
    return Figure(
        part=f"{large.events:,} events",
        what="rebuild of all read models, each event",
        value=ratio(after, before),
        unit="x",
        goal=at_most(_BOUND),
        note=f"{1 / after:,.0f} events/s; {1 / before:,.0f} at {base.events:,}",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.scale_log", description=__doc__)
    add = parser.add_argument
    add("--quick", action="store_true", help="a fiftieth of the size")
    add(
        "--tasks",
        type=int,
        default=LARGE,
        help="how many the large log has: a multiple of 1,000 [1000000]",
    )
    add("--write", action="store_true", help="write bench/RESULTS.md, whatever was measured")
    add("--data", type=Path, help="where to put the servers' data [the folder for temporary files]")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
