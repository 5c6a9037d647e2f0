"""Old payloads, brought up to date step by step when they are read; the log is never rewritten.

A step takes the JSON object of one ``(type, schema_version)`` and returns that of the next. Steps
are pure and stay for ever: every payload ever shipped has a golden file in ``tests/golden``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from events.task import Json

Step = Callable[[Json], Json]

STEPS: Mapping[tuple[str, int], Step] = {}
"""``(type, from_version) -> step to from_version + 1``; every event is still at version 1."""


def upcast(
    type_: str,
    version: int,
    data: Json,
    *,
    to: int,
    steps: Mapping[tuple[str, int], Step] = STEPS,
) -> Json:
    """Return ``data`` as version ``to`` of its type has it; newer data is returned as it is.

    Raises ``LookupError`` naming the missing step when the chain has a hole.
    """
    while version < to:
        if (type_, version) not in steps:
            msg = f"no upcast from version {version} of {type_}"
            raise LookupError(msg)
        data = steps[type_, version](data)
        version += 1
    return data
