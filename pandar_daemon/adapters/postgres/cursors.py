"""Where a page ends: the last row's sort key and id, as an opaque text."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from events.problem import FieldError
from pandar_daemon.domain.refusals import Invalid

SortKey = str | int | float | datetime
T = TypeVar("T", bound=SortKey)


class Cursor(Struct, frozen=True, array_like=True):
    """The order it belongs to, and the last row of the page before."""

    sort_by: str
    descending: bool
    key: str | float | int
    id: int


_DECODER: Final = msgspec.json.Decoder(Cursor)


def written(sort_by: str, key: SortKey, id_: int, *, descending: bool) -> str:
    """Return the cursor that continues after a row; base64url without padding."""
    plain = key.isoformat() if isinstance(key, datetime) else key
    json = msgspec.json.encode(Cursor(sort_by, descending, plain, id_))
    return base64.urlsafe_b64encode(json).rstrip(b"=").decode()


def read(text: str, sort_by: str, kind: type[T], *, descending: bool) -> tuple[T, int]:
    """Return the sort key and id a cursor stands for.

    Raises `Invalid` when it is not one of ours or belongs to another order.
    """
    try:
        padded = text + "=" * (-len(text) % 4)
        cursor = _DECODER.decode(base64.b64decode(padded, altchars=b"-_", validate=True))
        key = msgspec.convert(cursor.key, kind)
    except (ValueError, binascii.Error, msgspec.MsgspecError) as error:
        raise Invalid(FieldError(field="cursor", rule="as a page before gave it")) from error
    naive = isinstance(key, datetime) and key.tzinfo is None
    if (cursor.sort_by, cursor.descending) != (sort_by, descending) or naive:
        raise Invalid(FieldError(field="cursor", rule="from a page in the same order"))
    if not 0 <= cursor.id < 2**63 or (isinstance(key, int) and not -(2**31) <= key < 2**31):
        raise Invalid(FieldError(field="cursor", rule="as a page before gave it"))
    return key, cursor.id
