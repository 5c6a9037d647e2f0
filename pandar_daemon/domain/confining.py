"""What a task asks to be confined to, in its metadata: ``sandbox``.

Metadata is checked when a task is filed (`options`); an old event may hold anything, so here a
value that is not what it should be counts as absent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import asdict

from events.confinement import HOSTS_MAX, Confines, Host, Level, Limits
from events.task import Json


class Network(Struct, frozen=True, kw_only=True):
    """Whom a task may call besides its agent's model."""

    allow: Annotated[list[Host], Meta(max_length=HOSTS_MAX)] = []


class Wish(Struct, frozen=True, kw_only=True):
    """Limits as `Limits` has them, those that are stated."""

    cpu: Annotated[float, Meta(gt=0, le=1024)] | None = None
    memory_mb: Annotated[int, Meta(ge=64, le=2**24)] | None = None
    processes: Annotated[int, Meta(ge=4, le=2**16)] | None = None
    disk_mb: Annotated[int, Meta(ge=16, le=2**24)] | None = None
    files: Annotated[int, Meta(ge=64, le=2**20)] | None = None

    def over(self, limits: Limits) -> Limits:
        """Return limits with what is stated here instead."""
        stated = {name: value for name, value in asdict(self).items() if value is not None}
        return msgspec.structs.replace(limits, **stated)


class Confinement(Struct, frozen=True, kw_only=True):
    """The long form of ``metadata.sandbox``; the short one is a `Level`."""

    level: Level | None = None
    limits: Wish = Wish()
    network: Network = Network()


def confines_in(_project: int, metadata: Json) -> Confines:
    """Return what a task's metadata alone says it is confined to; raises nothing."""
    return confined(metadata, Confines(), [])


def confined(metadata: Mapping[str, object], base: Confines, limits: Sequence[Wish]) -> Confines:
    """Return what a task is confined to where ``base`` holds for all; raises nothing.

    Of ``limits`` later ones count more, and those of the task most.
    """
    wish = _read(metadata)
    found = base.limits
    for each in (*limits, wish.limits):
        found = each.over(found)
    hosts = list(dict.fromkeys([*base.hosts, *wish.network.allow]))[:HOSTS_MAX]
    return msgspec.structs.replace(base, level=wish.level or base.level, limits=found, hosts=hosts)


def level_in(metadata: Mapping[str, object]) -> Level | None:
    """Return the level a task's metadata names, ``None`` if it names none that there is."""
    return _read(metadata).level


def _read(metadata: Mapping[str, object]) -> Confinement:
    try:
        found = msgspec.convert(metadata.get("sandbox"), Level | Confinement | None)
    except msgspec.ValidationError:
        return Confinement()
    if isinstance(found, Level):
        return Confinement(level=found)
    return found or Confinement()
