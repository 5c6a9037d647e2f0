"""Messages that name some fields of a thing and leave the others out."""

from __future__ import annotations

from msgspec import UNSET, Struct

from events.task import Json


def stated(message: Struct) -> Json:
    """Return the fields a message gives a value, ``None`` included."""
    return {
        field: value
        for field in message.__struct_fields__
        if (value := getattr(message, field)) is not UNSET
    }


def changed(message: Struct, state: Struct) -> Json:
    """Return the fields a message gives another value than ``state`` has."""
    return {
        field: value for field, value in stated(message).items() if value != getattr(state, field)
    }
