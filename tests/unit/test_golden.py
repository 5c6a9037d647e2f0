"""Every event ever shipped can be read for ever: golden files that never change."""

from __future__ import annotations

import msgspec
import pytest

from events import codec
from events.codec import EVENTS
from tests.generate import GOLDEN, SUMS, sha256
from tests.support.given import envelope

FILES = sorted(path.name for path in GOLDEN.glob("*.json"))


def _parsed(name: str) -> tuple[str, int]:
    type_, _, version = name.removesuffix(".json").rpartition(".v")
    return type_, int(version)


def test_every_version_has_its_golden() -> None:
    """There is one file for each version of each event, from the first to the present one."""
    versions = {
        f"{name}.v{version}.json"
        for name, event in EVENTS.items()
        for version in range(1, event.SCHEMA_VERSION + 1)
    }
    assert set(FILES) == versions


def test_goldens_never_change() -> None:
    """Each file has the checksum it was shipped with."""
    sums = "".join(f"{sha256((GOLDEN / name).read_text('utf-8'))}  {name}\n" for name in FILES)
    assert SUMS.read_text("utf-8") == sums


@pytest.mark.parametrize("name", FILES)
def test_golden_is_read(name: str) -> None:
    """What was shipped is read by this release, and says what it said.

    Of the present version everything is written again as it was; fields added since have their
    defaults. An older version is brought up to date.
    """
    type_, version = _parsed(name)
    text = (GOLDEN / name).read_bytes()
    event = codec.decode(envelope(type_, text, version))
    assert isinstance(event, EVENTS[type_])
    again = msgspec.json.decode(codec.encode(event))
    if version == event.SCHEMA_VERSION:
        shipped = msgspec.json.decode(text)
        assert _as_shipped(again, shipped) == shipped
        added = set(again) - set(shipped)
        assert {f.name for f in msgspec.structs.fields(event) if f.required} & added == set()


def _as_shipped(again: object, shipped: object) -> object:
    """Return what is written now without the fields that were added since, at any depth."""
    if isinstance(again, dict) and isinstance(shipped, dict):
        return {field: _as_shipped(again[field], shipped[field]) for field in shipped}
    return again


@pytest.mark.parametrize("name", EVENTS)
def test_golden_says_everything(name: str) -> None:
    """A golden of a new version has every field of the event, none left to its default."""
    shipped = msgspec.json.decode(
        (GOLDEN / f"{name}.v{EVENTS[name].SCHEMA_VERSION}.json").read_bytes()
    )
    known = {"type", *EVENTS[name].__struct_fields__}
    assert set(shipped) <= known
    assert shipped["type"] == name
