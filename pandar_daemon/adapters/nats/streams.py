"""The streams as we want them; a difference found at start is set right."""

from __future__ import annotations

from msgspec.structs import replace

from events import subjects
from pandar_daemon.adapters.nats.jetstream_api import (
    DAY_SEC,
    SECOND,
    ConsumerConfig,
    Republish,
    StreamConfig,
)

MIB = 2**20
DUPLICATE_WINDOW = 10 * 60 * SECOND

COMMANDS_MAX_BYTES = 64 * MIB
RESULTS_MAX_BYTES = 64 * MIB
OUTPUT_MAX_BYTES = 4096 * MIB
DIFFS_MAX_BYTES = 512 * MIB
"""Reserved on the server's disk when the stream is made: must fit its ``max_file``."""

CONSUMER = "pandar"


def commands(replicas: int) -> StreamConfig:
    """Return the durable queue of commands: full, it refuses new ones rather than forget old."""
    return StreamConfig(
        name=subjects.COMMANDS_STREAM,
        description="Commands to be done even if the daemon is down now",
        subjects=(f"{subjects.QUEUE}.>",),
        retention="workqueue",
        discard="new",
        num_replicas=replicas,
        max_age=7 * DAY_SEC * SECOND,
        max_bytes=COMMANDS_MAX_BYTES,
        duplicate_window=DUPLICATE_WINDOW,
    )


def commands_consumer(max_ack_pending: int) -> ConsumerConfig:
    """Return the consumer all queue doors share.

    ``max_deliver`` is open: an outage of the database must not use a command up. How often a
    command may fail for reasons of its own is counted by the door.
    """
    return ConsumerConfig(
        durable_name=CONSUMER,
        description="The daemon's command handlers",
        max_ack_pending=max_ack_pending,
    )


def results(replicas: int) -> StreamConfig:
    """Return where the answers to queued commands are kept for an hour, one per command."""
    return StreamConfig(
        name=subjects.RESULTS_STREAM,
        description="Answers to queued commands, by command id",
        subjects=(f"{subjects.RESULTS}.*",),
        num_replicas=replicas,
        max_age=3_600 * SECOND,
        max_bytes=RESULTS_MAX_BYTES,
        max_msgs_per_subject=1,
    )


def events(epoch: int, replicas: int, *, lazily: bool = False) -> StreamConfig:
    """Return the stream whose sequence is the log position: nothing of it is ever removed.

    Kept ``lazily``, it is written to disk soon after it was acknowledged: what a crash of the
    server takes with it is in the log. Such a stream has one replica, and no batches.
    """
    return StreamConfig(
        name=subjects.events_stream(epoch),
        description=f"Events of epoch {epoch} of the log; sequence = position",
        subjects=(f"{subjects.EVENTS}.>",),
        num_replicas=replicas,
        duplicate_window=DUPLICATE_WINDOW,
        deny_delete=True,
        deny_purge=True,
        republish=Republish(src=f"{subjects.EVENTS}.>", dest=f"{subjects.LIVE_EVENTS}.>"),
        allow_atomic=not lazily,
        persist_mode="async" if lazily else "default",
    )


def retired_events(epoch: int, replicas: int, *, lazily: bool = False) -> StreamConfig:
    """Return an older epoch's stream: it keeps its events and takes no more."""
    name = subjects.events_stream(epoch)
    return StreamConfig(
        name=name,
        description=f"Events of epoch {epoch} of the log, which is over",
        subjects=(name,),
        num_replicas=replicas,
        duplicate_window=DUPLICATE_WINDOW,
        deny_delete=True,
        deny_purge=True,
        persist_mode="async" if lazily else "default",
    )


def diffs(replicas: int, max_bytes: int) -> StreamConfig:
    """Return the stream of what tasks changed: thirty days, and never more than ``max_bytes``."""
    return replace(
        _capped(subjects.DIFFS_STREAM, subjects.DIFFS, replicas, max_bytes),
        description="Patches by project, task and checkpoint",
        max_age=30 * DAY_SEC * SECOND,
    )


def output(replicas: int, max_bytes: int) -> StreamConfig:
    """Return the stream of agent output: seven days, and never more than ``max_bytes``."""
    return replace(
        _capped(subjects.OUTPUT_STREAM, subjects.OUTPUT, replicas, max_bytes),
        description="Agent output by project, task and attempt",
        max_age=7 * DAY_SEC * SECOND,
        republish=Republish(src=f"{subjects.OUTPUT}.>", dest=f"{subjects.LIVE_OUTPUT}.>"),
    )


def _capped(name: str, root: str, replicas: int, max_bytes: int) -> StreamConfig:
    return StreamConfig(
        name=name,
        subjects=(f"{root}.>",),
        compression="s2",
        num_replicas=replicas,
        max_bytes=max_bytes,
        duplicate_window=DUPLICATE_WINDOW,
    )
