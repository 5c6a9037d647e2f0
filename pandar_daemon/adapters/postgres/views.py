"""Read models in Postgres: generations side by side, checkpoints moved by compare-and-set."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
import msgspec
import structlog

from pandar_daemon.adapters.postgres import generations
from pandar_daemon.adapters.postgres.changeset import Copy, Merge, Statement, statements
from pandar_daemon.adapters.postgres.indexing import index
from pandar_daemon.adapters.postgres.outages import writing
from pandar_daemon.adapters.postgres.pool import Database
from pandar_daemon.adapters.postgres.queries import query
from pandar_daemon.ports import ChangeRefused, Checkpoint, CheckpointLost, Move, Step
from projections.base import ReadModel, Rows, Table

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

log = structlog.get_logger(__name__)

READ_TIMEOUT_SEC = 3_600.0
"""How long reading a whole table may take."""


class PgViews:
    """`Views` over asyncpg."""

    def __init__(self, database: Database) -> None:
        """Work through ``database``; each call holds one connection."""
        self._database = database

    async def checkpoints(self) -> list[Checkpoint]:
        """Return all generations there are; see `Views.checkpoints`."""
        with writing():
            rows = await self._database.fetch(query("select_checkpoints"))
        return [Checkpoint(**{**row, "parked": frozenset(row["parked"])}) for row in rows]

    async def begin(self, model: ReadModel, *, beside: int) -> Checkpoint:
        """Return the generation that follows ``beside``; see `Views.begin`."""
        async with self._alone(model) as connection:
            row = await connection.fetchrow(
                query("select_successor"), model.name, model.version, beside
            )
            if row is not None:
                return Checkpoint(**row)
            row = await connection.fetchrow(query("insert_generation"), model.name, model.version)
            assert row is not None  # noqa: S101 - an INSERT returns its row
            for statement in generations.creation(model, row["generation"]):
                await connection.execute(statement)
        log.info("view.begun", model=model.name, generation=row["generation"])
        return Checkpoint(**row)

    async def apply(self, moves: Sequence[Move]) -> list[Checkpoint]:
        """Apply all moves, checkpoints too, in one transaction; see `Views.apply`."""
        with writing():
            changes = [statement for move in moves for statement in _statements(move)]
            async with self._database.acquire() as connection, connection.transaction():
                await _move(connection, moves)
                for change in changes:
                    await _change(connection, change)
                for move in moves:
                    await _park(connection, move.at, move.step)
        return [_after(move) for move in moves]

    async def swap(self, model: ReadModel, at: Checkpoint) -> bool:
        """Finish a generation and serve it instead of the present one; see `Views.swap`."""
        with writing():
            await index(self._database, model, at.generation)
        async with self._alone(model) as connection:
            mine, live = await self._positions(connection, at)
            if mine is live:
                return True
            if live is not None and live["position"] > mine["position"]:
                return False
            for statement in generations.serving(model, at.generation):
                await connection.execute(statement)
            await connection.execute(query("retire_generations"), at.model, at.generation)
            await connection.execute(query("set_live"), at.model, at.generation)
        log.info("view.swapped", model=at.model, generation=at.generation)
        return True

    async def _positions(
        self, connection: PoolConnectionProxy, at: Checkpoint
    ) -> tuple[asyncpg.Record, asyncpg.Record | None]:
        """Return the rows of this generation and of the live one, locked; neither can move now."""
        rows = await connection.fetch(query("lock_generations"), at.model)
        mine = next((row for row in rows if row["generation"] == at.generation), None)
        if mine is None:
            msg = f"{at.model} generation {at.generation} was discarded"
            raise CheckpointLost(msg)
        return mine, next((row for row in rows if row["live"]), None)

    async def discard(self, at: Checkpoint) -> bool:
        """Drop a generation that is over; see `Views.discard`. One being served stays."""
        schema = generations.schema_of(at.model, at.generation)
        try:
            with writing():
                async with self._database.acquire() as connection, connection.transaction():
                    await connection.execute("SET LOCAL lock_timeout = '200ms'")
                    sql = query("delete_generation")
                    if await connection.fetchval(sql, at.model, at.generation) is not None:
                        await connection.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
        except ConnectionError as error:
            if isinstance(error.__cause__, asyncpg.LockNotAvailableError):
                return False
            raise
        return True

    async def rows(self, model: ReadModel) -> tuple[int, dict[str, Rows]]:
        """Return the position of the generation being served, and all its rows, at one moment.

        Raises `CheckpointLost` when none is being served yet.
        """
        with writing():
            async with self._database.acquire() as connection, _snapshot(connection):
                position = await connection.fetchval(query("select_live_position"), model.name)
                if position is None:
                    msg = f"{model.name} is not served yet"
                    raise CheckpointLost(msg)
                return position, {t.name: await _all_rows(connection, t) for t in model.tables}

    @asynccontextmanager
    async def _alone(self, model: ReadModel) -> AsyncIterator[PoolConnectionProxy]:
        """A transaction that no other process has on this model's generations meanwhile."""
        with writing():
            async with self._database.acquire() as connection, connection.transaction():
                await connection.execute(query("lock_model"), model.name)
                yield connection


def _statements(move: Move) -> list[Statement | Copy | Merge]:
    schema = generations.schema_of(move.at.model, move.at.generation)
    return statements(schema, move.model.tables, move.step.changes)


async def _merge(connection: PoolConnectionProxy, merge: Merge) -> None:
    """Take rows of which nobody else can make one meanwhile: their checkpoint is locked."""
    present = await connection.fetch(merge.present.sql, *merge.present.arrays)
    for change in merge.split({row["n"] for row in present}):
        await _change(connection, change)


async def _change(connection: PoolConnectionProxy, change: Statement | Copy | Merge) -> None:
    if isinstance(change, Merge):
        await _merge(connection, change)
        return
    if isinstance(change, Statement):
        await connection.execute(change.sql, *change.arrays)
        return
    try:
        await connection.copy_records_to_table(
            change.table,
            schema_name=change.schema,
            columns=change.columns,
            records=change.rows(),
        )
    except (TypeError, ValueError, AttributeError) as error:  # for arguments asyncpg says DataError
        raise ChangeRefused(f"{type(error).__name__}: {error}") from error


async def _move(connection: PoolConnectionProxy, moves: Sequence[Move]) -> None:
    moved = await connection.fetchval(
        query("move_checkpoints"),
        [move.at.model for move in moves],
        [move.at.generation for move in moves],
        [move.at.live for move in moves],
        [move.at.position for move in moves],
        [move.step.position for move in moves],
    )
    if moved != len(moves):
        wanted = ", ".join(
            f"{move.at.model} {move.at.generation} at {move.at.position}" for move in moves
        )
        msg = f"not all of these are there any more: {wanted}"
        raise CheckpointLost(msg)


async def _park(connection: PoolConnectionProxy, at: Checkpoint, step: Step) -> None:
    if step.poison:
        await connection.execute(
            query("park_streams"),
            at.model,
            at.generation,
            [poison.stream for poison in step.poison],
            [poison.position for poison in step.poison],
            [poison.error for poison in step.poison],
        )
    if step.skipped:
        streams, counts = list(step.skipped), list(step.skipped.values())
        await connection.execute(query("count_skipped"), at.model, at.generation, streams, counts)


def _after(move: Move) -> Checkpoint:
    parked = move.at.parked | {poison.stream for poison in move.step.poison}
    return msgspec.structs.replace(move.at, position=move.step.position, parked=parked)


@asynccontextmanager
async def _snapshot(connection: PoolConnectionProxy) -> AsyncIterator[None]:
    """A transaction that sees one moment."""
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        yield


async def _all_rows(connection: PoolConnectionProxy, table: Table) -> Rows:
    json = {name for name, type_ in table.columns if type_ == "json"}
    rows: Rows = {}
    for record in await connection.fetch(generations.selection(table), timeout=READ_TIMEOUT_SEC):
        row = dict(record)
        for name in json:
            row[name] = None if row[name] is None else msgspec.json.decode(row[name])
        rows[tuple(row[name] for name in table.key)] = row
    return rows
