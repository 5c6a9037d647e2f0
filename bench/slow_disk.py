"""What group commit is worth where the disk is slow: 2 ms are added to each fdatasync of Postgres.

A shim (``slow_fsync.c``) is preloaded into ``postgres`` by a directory of programs that stands
before the real one, so Pandar starts it as always. nats-server calls the kernel itself and keeps
the machine's own disk.
"""

from __future__ import annotations

import itertools
import os
import shlex
import shutil
import subprocess
from pathlib import Path

from bench.answering import PART as PART_COMMAND
from bench.answering import Answers, ask_and_commit
from bench.contenders import Rounds, databases, take_turns
from bench.daemon import daemon
from bench.figures import Figure, at_least, ratio, typical, unmeasured
from bench.scale import Scale
from bench.site import site
from pandar_daemon.adapters.embedded.binaries import postgres_bin

DELAY_US = 2_000
LEVEL = 64
PART = f"append, {LEVEL} in flight, fdatasync + {DELAY_US / 1e3:g} ms"
_SOURCE = Path(__file__).with_name("slow_fsync.c")
_PROGRAMS = ("postgres", "initdb")


async def measure(data: Path, scale: Scale) -> list[Figure]:
    """Return the figures of servers and of a daemon on a slow disk, with data under ``data``."""
    compiler = shutil.which("cc")
    if compiler is None:
        return [unmeasured(PART, "no C compiler")]
    programs = str(slow_programs(compiler, data))
    async with (
        site(data / "servers", {**os.environ, "PANDAR_PG_BIN": programs}) as servers,
        databases(servers),
    ):
        rounds = await take_turns(
            servers, itertools.count(1), LEVEL, scale.append_sec, scale.append_rounds
        )
    async with daemon(data / "up", PANDAR_PG_BIN=programs) as pandar:
        taken = await ask_and_commit(pandar, scale.asks // 3)
    return [*_appending(rounds), *_answering(taken)]


def slow_programs(compiler: str, data: Path) -> Path:
    """Make a directory of Postgres' programs of which the server waits, and return it.

    Raises ``subprocess.CalledProcessError`` when the shim cannot be compiled.
    """
    folder = data / "bin"
    folder.mkdir(mode=0o755, parents=True)
    shim = folder / "slow_fsync.so"
    made = ("-shared", "-fPIC", "-O2", "-o", str(shim), str(_SOURCE), "-ldl")
    subprocess.run([compiler, *made], check=True)
    real = postgres_bin(os.environ)
    for name in _PROGRAMS:
        slow = name == "postgres"
        given = f"LD_PRELOAD={shlex.quote(str(shim))} SLOW_FSYNC_US={DELAY_US} " if slow else ""
        script = f'#!/bin/sh\n{given}exec {shlex.quote(str(real / name))} "$@"\n'
        (folder / name).write_text(script)
        (folder / name).chmod(0o755)
    return folder


def _appending(rounds: Rounds) -> list[Figure]:
    grouped, alone = rounds["grouped"], rounds["alone"]
    rate = typical([run.rate for run in alone])
    return [
        Figure(part=PART, what="appends", value=typical([r.rate for r in grouped]), unit="/s"),
        Figure(
            part=PART, what="p50", value=typical([r.taken.p50 for r in grouped]) * 1e3, unit="ms"
        ),
        Figure(
            part=PART,
            what="of one commit an append",
            value=typical([ratio(a.rate, b.rate) for a, b in zip(grouped, alone, strict=True)]),
            unit="x",
            goal=at_least(10),
            note=f"alone: {rate:,.0f}/s",
        ),
    ]


def _answering(taken: Answers) -> list[Figure]:
    if taken.committed.p50 < DELAY_US / 1e6:
        raise RuntimeError(f"the delay does not reach Postgres: {taken.committed.p50 * 1e3:.2f} ms")
    part = f"{PART_COMMAND}, fdatasync + {DELAY_US / 1e3:g} ms"
    return taken.figures(part)
