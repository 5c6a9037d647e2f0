"""How a task is confined: by which sandbox, within which limits, and whom it may call.

The owner's file and the task's metadata say so; it goes to the runner with the assignment.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct


class Level(StrEnum):
    """By what a task is confined, the strongest first."""

    BWRAP = "bwrap"  # namespaces of its own: nothing outside can be seen
    LANDLOCK = "landlock"  # only what may be opened is limited; never chosen but by name
    NONE = "none"  # by nothing: it has the rights of the runner's user


ORDER: Final = tuple(Level)
"""The levels, the strongest first."""

HOSTS_MAX: Final = 200
"""Hosts that are named one by one."""

PROTECTED: Final = ("main", "master", "release/*", "production")
"""Branches nothing is pushed to unasked, where a project names none of its own."""

Host = Annotated[str, Meta(min_length=1, max_length=255)]


class Limits(Struct, frozen=True, kw_only=True):
    """What all processes of a task may use together; ``cpu`` in cores, ``None`` is no limit.

    Processes and memory are counted together where the machine lets us make control groups; else
    they hold for each process, and processes for all of the box.
    """

    cpu: Annotated[float, Meta(gt=0, le=1024)] | None = None
    memory_mb: Annotated[int, Meta(ge=64, le=2**24)] = 8_192
    processes: Annotated[int, Meta(ge=4, le=2**16)] = 1_024
    disk_mb: Annotated[int, Meta(ge=16, le=2**24)] = 20_480
    files: Annotated[int, Meta(ge=64, le=2**20)] = 8_192


class Confines(Struct, frozen=True, kw_only=True):
    """What one execution is confined to.

    ``hosts`` may be called, as ``name``, ``name:port`` or ``*.name``; ports 80 and 443 where none
    is named. ``protected`` are patterns of branches that nothing is pushed to unasked. Of the
    hosts, ``private_hosts`` may be on a network of the owner's, or on this machine.
    """

    level: Level = Level.BWRAP
    limits: Limits = Limits()
    hosts: Annotated[list[Host], Meta(max_length=HOSTS_MAX)] = []
    protected: list[str] = msgspec.field(default_factory=lambda: list(PROTECTED))
    private_hosts: Annotated[list[Host], Meta(max_length=HOSTS_MAX)] = []
