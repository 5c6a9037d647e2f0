"""Appends for the contract of the log, and a load of them as a process of its own.

``python -m tests.support.appending URL NAME WRITERS APPENDS`` runs writers on hot streams, with
stale versions and poisoned items on purpose, and prints what it was told of each as JSON.
``python -m tests.support.appending URL STREAM COMMAND_ID SHA`` sends a single append.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import sys
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from events import codec
from events.envelope import Recorded
from events.task import Event, StartRequested
from pandar_daemon.ports import (
    Append,
    Appended,
    AppendFailed,
    Conflict,
    EventStore,
    Key,
    LeaseChange,
    Receipt,
    Replayed,
)
from tests.support.log import open_log

HOT = 6
"""Streams all writers of all processes fight for."""
POISON = 0.05
STALE = 0.15


def said(*texts: str) -> tuple[Event, ...]:
    """Return events that carry these texts."""
    return tuple(StartRequested(reason=text) for text in texts)


def texts(recorded: Sequence[Recorded]) -> list[str]:
    """Return what `said` put into events."""
    events = [codec.decode(each) for each in recorded]
    return [event.reason for event in events if isinstance(event, StartRequested)]


def item(
    stream: str = "task-1",
    version: int = 0,
    *events: Event,
    command_id: str = "",
    sha: str = "request",
    actor: str = "user:1",
    reserve: tuple[Key, ...] = (),
    release: tuple[Key, ...] = (),
    lease: LeaseChange | None = None,
) -> Append:
    """Return an append; without events it appends one that says its command id."""
    command_id = command_id or f"{stream}-{version}"
    return Append(
        stream=stream,
        expected_version=version,
        events=events or said(command_id),
        command_id=command_id,
        request_sha256=hashlib.sha256(sha.encode()).digest(),
        answer=b'{"id":1}',
        actor=actor,
        project_id=1,
        correlation_id="c",
        reserve=reserve,
        release=release,
        lease=lease,
    )


def poisoned(stream: str, version: int = 0, command_id: str = "") -> Append:
    """Return an append the store cannot hold: Postgres has no NUL in a text."""
    return item(stream, version, command_id=command_id, actor="user:\0")


class Told(Struct):
    """What a load was told: version and position by command id, the others by command id."""

    appended: dict[str, tuple[int, int]] = {}
    conflicts: list[str] = []
    refused: list[str] = []
    sizes: dict[str, int] = {}


async def append_load(
    store: EventStore, name: str, writers: int, appends: int, *, poison: float = POISON
) -> Told:
    """Let writers append beside each other; return what they were told."""
    told, versions = Told(), dict.fromkeys((f"task-{n}" for n in range(HOT)), 0)
    async with asyncio.TaskGroup() as group:
        for writer in range(writers):
            dice = random.Random(f"{name}{writer}")
            prefix = f"{name}-{writer}"
            group.create_task(_write(store, prefix, appends, poison, dice, versions, told))
    return told


async def _write(
    store: EventStore,
    prefix: str,
    appends: int,
    poison: float,
    dice: random.Random,
    versions: dict[str, int],
    told: Told,
) -> None:
    for n in range(appends):
        command_id = f"{prefix}-{n}"
        stream = dice.choice(list(versions))
        stale = dice.random() < STALE and versions[stream] > 0
        version = versions[stream] - stale
        if dice.random() < poison:
            try:
                await store.append(poisoned(stream, version, command_id))
            except AppendFailed:
                told.refused.append(command_id)
            continue
        events = said(*(f"{command_id}/{k}" for k in range(dice.choice((1, 1, 3)))))
        verdict = await _answered(store, item(stream, version, *events, command_id=command_id))
        match verdict:
            case Appended(position=position, version=new):
                told.appended[command_id] = (new, position)
                told.sizes[command_id] = len(events)
                versions[stream] = max(versions[stream], new)
            case Conflict(actual):
                told.conflicts.append(command_id)
                versions[stream] = max(versions[stream], actual)


async def _answered(store: EventStore, wanted: Append) -> Appended | Conflict:
    """Ask until the outcome is known, as the ports promise it is safe to."""
    while True:
        try:
            verdict = await store.append(wanted)
        except ConnectionError:
            await asyncio.sleep(0.05)
            continue
        match verdict:
            case Appended() | Conflict():
                return verdict
            case Replayed(receipt):
                return Appended(position=receipt.position, version=receipt.version)
            case _:
                raise AssertionError(verdict)


class Once(Struct):
    """What a process of its own was told of one append."""

    appended: int | None = None
    replayed: Receipt | None = None


async def append_once(store: EventStore, wanted: Append) -> Once:
    """Append, and return what was told."""
    verdict = await store.append(wanted)
    match verdict:
        case Appended(position=position):
            return Once(appended=position)
        case Replayed(receipt):
            return Once(replayed=receipt)
        case _:
            raise AssertionError(verdict)


async def run_process(*arguments: str) -> bytes:
    """Run this module as a process of its own; return the last line it printed, behind any log."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.support.appending",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        out, _ = await process.communicate()
    except BaseException:
        process.kill()
        raise
    assert process.returncode == 0
    return out.splitlines()[-1]


async def _main(url: str, name: str, first: str, second: str) -> None:
    async with open_log(url) as log:
        told: Told | Once
        if first.isdigit():
            told = await append_load(log.store, name, int(first), int(second))
        else:
            told = await append_once(log.store, item(name, 0, command_id=first, sha=second))
        sys.stdout.write(msgspec.json.encode(told).decode())


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
