"""What the projector relies on: `Views`, against a real Postgres."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import pytest
from msgspec import structs

from pandar_daemon.adapters.postgres import changeset
from pandar_daemon.adapters.postgres.pool import Database, pool
from pandar_daemon.adapters.postgres.views import PgViews
from pandar_daemon.ports import ChangeRefused, Checkpoint, CheckpointLost, Move, Poison, Step
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


async def apply(views: PgViews, at: Checkpoint, step: Step, model: ReadModel = MODEL) -> Checkpoint:
    """Move one generation."""
    return (await views.apply([Move(model=model, at=at, step=step)]))[0]


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
        at = await apply(views, at, Step(position=5, changes=first))
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
        await apply(views, at, Step(position=6, changes=second))
        assert [row["kind"] for row in await served(views)] == ["b", "c"]
        assert await served(views, "thing_counts") == [{"kind": "a", "n": 4}]


async def test_a_moved_checkpoint_refuses_and_changes_nothing(database_url: str) -> None:
    """Applying twice from the same position applies once."""
    async with opened(database_url) as (views, _):
        at = await begun(views)
        step = Step(position=1, changes=[Increment("thing_counts", ("a",), {"n": 1})])
        await apply(views, at, step)
        with pytest.raises(CheckpointLost):
            await apply(views, at, step)
        assert await served(views, "thing_counts") == [{"kind": "a", "n": 1}]


async def test_many_at_once_apply_once(database_url: str) -> None:
    """Of ten that race for a position, one gets it."""
    async with opened(database_url) as (views, _):
        at = await begun(views)
        step = Step(position=1, changes=[Increment("thing_counts", ("a",), {"n": 1})])
        racing = [apply(views, at, step) for _ in range(10)]
        won = await asyncio.gather(*racing, return_exceptions=True)
        assert sum(isinstance(one, Checkpoint) for one in won) == 1
        assert sum(isinstance(one, CheckpointLost) for one in won) == 9
        assert await served(views, "thing_counts") == [{"kind": "a", "n": 1}]


async def test_moves_are_applied_in_one_transaction(database_url: str) -> None:
    """Rows and checkpoints of many models are written by a single commit."""
    async with opened(database_url) as (views, database):
        others = [structs.replace(MODEL, name=name, tables=(COUNTS,)) for name in ("b", "a")]
        moves = [
            Move(
                model=model,
                at=await views.begin(model, beside=0),
                step=Step(position=3, changes=[Increment("thing_counts", ("x",), {"n": 1})]),
            )
            for model in (MODEL, *others)
        ]
        moved = await views.apply(moves)
        assert [(at.model, at.position) for at in moved] == [("things", 3), ("b", 3), ("a", 3)]
        written = "SELECT xmin::text FROM {}"
        tables = ["read_models", *[f"rm_{at.model}_1.thing_counts" for at in moved]]
        by = {row[0] for one in tables for row in await database.fetch(written.format(one))}
        assert len(by) == 1


async def test_of_moves_all_or_none_are_applied(database_url: str) -> None:
    """One checkpoint that moved, or one change that is refused, holds all of them back."""
    async with opened(database_url) as (views, database):
        other = structs.replace(MODEL, name="other", tables=(COUNTS,))
        at, its = await begun(views), await views.begin(other, beside=0)
        its = await apply(views, its, Step(position=1), other)
        good = Step(position=2, changes=[Upsert("things", ("a", 1), {})])
        step = Step(position=2, changes=[Increment("thing_counts", ("a",), {"n": 1})])
        behind = structs.replace(its, position=0)
        with pytest.raises(CheckpointLost):
            await views.apply(
                [Move(model=MODEL, at=at, step=good), Move(model=other, at=behind, step=step)]
            )
        refused = Step(position=2, changes=[Increment("thing_counts", ("a",), {"n": 2**63})])
        with pytest.raises(ChangeRefused):
            await views.apply(
                [Move(model=MODEL, at=at, step=good), Move(model=other, at=its, step=refused)]
            )
        assert await served(views) == []
        assert await database.fetchval("SELECT count(*) FROM rm_other_1.thing_counts") == 0
        assert [one.position for one in await views.checkpoints()] == [1, 0]


_SLOW_AND_AS_NAMED = """
DO $$ BEGIN
    EXECUTE format('ALTER DATABASE %I SET enable_seqscan = off', current_database());
    EXECUTE format('ALTER DATABASE %I SET enable_hashjoin = off', current_database());
    EXECUTE format('ALTER DATABASE %I SET enable_mergejoin = off', current_database());
END $$;
CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_sleep(0.01);
    RETURN NEW;
END $$;
CREATE TRIGGER linger BEFORE UPDATE ON read_models FOR EACH ROW EXECUTE FUNCTION linger();
"""


async def test_moves_in_any_order_wait_for_each_other(database_url: str) -> None:
    """Many that move the same checkpoints never end in a deadlock; one of them gets there.

    The planner is made to take rows in the order they are named in, and each takes a while.
    """
    administrator = await asyncpg.connect(database_url)
    await administrator.execute(_SLOW_AND_AS_NAMED)
    await administrator.close()
    async with opened(database_url) as (views, _):
        others = [structs.replace(MODEL, name=name, tables=(COUNTS,)) for name in "abcdef"]
        moves = [
            Move(model=model, at=await views.begin(model, beside=0), step=Step(position=1))
            for model in others
        ]
        rng = random.Random(5)
        racing = [views.apply(rng.sample(moves, k=len(moves))) for _ in range(10)]
        won = await asyncio.gather(*racing, return_exceptions=True)
        assert sum(isinstance(one, list) for one in won) == 1
        assert sum(isinstance(one, CheckpointLost) for one in won) == 9


async def test_many_new_rows_are_taken_as_few_are(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that is copied ends in the same rows as one that is inserted."""
    changes: list[Change] = [
        Append(
            "things", ("a", n), {"name": f"{n}", "data": {"x": [n]}} if n % 2 else {"data": None}
        )
        for n in range(20)
    ]
    changes += [Upsert("things", ("a", 3), {"name": "drei"}), Delete("things", ("a", 4))]
    async with opened(database_url) as (views, _):
        live, rows = await begun(views), list[list[Row]]()
        for copy_min in (1, 1_000):
            monkeypatch.setattr(changeset, "COPY_MIN", copy_min)
            live = await apply(views, live, Step(position=live.position + 1, changes=changes))
            rows.append(await served(views))
            gone = Step(position=live.position + 1, changes=[Delete("things", ("a",))])
            live = await apply(views, live, gone)
        assert rows[0] == rows[1]
        assert len(rows[0]) == 19


@pytest.mark.parametrize("there", [0, 7, 20], ids=["none", "some", "all"])
async def test_many_rows_of_which_some_are_there(
    database_url: str, there: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that are there keep what is not stated, the others are made; each is there once."""
    monkeypatch.setattr(changeset, "COPY_MIN", 10)
    numbers = random.Random(6).sample(range(10, 30), k=20)
    async with opened(database_url) as (views, _):
        at = await begun(views)
        old: list[Change] = [
            Upsert("things", ("a", n), {"name": "old", "data": {"n": n}}) for n in numbers[:there]
        ]
        at = await apply(views, at, Step(position=1, changes=old))
        new: list[Change] = [Upsert("things", ("a", n), {"name": f"{n}"}) for n in sorted(numbers)]
        await apply(views, at, Step(position=2, changes=new))
        assert await served(views) == [
            {
                "kind": "a",
                "id": n,
                "name": f"{n}",
                "data": {"n": n} if n in numbers[:there] else None,
            }
            for n in range(10, 30)
        ]


@pytest.mark.parametrize("copy_min", [1, 1_000], ids=["copied", "inserted"])
@pytest.mark.parametrize(
    "change",
    [
        Upsert("things", ("a", 2**63), {}),
        Upsert("things", ("a", 1), {"name": "nul \x00"}),
        Upsert("things", ("a", 1), {"name": "half a pair \ud800"}),
        Append("things", ("x", 1), {}),
        Append("things", ("a", 2**63), {}),
        Append("things", ("a", "one"), {}),
        Append("things", ("a", 1), {"name": "nul \x00"}),
        Append("things", ("a", 1), {"name": "half a pair \ud800"}),
    ],
    ids=[
        *("too large", "nul", "surrogate", "made already"),
        *("new too large", "new of another type", "new nul", "new surrogate"),
    ],
)
async def test_what_cannot_be_held_is_refused_whole(
    database_url: str, change: Upsert | Append, copy_min: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A refused change leaves rows and checkpoint as they were."""
    monkeypatch.setattr(changeset, "COPY_MIN", copy_min)
    async with opened(database_url) as (views, _):
        at = await begun(views)
        at = await apply(
            views, at, Step(position=1, changes=[Append("things", ("x", 1), {"name": "old"})])
        )
        good = Upsert("things", ("x", 1), {"name": "new"})
        with pytest.raises(ChangeRefused):
            await apply(views, at, Step(position=2, changes=[good, change]))
        assert [row["name"] for row in await served(views)] == ["old"]
        assert [one.position for one in await views.checkpoints()] == [1]


async def test_parked_streams_are_remembered(database_url: str) -> None:
    """The checkpoint names them, and what was skipped is counted."""
    async with opened(database_url) as (views, database):
        at = await begun(views)
        poison = Poison(stream="task-1", position=1, error="no")
        at = await apply(views, at, Step(position=3, poison=[poison], skipped={"task-1": 2}))
        assert at.parked == {"task-1"}
        at = await apply(views, at, Step(position=4, skipped={"task-1": 1}))
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
        live = await apply(
            views, live, Step(position=1, changes=[Upsert("things", ("old", 1), {})])
        )
        new = await views.begin(MODEL, beside=1)
        assert not await views.swap(MODEL, new)
        assert (await served(views))[0]["kind"] == "old"
        new = await apply(views, new, Step(position=1, changes=[Upsert("things", ("new", 1), {})]))
        assert await views.swap(MODEL, new)
        assert await views.swap(MODEL, new)
        assert (await served(views))[0]["kind"] == "new"
        assert [(at.generation, at.live) for at in await views.checkpoints()] == [
            (1, False),
            (2, True),
        ]


_INDEXES = "SELECT indexname FROM pg_indexes WHERE schemaname = 'rm_things_1' ORDER BY 1"
_MANY_INDEXES = structs.replace(
    MODEL,
    tables=(
        structs.replace(THINGS, indexes=("(name)", "USING gin (name gin_trgm_ops)", "(name, id)")),
        structs.replace(COUNTS, indexes=("(n)",)),
    ),
)
_ALL_INDEXES = [
    *("thing_counts_0", "thing_counts_pkey"),
    *("things_0", "things_1", "things_2", "things_pkey"),
]


async def test_indexes_are_made_once_by_whoever_comes(database_url: str) -> None:
    """Three that swap at once make each index once, and all of them serve the generation."""
    async with opened(database_url) as (views, database):
        at = await views.begin(_MANY_INDEXES, beside=0)
        assert (
            await asyncio.gather(*[views.swap(_MANY_INDEXES, at) for _ in range(3)]) == [True] * 3
        )
        assert [row["indexname"] for row in await database.fetch(_INDEXES)] == _ALL_INDEXES


async def test_indexing_may_be_given_up_at_any_moment(database_url: str) -> None:
    """Whatever was made stays, the next one makes the rest."""
    async with opened(database_url) as (views, database):
        at = await views.begin(_MANY_INDEXES, beside=0)
        for n in range(30):
            swapping = asyncio.create_task(views.swap(_MANY_INDEXES, at))
            for _ in range(n * 3):
                await asyncio.sleep(0)
            swapping.cancel()
            await asyncio.wait({swapping})
        assert await views.swap(_MANY_INDEXES, at)
        assert [row["indexname"] for row in await database.fetch(_INDEXES)] == _ALL_INDEXES


async def test_a_generation_that_cannot_be_indexed_is_not_served(database_url: str) -> None:
    """One index that a row does not allow is told as such, however many others are made."""
    table = structs.replace(THINGS, indexes=("(name)", "((1 / id))", "(id)"))
    model = structs.replace(MODEL, tables=(table, COUNTS))
    async with opened(database_url) as (views, _):
        at = await views.begin(model, beside=0)
        at = await apply(
            views, at, Step(position=1, changes=[Upsert("things", ("a", 0), {})]), model
        )
        with pytest.raises(ChangeRefused, match="division by zero"):
            await views.swap(model, at)
        assert [one.live for one in await views.checkpoints()] == [False]


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
            await apply(views, live, Step(position=1))


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


async def test_rows_are_read_after_a_read_that_was_given_up(database_url: str) -> None:
    """A connection whose last user was cancelled, at whatever point, serves the next."""
    async with pool(database_url, size=1) as database:
        views = PgViews(database)
        await begun(views)
        for n in range(40):
            asking = asyncio.create_task(database.fetch(f"SELECT {n} FROM views.things"))  # noqa: S608 - a number
            for _ in range(n):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait({asking})
            assert await served(views) == []


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
        at = await apply(views, at, Step(position=1, changes=[change]), newer)
        assert await views.swap(newer, at)
        assert [row["id"] for row in await database.fetch("SELECT id FROM views.things")] == [7]
