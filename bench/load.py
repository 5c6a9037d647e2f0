"""The load generator: files tasks on a running Pandar and tells what became of every one.

``python -m bench.load --tasks 1000 --in-flight 16 --command true``. Exit code 0 when every task
was taken and came to an end, in whatever state; 1 when one is missing or was refused.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import secrets
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.distribution import Distribution
from bench.figures import number
from bench.loading import Load, Loading, Report, session
from bench.table import plain

QUANTILES = (0.5, 0.9, 0.99, 1.0)


def main(argv: Sequence[str] | None = None) -> int:
    """Do a load; return the exit code."""
    given = _parser().parse_args(argv)
    load = Load(
        tasks=given.tasks,
        rate=given.rate,
        in_flight=given.in_flight,
        command=given.command,
        project_id=given.project,
        metadata=given.metadata,
        name=given.name,
        patience_sec=given.patience,
    )
    token = given.token_file.read_text().strip()
    report = asyncio.run(_run(given.url, token, load))
    print(msgspec.json.encode(summary(report)).decode() if given.json else text(report))
    return 0 if report.is_whole else 1


def summary(report: Report) -> dict[str, object]:
    """Return a report for programs; times in seconds."""
    return {
        "seconds": report.seconds,
        "ended": dict(report.ended),
        "filing": _quantiles(report.filing),
        "life": _quantiles(report.life),
        "troubles": report.troubles,
    }


def text(report: Report) -> str:
    """Return a report for people."""
    total = sum(report.ended.values())
    rate = total / report.seconds if report.seconds else 0.0
    lines = [f"{total} tasks in {report.seconds:.1f} s, {number(rate)} a second"]
    lines += [f"  {status} {count}" for status, count in sorted(report.ended.items())]
    rows = [
        (what, *(number(taken.quantile(q) * 1e3) for q in QUANTILES))
        for what, taken in (("filed to answer", report.filing), ("filed to end", report.life))
    ]
    lines.append(plain(("ms", "p50", "p90", "p99", "max"), rows))
    return "\n".join([*lines, *report.troubles])


def _quantiles(taken: Distribution) -> dict[str, float | None]:
    return {f"p{q * 100:g}": taken.quantile(q) if taken.count else None for q in QUANTILES}


async def _run(url: str, token: str, load: Load) -> Report:
    async with session(url, token) as http:
        return await Loading(http, load).run()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.load", description=__doc__)
    add = parser.add_argument
    add("--tasks", type=_at_least_one, required=True, help="how many to file")
    add("--in-flight", type=_at_least_one, default=16, help="filed and not ended, at most [16]")
    add("--rate", type=float, default=0.0, help="tasks a second [0: as fast as they end]")
    add("--command", default="true", help="what each runs [true]")
    add("--project", type=int, default=1, help="where to file them [1]")
    add("--metadata", type=_object, default={}, help="a JSON object for each [{}]")
    add("--patience", type=float, default=120.0, help="seconds until a task is missing [120]")
    add("--url", default="http://127.0.0.1:8000", help="the Pandar [http://127.0.0.1:8000]")
    add("--token-file", type=Path, default=_token_file(), help="its token [that of `pandar up`]")
    add("--name", default=f"load-{secrets.token_hex(4)}", help="the same name files nothing twice")
    add("--json", action="store_true", help="report for programs")
    return parser


def _at_least_one(given: str) -> int:
    if (value := int(given)) < 1:
        raise argparse.ArgumentTypeError("expected at least 1")
    return value


def _object(given: str) -> dict[str, object]:
    try:
        return msgspec.json.decode(given, type=dict[str, object])
    except msgspec.MsgspecError as error:
        raise argparse.ArgumentTypeError(f"expected a JSON object: {error}") from None


def _token_file() -> Path:
    usual = Path.home() / ".local" / "share" / "pandar"
    return Path(os.environ.get("PANDAR_DATA") or usual) / "token"


if __name__ == "__main__":
    sys.exit(main())
