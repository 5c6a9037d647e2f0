"""What a decoder says about a value, in words of people who never saw Python."""

from __future__ import annotations

import re
from typing import Final

TIME: Final = "a time with its zone, such as 2026-01-31T09:00:00Z"

_KINDS: Final = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "datetime": "a time with its zone",
    "uuid": "a UUID",
    "null": "nothing",
}
_PARTS: Final = {"str": "character", "array": "item", "object": "field"}
_BOUNDS: Final = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}
_WHOLE: Final = {
    "Invalid RFC3339 encoded datetime": f"expected {TIME}",
    "Expected `datetime` with a timezone component": f"expected {TIME}",
    "Invalid UUID": "expected a UUID",
    "Integer value out of range": "this whole number is out of range",
    "Number out of range": "this number is out of range",
}
_LENGTH: Final = re.compile(r"Expected `([\w |]+)` of length (?:(>=|<=) )?(\d+)")
_BOUND: Final = re.compile(r"Expected `([\w |]+)` (>=|<=|>|<) (\S+)")
_KIND: Final = re.compile(r"Expected `([\w |]+)`(?:, got `([\w |]+)`)?")
_CHOICE: Final = re.compile(r"Invalid (?:enum )?value (.+)", re.DOTALL)


def plain(message: str) -> str:
    """Return a message of msgspec's in plain words; one it does not know stays as it is."""
    if message in _WHOLE:
        return _WHOLE[message]
    if match := _LENGTH.fullmatch(message):
        return f"expected {_kinds(match[1])} of {_length(match[1], match[2], int(match[3]))}"
    if match := _BOUND.fullmatch(message):
        return f"expected {_kinds(match[1])}, {_BOUNDS[match[2]]} {match[3]}"
    if match := _KIND.fullmatch(message):
        return f"expected {_kinds(match[1])}" + (f", got {_kinds(match[2])}" if match[2] else "")
    if match := _CHOICE.fullmatch(message):
        return f"{match[1]} is none of the values there are"
    return message[:1].lower() + message[1:].replace("`", "")


def _kinds(names: str) -> str:
    return " or ".join(_KINDS.get(name, name) for name in names.split(" | "))


def _length(names: str, bound: str | None, number: int) -> str:
    part = next((_PARTS[name] for name in names.split(" | ") if name in _PARTS), "item")
    return f"{_BOUNDS[bound or '>=']} {number} {part}{'' if number == 1 else 's'}"
