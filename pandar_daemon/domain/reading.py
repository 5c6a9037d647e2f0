"""From bytes to a command: every way a body can be wrong, told by field and rule.

Reading is strict: unknown, missing and repeated fields, NUL characters (the store cannot hold
them), numbers that are none. All faults of a body's own fields are told at once.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import islice
from typing import Final, TypeGuard, TypeVar, get_args

import msgspec
from msgspec import Struct

from events.problem import FieldError
from events.task import Json
from pandar_daemon.domain.plain_words import plain
from pandar_daemon.domain.refusals import Invalid, Malformed, Refusal

T = TypeVar("T")

NO_NUL: Final = "must not contain NUL characters"
FAULTS_MAX: Final = 20
"""Faults told of one request, and 100 characters of a name: an answer stays small."""

REQUIRED: Final = "is required"
UNKNOWN: Final = "is not a field of this request"
_AFTER_KEY: Final = re.compile(rb'"[ \t\r\n]*:')
"""Stands after each key, and perhaps within a text."""
_MISSING: Final = "Object missing required field"
_UNKNOWN: Final = "Object contains unknown field"


def decode(body: bytes, kind: type[T]) -> T:
    """Return the value of type ``kind`` that a JSON body holds.

    An empty body is ``{}`` for a command without required fields. Raises `Malformed` for what is
    no JSON, `Invalid` naming every field at fault; nothing else, whatever the bytes.
    """
    if not body.strip():
        body = _empty(kind)
    try:
        value = _read(body, kind)
        _scrutinize(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise problem_of(error) from None
    except RecursionError:
        raise Malformed("the JSON is nested too deeply") from None
    return value


def problem_of(error: msgspec.MsgspecError | UnicodeDecodeError) -> Refusal:
    """Return what msgspec found as `Invalid` naming field and rule, or as `Malformed`."""
    if isinstance(error, UnicodeDecodeError):
        return Malformed("the body is not UTF-8")
    if not isinstance(error, msgspec.ValidationError):
        return Malformed(str(error).replace("Input data was truncated", "the JSON ends too early"))
    return Invalid(fault_of(str(error)))


def invalid(faults: Iterable[FieldError]) -> Invalid:
    """Return the refusal that names the first `FAULTS_MAX` faults."""
    return Invalid(
        *(FieldError(field=f.field[:100], rule=f.rule) for f in islice(faults, FAULTS_MAX))
    )


def fault_of(message: str, path: str = "") -> FieldError:
    """Return a message of msgspec's about the value at ``path`` as a field and a rule.

    The rule is in plain words, at most 200 characters.
    """
    what, _, place = message.rpartition(" - at `") if " - at `" in message else (message, "", "")
    where = path + place.rpartition("$")[2].rstrip("`").replace("[...]", ".*")
    for prefix, rule in ((_MISSING, REQUIRED), (_UNKNOWN, UNKNOWN)):
        if what.startswith(prefix):
            return FieldError(field=_join(where, what[len(prefix) :].strip(" `")), rule=rule)
    return FieldError(field=where.lstrip(".") or "body", rule=plain(what)[:200])


def convert(value: object, kind: object, path: str) -> tuple[object, FieldError | None]:
    """Return ``value`` as ``kind``, or ``None`` and the first rule it breaks."""
    try:
        return msgspec.convert(value, kind), None
    except msgspec.ValidationError as error:
        fault = fault_of(str(error), path)
        choices = _choices(kind)
        if str(error).startswith("Invalid enum value") and choices and fault.field == path:
            fault = FieldError(field=path, rule=f"must be one of {choices}")
        return None, fault


def nul_faults(value: object, path: str) -> Iterator[FieldError]:
    """Yield a fault for every text within a JSON value that contains NUL, keys included."""
    if isinstance(value, str) and "\0" in value:
        yield FieldError(field=path.replace("\0", "\\0") or "body", rule=NO_NUL)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from nul_faults(key, _join(path, str(key)))
            yield from nul_faults(item, _join(path, str(key)))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from nul_faults(item, f"{path}[{index}]")


def _empty(kind: object) -> bytes:
    if _is_struct(kind) and not any(field.required for field in msgspec.structs.fields(kind)):
        return b"{}"
    raise Malformed("the body is empty; a JSON object is expected")


def _is_struct(kind: object) -> TypeGuard[type[Struct]]:
    return isinstance(kind, type) and issubclass(kind, Struct)


def _read(body: bytes, kind: type[T]) -> T:
    """Return the value; raises with every fault of the body's own fields, else as msgspec does."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as first:
        value = _untyped(body)
        faults = list(_faults(value, kind)) if isinstance(value, dict) and _is_struct(kind) else []
        raise (invalid(faults) if faults else first) from None


def _untyped(body: bytes) -> object:
    try:
        return msgspec.json.decode(body)
    except msgspec.ValidationError:  # a number out of range: the first error says better where
        return None


def _scrutinize(body: bytes) -> None:
    """Find what a decoder lets pass: keys that occur twice, and NUL characters."""
    if b"\\u0000" not in body and _keys(_untyped(body)) == len(_AFTER_KEY.findall(body)):
        return  # as many keys as were written, at most: none was written twice
    value = json.loads(body, object_pairs_hook=_unrepeated)
    if b"\\u0000" in body:
        faults = list(nul_faults(value, ""))
        if faults:
            raise invalid(faults)


def _keys(value: object) -> int:
    """Return how many keys the objects within a JSON value have."""
    if isinstance(value, dict):
        return len(value) + sum(map(_keys, value.values()))
    return sum(map(_keys, value)) if isinstance(value, list) else 0


def _unrepeated(pairs: list[tuple[str, object]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        times = Counter(name for name, _ in pairs)
        raise invalid(
            FieldError(field=name, rule="occurs more than once")
            for name in times
            if times[name] > 1
        )
    return found


def _faults(value: Json, kind: type[Struct]) -> Iterator[FieldError]:
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    for name, field in fields.items():
        if field.required and name not in value:
            yield FieldError(field=name, rule=REQUIRED)
    for name, item in value.items():
        if name not in fields:
            yield FieldError(field=name, rule=UNKNOWN)
        elif fault := convert(item, fields[name].type, name)[1]:
            yield fault


def _choices(kind: object) -> str:
    kinds = (kind, *get_args(kind))
    enums = [k for k in kinds if isinstance(k, type) and issubclass(k, Enum)]
    return ", ".join(str(member.value) for enum in enums for member in enum)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}".lstrip(".")
