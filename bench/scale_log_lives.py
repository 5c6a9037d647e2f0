"""A log of any size, made inside Postgres: lives of ten events, a hundred tasks side by side.

The rows are what the append would have stored: partitions, `streams`, receipts and the head agree
(``pandar verify`` finds nothing). They are made by Postgres itself, from events encoded once here,
and indexed after: through the append ten million events would take a quarter of an hour.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from uuid import UUID

import asyncpg

from events import codec
from events import task as did
from events.project import ProjectCreated
from events.task import Event
from tests.support.log import Log

EVENTS = 10
"""Of one task."""
TOGETHER = 100
"""Tasks that live at the same time: an event of each in turn."""
QUEUED = 2_000
"""Tasks at the end of the log that nobody has started."""

_CHUNK = 20_000  # tasks a statement
_WORDS = 2_000
_NUMBER, _NAME, _UUID = 111111111, "@NAME@", UUID(int=2**128 - 1)

_EVENTS = """
INSERT INTO events (position, stream, version, event_id, type, schema_version, recorded_at, actor,
                    project_id, command_id, correlation_id, data)
SELECT p.position, 'task-' || t.id, v, md5(t.id || '/' || v)::uuid, ($7::text[])[v], 1,
    $6::timestamptz + p.position * interval '250 ms',
    CASE WHEN v < 3 THEN 'user:1' ELSE 'runner:local' END, 1,
    'c-' || t.id || '-' || greatest(v, 2), 'c-' || t.id || '-2',
    replace(replace(replace(($8::text[])[v], $9, t.id::text), $10, t.name), $11, t.execution)::json
FROM (
    SELECT id, md5('e' || id)::uuid::text AS execution,
        w[1 + abs(hashtext('a' || id)) % 40] || ' ' || w[1 + abs(hashtext('b' || id)) % $13]
            || ' of ' || w[1 + abs(hashtext('c' || id)) % $13] AS name
    FROM generate_series($2::bigint, $3::bigint) id, (SELECT $12::text[] AS w) words
) t, generate_series(1, $5::int) v, LATERAL (
    SELECT $1 + ((t.id - 1) / $4) * $4 * $5 + (v - 1) * $4 + (t.id - 1) % $4 + 1 AS position
) p
ORDER BY 1
"""
_STREAMS = """
INSERT INTO streams (stream, version, first_position, last_position)
SELECT stream, max(version), min(position), max(position) FROM events
WHERE position > $1 AND position <= $2 GROUP BY stream
"""
_COMMANDS = """
INSERT INTO commands (command_id, request_sha256, stream, position, version, answer)
SELECT command_id, $3, stream, max(position), max(version), '{"id":1,"status":"pending"}'
FROM events WHERE position > $1 AND position <= $2 GROUP BY command_id, stream
"""

Progress = Callable[[str, int, int], None]


def life() -> list[Event]:
    """Return a life whose task, name and execution are yet to be filled in."""
    execution = _UUID
    steps = [did.TaskProgressed(execution_id=execution, progress=n) for n in range(10, 70, 10)]
    return [
        did.TaskCreated(
            task_id=_NUMBER,
            project_id=1,
            name=_NAME,
            description=f"Look at {_NAME} and mend what is wrong with it",
            command="codex audit --fix",
            created_by="1",
        ),
        did.StartRequested(reason="created"),
        did.TaskStarted(execution_id=execution, attempt=1, epoch=1, runner_id="r-bench"),
        *steps,
        did.TaskCompleted(
            execution_id=execution,
            exit_code=0,
            output_tail=f"checked {_NAME}\n" + "all tests pass\n" * 8,
            duration_sec=1.5,
            output_bytes=150,
        ),
    ]


def words() -> list[str]:
    """Return words that look like words, the same every time."""
    parts = ("ba", "co", "di", "fu", "ga", "he", "ji", "ko", "lu", "ma", "ne", "po", "ra", "si")
    digests = (hashlib.sha256(str(n).encode()).digest() for n in range(_WORDS))
    return ["".join(parts[b % len(parts)] for b in d[: 2 + d[9] % 3]) for d in digests]


async def fill(url: str, log: Log, tasks: int, width: int, progress: Progress) -> int:
    """Give an empty log so many finished tasks, then `QUEUED` ones; return its last position.

    ``tasks`` is a multiple of a hundred, ``width`` how many positions a partition has.
    """
    connection = await asyncpg.connect(url, command_timeout=None)
    try:
        await connection.execute("DROP TABLE events_1")
        sized = "UPDATE log_head SET partition_width = $1, partitioned_to = 0"
        await connection.execute(sized, width)
        await connection.execute("SELECT extend_log(1)")
        await log.add(
            "project-1", ProjectCreated(project_id=1, name="bench", owner="1"), project_id=1
        )
        await _load(connection, tasks, progress)
    finally:
        await connection.close()
    for n in range(tasks + 1, tasks + QUEUED + 1):
        await log.add(f"task-{n}", *_queued(n))
    return (await log.store.head()).position


async def _load(connection: asyncpg.Connection, tasks: int, progress: Progress) -> None:
    begin = await connection.fetchval("SELECT position FROM log_head")
    end = begin + tasks * EVENTS
    since = await connection.fetchval("SELECT now() - $1 * interval '250 ms'", end + 1.0)
    names = [codec.name_of(event) for event in life()]
    texts = [codec.encode(event).decode() for event in life()]
    markers = (str(_NUMBER), _NAME, str(_UUID))
    await connection.execute("SELECT extend_log($1)", end)
    await connection.execute("ALTER TABLE streams DROP CONSTRAINT streams_pkey")
    await connection.execute("ALTER TABLE commands DROP CONSTRAINT commands_pkey")
    for first in range(1, tasks + 1, _CHUNK):
        last = min(first + _CHUNK - 1, tasks)
        numbers = (begin, first, last, TOGETHER, EVENTS)
        made = (names, texts, *markers, words(), _WORDS)
        await connection.execute(_EVENTS, *numbers, since, *made)
        span = begin + (first - 1) * EVENTS, begin + last * EVENTS
        await connection.execute(_STREAMS, *span)
        await connection.execute(_COMMANDS, *span, hashlib.sha256(b"bench").digest())
        progress("load", last, tasks)
    await connection.execute("UPDATE log_head SET position = $1", end)
    await connection.execute(
        "UPDATE events SET recorded_at = $1 WHERE position <= $2", since, begin
    )
    await connection.execute("SELECT setval('task_ids', $1)", tasks + QUEUED)
    await connection.execute("ALTER TABLE streams ADD PRIMARY KEY (stream)")
    await connection.execute("ALTER TABLE commands ADD PRIMARY KEY (command_id)")
    for table in ("streams", "commands", *await _filled(connection)):
        await connection.execute(f"VACUUM (ANALYZE) {table}")  # as autovacuum would have by then


async def _filled(connection: asyncpg.Connection) -> list[str]:
    rows = await connection.fetch(
        "SELECT 'events_' || first_position FROM partitions, log_head"
        " WHERE first_position <= position"
    )
    return [str(row[0]) for row in rows]


def _queued(task_id: int) -> list[Event]:
    created = did.TaskCreated(
        task_id=task_id, project_id=1, name=f"queued {task_id}", command="true", created_by="1"
    )
    return [created, did.StartRequested(reason="created")]
