"""Keys in what a task is to do: refused, and not taken out, for a task says what somebody meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from events.problem import FieldError
from pandar_daemon.domain.redaction import keys_in

FIELDS: Final = frozenset({"name", "command", "prompt", "description", "git_url"})
_DEPTH_MAX: Final = 20
_ADDRESSES: Final = "notify"
"""The key of metadata whose texts are addresses, which are secrets as a rule."""


def key_faults(values: Mapping[str, object], metadata: object) -> Iterator[FieldError]:
    """Yield a fault for each text that has a secret of a well-known shape."""
    for name, value in values.items():
        if name in FIELDS:
            yield from _faults(name, value)
    if isinstance(metadata, dict):
        for key, value in metadata.items():
            if key != _ADDRESSES:
                yield from _faults(f"metadata.{key}", value)


def _faults(path: str, value: object, depth: int = 0) -> Iterator[FieldError]:
    """Yield those of a value; one that nests deeper than a task's may is refused for that."""
    if isinstance(value, str):
        for kind in dict.fromkeys(keys_in(value)):
            rule = (
                f"must not have a secret in it, as this {kind} seems to be: "
                "store it with `pandar project secret set`, and name it instead"
            )
            yield FieldError(field=path, rule=rule)
    elif isinstance(value, dict) and depth < _DEPTH_MAX:
        for key, item in value.items():
            yield from _faults(path, key)
            yield from _faults(f"{path}.{key}", item, depth + 1)
    elif isinstance(value, list) and depth < _DEPTH_MAX:
        for index, item in enumerate(value):
            yield from _faults(f"{path}[{index}]", item, depth + 1)
