"""Appending to the log, against committing each append alone and against ``COPY``."""

from __future__ import annotations

import itertools

from bench.contenders import Rounds, databases, steadily, take_turns
from bench.figures import Figure, at_least, at_most, ratio, typical
from bench.scale import Scale
from bench.site import Site

LEVELS = (1, 16, 64)
_WARM_SEC = 0.2


async def measure(site: Site, scale: Scale) -> list[Figure]:
    """Return the figures of appending at every level."""
    numbers = itertools.count(1)
    figures: list[Figure] = []
    best = 0.0
    async with databases(site):
        await take_turns(site, numbers, 1, _WARM_SEC, 1)
        for level in LEVELS:
            rounds = await take_turns(site, numbers, level, scale.append_sec, scale.append_rounds)
            best = max(best, typical([run.rate for run in rounds["alone"]]))
            figures += _figures(level, rounds, best)
    steady, left = await steadily(site, numbers, LEVELS[-1], scale.steady_sec)
    return [
        *figures,
        Figure(
            part=f"append, {LEVELS[-1]} in flight",
            what="last quarter of the first, growing from nothing",
            value=left,
            unit="x",
            goal=at_least(0.67),
            note=f"{steady.rows:,} rows in {steady.seconds:.0f} s",
        ),
    ]


def _figures(level: int, rounds: Rounds, best: float) -> list[Figure]:
    grouped, alone, copied = rounds["grouped"], rounds["alone"], rounds["copied"]
    most = level == LEVELS[-1]

    def figure(what: str, value: float, unit: str, **more: object) -> Figure:
        return Figure(part=f"append, {level} in flight", what=what, value=value, unit=unit, **more)  # type: ignore[arg-type]

    return [
        figure("appends", typical([run.rate for run in grouped]), "/s"),
        figure("p50", typical([run.taken.p50 for run in grouped]) * 1e3, "ms"),
        figure(
            "commits per command",
            typical([ratio(run.commits, run.rows) for run in grouped]),
            "",
            goal=at_most(0.1) if most else None,
        ),
        figure(
            "of one commit an append",
            typical([ratio(a.rate, b.rate) for a, b in zip(grouped, alone, strict=True)]),
            "x",
            note=f"alone: {typical([run.rate for run in alone]):,.0f}/s, best so far {best:,.0f}/s",
        ),
        figure(
            "of COPY in commits of the same size",
            typical([ratio(a.rate, b.rate) for a, b in zip(grouped, copied, strict=True)]),
            "x",
            goal=at_least(0.5) if most else None,
            note=f"COPY: {typical([run.rate for run in copied]):,.0f}/s",
        ),
    ]
