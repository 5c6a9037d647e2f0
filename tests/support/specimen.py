"""A specimen of any message: every field set, to the same value in every run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TypeVar, cast
from uuid import UUID

from msgspec import inspect

T = TypeVar("T")

AT = datetime(2026, 1, 31, 9, 8, 7, 654321, tzinfo=UTC)
ID = UUID("0195512a-7c00-7000-8000-00000000abcd")
JSON = {"text": "žlutý kůň", "number": 1.5, "flag": True, "nothing": None, "list": [1, {"a": "b"}]}

_VALUES: dict[type[inspect.Type], object] = {
    inspect.IntType: 7,
    inspect.FloatType: 1.25,
    inspect.BoolType: True,
    inspect.DateTimeType: AT,
    inspect.UUIDType: ID,
    inspect.DictType: JSON,
}


def specimen(kind: type[T]) -> T:
    """Return an instance of a Struct class with every field set."""
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return cast("T", _struct(info))


def _struct(info: inspect.StructType) -> object:
    return info.cls(**{field.name: _value(field.type, field.name) for field in info.fields})


def _value(kind: inspect.Type, name: str) -> object:  # noqa: PLR0911 - a table
    match kind:
        case inspect.StrType():
            return f"a {name} — “žluťoučký”"
        case inspect.StructType():
            return _struct(kind)
        case inspect.EnumType():
            return list(kind.cls)[-1]
        case inspect.Metadata():
            return _value(kind.type, name)
        case inspect.ListType():
            return [_value(kind.item_type, name)]
        case inspect.UnionType():
            return _value(kind.types[0], name)
        case _:
            return _VALUES[type(kind)]
