"""What an append must hold, take or give up besides its events.

Pure: from the task before, and the events decided, to set constraints and the lease operation that
go into the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from events import task as did
from pandar_daemon.domain.task_state import Task, evolve
from pandar_daemon.ports import Key, LeaseChange, LeaseOp


class Claims(Struct, frozen=True):
    """The constraint side of one `Append`."""

    reserve: tuple[Key, ...] = ()
    release: tuple[Key, ...] = ()
    lease: LeaseChange | None = None


def concurrency_key(task: Task, key: str) -> Key:
    """Return the key that lets one task of a project run at a time."""
    return Key("concurrency", f"{task.project_id}:{key}")


def confirmation_key(task: Task) -> Key:
    """Return the key of the one confirmation a task may have open."""
    return Key("confirmation", str(task.task_id))


def claims(
    before: Task, events: Sequence[did.Event], *, ttl_sec: float, holder: str = ""
) -> Claims:
    """Return what these events need and free; ``ttl_sec`` is for a lease they acquire.

    ``holder`` is the runner that speaks, whose lease it must be; empty for everybody else.
    """
    after = before
    for event in events:
        after = evolve(after, event)
    held, holds = keys_of(before), keys_of(after)
    return Claims(
        tuple(sorted(holds - held)),
        tuple(sorted(held - holds)),
        _lease(before, after, events, ttl_sec, holder),
    )


def keys_of(task: Task) -> set[Key]:
    """Return the keys a task holds."""
    keys = set()
    if task.execution is not None and task.execution.held_key:
        keys.add(concurrency_key(task, task.execution.held_key))
    if task.pending is not None:
        keys.add(confirmation_key(task))
    return keys


def _lease(
    before: Task, after: Task, events: Sequence[did.Event], ttl_sec: float, holder: str
) -> LeaseChange | None:
    live = before.execution or after.execution
    if live is None or not events:
        return None
    return LeaseChange(
        op=_lease_op(before, after, events),
        task_id=after.task_id,
        execution_id=live.execution_id,
        epoch=live.epoch,
        runner_id=holder,
        ttl_sec=ttl_sec,
    )


def _lease_op(before: Task, after: Task, events: Sequence[did.Event]) -> LeaseOp:
    if before.execution is None:
        return LeaseOp.ACQUIRE
    if any(isinstance(event, did.ExecutionLost) and not event.given_up for event in events):
        return LeaseOp.EXPIRE
    if after.execution is None:
        return LeaseOp.RELEASE
    return LeaseOp.CANCEL if after.cancel_requested else LeaseOp.HOLD
