"""The DDL of read models: a schema for each generation, views on the ones being served."""

from __future__ import annotations

from collections.abc import Iterator

from projections.base import ReadModel, Table

SERVED = "views"


def schema_of(model: str, generation: int) -> str:
    """Return the schema a generation lives in: ``rm_tasks_1``."""
    return f"rm_{model}_{generation}"


def creation(model: ReadModel, generation: int) -> Iterator[str]:
    """Return the statements that make an empty generation, without indexes."""
    schema = schema_of(model.name, generation)
    yield f"SELECT create_generation('{schema}')"
    for table in model.tables:
        columns = ", ".join(f"{name} {type_}" for name, type_ in table.columns)
        key = ", ".join(table.key)
        yield f"CREATE TABLE {schema}.{table.name} ({columns}, PRIMARY KEY ({key}))"


def indexing(schema: str, table: Table) -> list[str]:
    """Return the statements that index a table, the slow first; harmless where they ran before.

    Indexes are made last: filling an indexed table takes several times as long.
    """
    indexes = enumerate(table.indexes)
    return [
        f"CREATE INDEX IF NOT EXISTS {table.name}_{n} ON {schema}.{table.name} {index}"
        for n, index in sorted(indexes, key=lambda one: _is_quick(one[1]))
    ]


def slow_first(table: Table) -> bool:
    """Sort tables by how long their indexes take: texts' first, lest one is left for the end."""
    return all(_is_quick(index) for index in table.indexes)


def _is_quick(index: str) -> bool:
    return not index.startswith("USING gin")


def serving(model: ReadModel, generation: int) -> Iterator[str]:
    """Return the statements that show a generation's tables in schema ``views``."""
    schema = schema_of(model.name, generation)
    for table in model.tables:
        yield f"DROP VIEW IF EXISTS {SERVED}.{table.name}"
        yield f"CREATE VIEW {SERVED}.{table.name} AS SELECT * FROM {schema}.{table.name}"  # noqa: S608 - our own names


def selection(table: Table) -> str:
    """Return the query for all rows of a table being served, its columns in order."""
    return f"SELECT {', '.join(name for name, _ in table.columns)} FROM {SERVED}.{table.name}"  # noqa: S608 - our own names
