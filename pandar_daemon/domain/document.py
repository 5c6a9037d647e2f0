"""What is wrong within a decoded document, told by the keys that lead there.

For what people write by hand: a key nobody knows is a fault, and the keys there are are named.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Literal, get_args, get_origin

import msgspec
from msgspec import Struct

from events.problem import FieldError
from events.task import Json
from pandar_daemon.domain.reading import convert


def faults_in(
    value: object, kind: object, said: Mapping[str, str], path: str = ""
) -> Iterator[FieldError]:
    """Yield what is wrong within a decoded value that should be of a type.

    Each fault names the keys that lead to it. ``said`` are words for regular expressions.
    """
    kind = _chosen(kind, value)
    if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, Struct):
        yield from _in_table(value, kind, said, path)
    elif isinstance(value, dict) and get_origin(kind) is dict:
        of_key, of_item = get_args(kind)
        for key, item in value.items():
            yield from _in_value(key, of_key, said, _join(path, key))
            yield from faults_in(item, of_item, said, _join(path, key))
    elif isinstance(value, list) and get_origin(kind) is list:
        for index, item in enumerate(value):
            yield from faults_in(item, get_args(kind)[0], said, f"{path}[{index}]")
    else:
        yield from _in_value(value, kind, said, path)


def _chosen(kind: object, value: object) -> object:
    """Return the one of several kinds that a value is meant to be."""
    if isinstance(value, dict):
        for one in get_args(kind) if get_origin(kind) is not dict else ():
            if get_origin(one) is dict or (isinstance(one, type) and issubclass(one, Struct)):
                return one
    return kind


def _in_table(
    table: Json, kind: type[Struct], said: Mapping[str, str], path: str
) -> Iterator[FieldError]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for key in sorted(table.keys() - fields.keys()):
        rule = f"is not known here; there are {', '.join(fields)}"
        yield FieldError(field=_join(path, key), rule=rule)
    for key, field in fields.items():
        if key in table:
            yield from faults_in(table[key], field.type, said, _join(path, key))
        elif field.required:
            yield FieldError(field=_join(path, key), rule="is required")


def _in_value(
    value: object, kind: object, said: Mapping[str, str], path: str
) -> Iterator[FieldError]:
    fault = convert(value, kind, path)[1]
    if fault is not None:
        fits = (words for pattern, words in said.items() if repr(pattern)[1:-1] in fault.rule)
        rule = next((f"expected {words}" for words in fits), fault.rule)
        literals = (one for one in (kind, *get_args(kind)) if get_origin(one) is Literal)
        choices = next(map(get_args, literals), ())
        if choices and value not in choices:
            rule = f"expected one of {', '.join(choices)}"
        yield FieldError(field=fault.field, rule=rule)


def _join(path: str, key: str) -> str:
    shown = key if re.fullmatch(r"[\w-]+", key) else f'"{key[:100]}"'
    return f"{path}.{shown}".lstrip(".")
