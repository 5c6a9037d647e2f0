"""Takes secrets out of messages: every text in them, whatever it is called."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TypeVar

import msgspec
from msgspec import Struct, inspect

from pandar_daemon.domain.redaction import Redactor

T = TypeVar("T", bound=Struct)


def redacted(message: T, redactor: Redactor) -> T:
    """Return a message without secrets: the same object when there are none.

    A text that thereby becomes longer than its field allows is cut.
    """
    limits = _limits(type(message))
    changes: dict[str, object] = {}
    for name in message.__struct_fields__:
        value = getattr(message, name)
        clean = _clean(value, redactor, limits.get(name))
        if clean is not value:
            changes[name] = clean
    return msgspec.structs.replace(message, **changes) if changes else message


def _clean(value: object, redactor: Redactor, limit: int | None) -> object:
    """Return a value without secrets: the same object when there are none."""
    if type(value) is str:  # what is of a narrower type is a word of ours
        clean = redactor.text(value)
        return value if clean is value else clean[:limit]
    if isinstance(value, Struct):
        return redacted(value, redactor)
    if isinstance(value, dict):
        told = {
            _clean(key, redactor, limit): _clean(item, redactor, limit)
            for key, item in value.items()
        }
        same = all(
            key is old and item is value[old]
            for (key, item), old in zip(told.items(), value, strict=False)
        )
        return value if same and len(told) == len(value) else told
    if isinstance(value, list | tuple):
        items = [_clean(item, redactor, limit) for item in value]
        same = all(item is old for item, old in zip(items, value, strict=True))
        return value if same else type(value)(items)
    return value


@cache
def _limits(kind: type[Struct]) -> Mapping[str, int]:
    """Return how many characters the texts of each field may have, where that is limited."""
    told = inspect.type_info(kind)
    assert isinstance(told, inspect.StructType)  # noqa: S101 - it is one
    return {field.name: limit for field in told.fields if (limit := _limit(field.type)) is not None}


def _limit(kind: inspect.Type) -> int | None:
    if isinstance(kind, inspect.StrType):
        return kind.max_length
    if isinstance(kind, inspect.ListType):
        return _limit(kind.item_type)
    if isinstance(kind, inspect.UnionType):
        limits = [limit for each in kind.types if (limit := _limit(each)) is not None]
        return min(limits, default=None)
    return None
