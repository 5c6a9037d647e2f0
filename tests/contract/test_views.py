"""What the projector relies on: `Views`, against a real Postgres."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from msgspec import structs

from pandar_daemon.adapters.postgres.pool import Database, pool
from pandar_daemon.adapters.postgres.views import PgViews
from pandar_daemon.ports import ChangeRefused, Checkpoint, CheckpointLost, Poison, Step
from projections.base import Append, Change, Delete, Increment, ReadModel, Row, Table, Upsert

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]

THINGS = Table(
    name="things",
    columns=(("kind", "text"), ("id", "bigint"), ("name", "text"), ("data", "json")),
    key=("kind", "id"),
    indexes=("(name)",),
)
COUNTS = Table(name="thing_counts", columns=(("kind", "text"), ("n", "bigint")), key=("kind",))
MODEL = ReadModel(
    name="things", version=1, tables=(THINGS, COUNTS), handles=(), on=lambda _r, _e: []
)


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[tuple[PgViews, Database]]:
    """Yield views over a database, with the pool they use."""
    async with pool(url) as database:
        yield PgViews(database), database


async def served(views: PgViews, table: str = "things") -> list[Row]:
    """Return the rows being served, by key."""
    rows = (await views.rows(MODEL))[1][table]
    return [rows[key] for key in sorted(rows, key=str)]


async def begun(views: PgViews) -> Checkpoint:
    """Return a first generation, served already."""
    at = await views.begin(MODEL, beside=0)
    assert await views.swap(MODEL, at)
    return at


async def test_changes_are_merged_and_applied_in_order(database_url: str) -> None:
    """Within a batch the last word on a row wins, and a delete ends what came before it."""
    async with opened(database_url) as (views, _):
        at = await begun(views)
        first: list[Change] = [
            Append("things", ("a", 1), {"name": "one", "data": {"x": 1}}),
            Upsert("things", ("a", 1), {"name": "uno"}),
            Upsert("things", ("a", 2), {"name": "two"}),
            Upsert("things", ("b", 1), {"data": None}),
            Delete("things", ("a", 2)),
            Upsert("things", ("a", 2), {"data": [1]}),
            Increment("thing_counts", ("a",), {"n": 2}),
            Increment("thing_counts", ("a",), {"n": 3}),
        ]
        at = await views.apply(MODEL, at, Step(position=5, changes=first))
        assert at.position == 5
        assert await served(views) == [
            {"kind": "a", "id": 1, "name": "uno", "data": {"x": 1}},
            {"kind": "a", "id": 2, "name": None, "data": [1]},
            {"kind": "b", "id": 1, "name": None, "data": None},
        ]
        second: list[Change] = [
            Delete("things", ("a",)),
            Upsert("things", ("c", 1), {}),
            Increment("thing_counts", ("a",), {"n": -1}),
        ]
        await views.apply(MODEL, at, Step(position=6, changes=second))
        assert [row["kind"] for row in await served(views)] == ["b", "c"]
        assert await served(views, "thing_counts") == [{"kind": "a", "n": 4}]


async def test_a_moved_checkpoint_refuses_and_changes_nothing(database_url: str) -> None:
    """Applying twice from the same position applies once."""
    async with opened(database_url) as (views, _):
        at = await begun(views)
        step = Step(position=1, changes=[Increment("thing_counts", ("a",), {"n": 1})])
        await views.apply(MODEL, at, step)
        with pytest.raises(CheckpointLost):
            await views.apply(MODEL, at, step)
        assert await served(views, "thing_counts") == [{"kind": "a", "n": 1}]


async def test_many_at_once_apply_once(database_url: str) -> None:
    """Of ten that race for a position, one gets it."""
    async with opened(database_url) as (views, _):
        at = await begun(views)
        step = Step(position=1, changes=[Increment("thing_counts", ("a",), {"n": 1})])
        racing = [views.apply(MODEL, at, step) for _ in range(10)]
        won = await asyncio.gather(*racing, return_exceptions=True)
        assert sum(isinstance(one, Checkpoint) for one in won) == 1
        assert sum(isinstance(one, CheckpointLost) for one in won) == 9
        assert await served(views, "thing_counts") == [{"kind": "a", "n": 1}]


@pytest.mark.parametrize(
    "change",
    [
        Upsert("things", ("a", 2**63), {}),
        Upsert("things", ("a", 1), {"name": "nul \x00"}),
        Upsert("things", ("a", 1), {"name": "half a pair \ud800"}),
        Append("things", ("x", 1), {}),
    ],
    ids=["too large", "nul", "surrogate", "made already"],
)
async def test_what_cannot_be_held_is_refused_whole(
    database_url: str, change: Upsert | Append
) -> None:
    """A refused change leaves rows and checkpoint as they were."""
    async with opened(database_url) as (views, _):
        at = await begun(views)
        at = await views.apply(
            MODEL, at, Step(position=1, changes=[Append("things", ("x", 1), {"name": "old"})])
        )
        good = Upsert("things", ("x", 1), {"name": "new"})
        with pytest.raises(ChangeRefused):
            await views.apply(MODEL, at, Step(position=2, changes=[good, change]))
        assert [row["name"] for row in await served(views)] == ["old"]
        assert [one.position for one in await views.checkpoints()] == [1]


async def test_parked_streams_are_remembered(database_url: str) -> None:
    """The checkpoint names them, and what was skipped is counted."""
    async with opened(database_url) as (views, database):
        at = await begun(views)
        poison = Poison(stream="task-1", position=1, error="no")
        at = await views.apply(MODEL, at, Step(position=3, poison=[poison], skipped={"task-1": 2}))
        assert at.parked == {"task-1"}
        at = await views.apply(MODEL, at, Step(position=4, skipped={"task-1": 1}))
        assert await views.checkpoints() == [structs.replace(at, live=True)]
        row = await database.fetchrow("SELECT position, error, skipped FROM parked")
        assert row is not None
        assert tuple(row) == (1, "no", 3)


async def test_whoever_begins_first_makes_the_generation(database_url: str) -> None:
    """Projectors that start together share one generation, also when one swapped it already."""
    async with opened(database_url) as (views, _):
        made = await asyncio.gather(*[views.begin(MODEL, beside=0) for _ in range(5)])
        assert {at.generation for at in made} == {1}
        assert await views.swap(MODEL, made[0])
        assert (await views.begin(MODEL, beside=0)).generation == 1
        assert (await views.begin(MODEL, beside=1)).generation == 2


async def test_an_older_release_does_not_follow_a_newer(database_url: str) -> None:
    """It is handed the newer generation instead of making its own."""
    async with opened(database_url) as (views, _):
        newer = structs.replace(MODEL, version=2)
        await views.begin(newer, beside=0)
        assert (await views.begin(MODEL, beside=0)).version == 2


async def test_a_generation_that_is_behind_is_not_served(database_url: str) -> None:
    """Readers never see an older position than before."""
    async with opened(database_url) as (views, _):
        live = await begun(views)
        live = await views.apply(
            MODEL, live, Step(position=1, changes=[Upsert("things", ("old", 1), {})])
        )
        new = await views.begin(MODEL, beside=1)
        assert not await views.swap(MODEL, new)
        assert (await served(views))[0]["kind"] == "old"
        new = await views.apply(
            MODEL, new, Step(position=1, changes=[Upsert("things", ("new", 1), {})])
        )
        assert await views.swap(MODEL, new)
        assert await views.swap(MODEL, new)
        assert (await served(views))[0]["kind"] == "new"
        assert [(at.generation, at.live) for at in await views.checkpoints()] == [
            (1, False),
            (2, True),
        ]


async def test_only_what_is_over_can_be_discarded(database_url: str) -> None:
    """The generation being served stays, whoever asks; an old one goes with its tables."""
    async with opened(database_url) as (views, database):
        live = await begun(views)
        assert await views.discard(live)
        assert await served(views) == []
        new = await views.begin(MODEL, beside=1)
        assert await views.swap(MODEL, new)
        assert await views.discard(live)
        schemas = "SELECT string_agg(nspname, ' ') FROM pg_namespace WHERE nspname LIKE 'rm\\_%'"
        assert await database.fetchval(schemas) == "rm_things_2"
        with pytest.raises(CheckpointLost):
            await views.apply(MODEL, live, Step(position=1))


async def test_a_generation_in_use_is_not_discarded_yet(database_url: str) -> None:
    """A long reader is not disturbed, and does not hold the projector up."""
    async with opened(database_url) as (views, database):
        old = await begun(views)
        async with database.acquire() as reader, reader.transaction():
            await reader.fetch("SELECT * FROM rm_things_1.things")
            new = await views.begin(MODEL, beside=1)
            assert await views.swap(MODEL, new)
            assert not await views.discard(old)
            assert len(await views.checkpoints()) == 2
        assert await views.discard(old)


async def test_the_daemon_makes_no_schema_of_its_own_name(database_url: str) -> None:
    """Its role may make schemas for generations and nothing else."""
    async with opened(database_url) as (_, database):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await database.execute("CREATE SCHEMA mine")
        with pytest.raises(asyncpg.RaiseError):
            await database.execute("SELECT create_generation('public')")


async def test_a_shape_that_changed_is_swapped_too(database_url: str) -> None:
    """Columns may come and go between versions, while a reader's statement stays prepared."""
    async with opened(database_url) as (views, database):
        await begun(views)
        assert await database.fetch("SELECT id FROM views.things") == []
        columns = (("kind", "text"), ("id", "bigint"), ("colour", "text"))
        table = structs.replace(THINGS, columns=columns, indexes=())
        newer = structs.replace(MODEL, version=2, tables=(table, COUNTS))
        at = await views.begin(newer, beside=1)
        change = Upsert("things", ("a", 7), {"colour": "red"})
        at = await views.apply(newer, at, Step(position=1, changes=[change]))
        assert await views.swap(newer, at)
        assert [row["id"] for row in await database.fetch("SELECT id FROM views.things")] == [7]
