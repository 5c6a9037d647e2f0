"""Reading a description made of JSON: what refers to what."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce


def references(value: object) -> Iterator[str]:
    """Yield every ``$ref`` in a document."""
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for one in value.values():
            yield from references(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from references(one)


def resolve(document: object, reference: str) -> object:
    """Return what a ``$ref`` refers to; raises ``KeyError`` when there is no such thing."""

    def step(value: object, token: str) -> object:
        assert isinstance(value, dict), reference
        return value[token.replace("~1", "/").replace("~0", "~")]

    root, *tokens = reference.split("/")
    assert root == "#", reference
    return reduce(step, tokens, document)


def keys(value: object) -> object:
    """Return JSON with only its structure: every scalar is ``None``."""
    if isinstance(value, dict):
        return {name: keys(one) for name, one in value.items()}
    return [keys(one) for one in value] if isinstance(value, list) else None
