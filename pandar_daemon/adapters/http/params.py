"""What stands in the path, the query and the headers of a request, checked and typed."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Final, TypeVar

import msgspec
from aiohttp import web
from msgspec import Struct

from events.ids import ID_MAX, TOKEN
from events.instant import to_utc
from events.problem import FieldError
from pandar_daemon.domain.reading import fault_of, invalid, nul_faults
from pandar_daemon.domain.refusals import Invalid, NotFound

_DIGITS_MAX: Final = 19  # of ID_MAX
_VERSION: Final = re.compile(r"[0-9]{1,9}")
_QUOTED: Final = re.compile(r'"([^"]*)"')


class Query(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of the query strings: a misspelt parameter is refused, never ignored."""


Q = TypeVar("Q", bound=Query)
_LISTS: Final = frozenset({"status", "priority", "type"})


def query(request: web.Request, shape: type[Q]) -> Q:
    """Return the query string as its shape; ``a=1&a=2`` and ``a=1,2`` are one for the lists.

    Raises `Invalid` naming the parameter.
    """
    values = {
        name: text.split(",") if name in _LISTS else text
        for name in request.query
        for text in (",".join(request.query.getall(name)),)
    }
    faults = list(nul_faults(values, ""))
    if faults:
        raise invalid(faults)
    try:
        return msgspec.convert(values, shape, strict=False)
    except msgspec.ValidationError as error:
        raise Invalid(fault_of(str(error))) from error


def _whole(text: str, field: str) -> int:
    if not (text.isascii() and text.isdecimal()):
        raise Invalid(FieldError(field=field, rule="a whole number from 1"))
    return int(text) if len(text) <= _DIGITS_MAX else ID_MAX + 1


def id_in_path(request: web.Request, what: str) -> int:
    """Return the ``{id}`` of the path.

    Raises `Invalid` for one that is not a number, `NotFound` for one that cannot exist.
    """
    text = request.match_info["id"]
    number = _whole(text, "id")
    if not 1 <= number <= ID_MAX:
        raise NotFound(f"{what} {text[: _DIGITS_MAX + 1]}")
    return number


def header_number(request: web.Request, name: str) -> int | None:
    """Return a header that holds a log position; raises `Invalid` naming it."""
    text = request.headers.get(name)
    if text is None:
        return None
    number = _whole(text.strip(), name)
    if number > ID_MAX:
        raise Invalid(FieldError(field=name, rule=f"at most {ID_MAX}"))
    return number


def moment(text: str, field: str) -> int | datetime:
    """Return a log position or a time; raises `Invalid` for a naive time or anything else."""
    if text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MAX:
        return min(int(text), ID_MAX)
    try:
        # a plus sign in a query string means a space, yet in a time it is meant as a plus
        return to_utc(datetime.fromisoformat(text.replace(" ", "+")))
    except (ValueError, OverflowError) as error:
        rule = "a log position, or a time with its zone such as 2026-01-31T09:00:00Z"
        raise Invalid(FieldError(field=field, rule=rule)) from error


def idempotency_key(request: web.Request) -> str | None:
    """Return the ``Idempotency-Key``, quoted or bare; raises `Invalid` for a malformed one."""
    text = request.headers.get("Idempotency-Key")
    if text is None:
        return None
    quoted = _QUOTED.fullmatch(text.strip())
    key = quoted[1] if quoted else text.strip()
    if not TOKEN.fullmatch(key):
        rule = "1 to 64 of the characters A-Z a-z 0-9 _ -"
        raise Invalid(FieldError(field="Idempotency-Key", rule=rule))
    return key


def if_match(request: web.Request) -> int | None:
    """Return the version ``If-Match`` asks for, ``None`` for none or ``*``; raises `Invalid`."""
    text = request.headers.get("If-Match", "*").strip()
    if text == "*":
        return None
    quoted = _QUOTED.fullmatch(text)
    if not quoted or not _VERSION.fullmatch(quoted[1]):
        rule = 'one ETag as an answer gave it, such as "3"'
        raise Invalid(FieldError(field="If-Match", rule=rule))
    return int(quoted[1])


def etag(version: object) -> str:
    """Return a version as an entity tag."""
    return f'"{version}"'


def unchanged(request: web.Request, tag: str) -> bool:
    """Whether ``If-None-Match`` says the client has this version."""
    known = request.headers.get("If-None-Match", "")
    tags = (part.strip().removeprefix("W/") for part in known.split(","))
    return any(part in (tag, "*") for part in tags)
