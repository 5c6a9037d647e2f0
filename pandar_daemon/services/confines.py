"""The box of an execution: what it may see and touch, and whether it may run here at all."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from events.confinement import ORDER, Confines, Level
from events.running import Assignment
from pandar_daemon.domain.egress import proxy_variables
from pandar_daemon.ports import Box
from pandar_daemon.ports.sandbox import CONTROL, PROXY, PROXY_URL
from pandar_daemon.services.enclosing import Reach

_AUTO: Final = "auto"


class House(Struct, frozen=True, kw_only=True):
    """The rules of a runner's machine: ``weakest`` is the least it confines tasks to.

    ``readable`` are folders that every box may read, beside those of ``PATH``.
    """

    weakest: Level = Level.BWRAP
    readable: tuple[str, ...] = ()
    path: str = ""


DOORS: Final = (PROXY, CONTROL)
NO_AGENT: Final = (
    "sandbox landlock has no way out, so an agent cannot reach its model in it: it is for"
    " plain commands, agents need level bwrap"
)


def box_of(
    assignment: Assignment, house: House, reach: Reach, *, doors: tuple[str, ...] = DOORS
) -> Box | None:
    """Return the box of a process of an execution, ``None`` where the owner wants none.

    Raises ``PermissionError`` for a task that is to be confined less than this runner allows, or
    that runs unconfined and would be stopped at nothing, or as `admit_agent` does.
    """
    confines = assignment.confines
    if assignment.prompt:
        admit_agent(assignment)
    if ORDER.index(confines.level) > ORDER.index(house.weakest):
        raise PermissionError(
            errno.EPERM,
            f"the task asks for sandbox {confines.level}, this runner allows no less than"
            f" {house.weakest} (level under [sandbox] in its pandar.toml)",
            assignment.name,
        )
    if confines.level is Level.NONE and assignment.rules.policy == _AUTO:
        raise PermissionError(
            errno.EPERM,
            "approval_policy auto is not for sandbox none: nobody would stop it at anything",
            assignment.name,
        )
    return enclosed_in(confines, house, reach, doors=doors)


def enclosed_in(
    confines: Confines, house: House, reach: Reach, *, doors: tuple[str, ...]
) -> Box | None:
    """Return the box of a process that is confined so, whoever lets it; ``None`` for no box.

    Of level landlock there are no doors, so nobody behind them.
    """
    if confines.level is Level.NONE:
        return None
    is_fenced = confines.level is Level.LANDLOCK
    return Box(
        level=confines.level,
        writable=(reach.folder, reach.home),
        readable=(*_places(house.path), *house.readable, *reach.readable),
        protected=reach.protected,
        overlays={} if is_fenced else reach.overlays,
        doors=() if is_fenced else doors,
        limits=confines.limits,
    )


def admit_agent(assignment: Assignment) -> None:
    """Raise ``PermissionError`` where an agent could not reach its model."""
    if assignment.confines.level is Level.LANDLOCK:
        raise PermissionError(errno.EPERM, NO_AGENT, assignment.name)


def inside(environment: Mapping[str, str], box: Box | None, shims: str) -> dict[str, str]:
    """Return an environment for a box: its doors are found, and ``shims`` that lead there."""
    if box is None:
        return dict(environment)
    first = shims if CONTROL in box.doors else ""
    path = ":".join(filter(None, (first, environment.get("PATH", ""))))
    proxied = proxy_variables(PROXY_URL) if PROXY in box.doors else {}
    return {**proxied, **environment, "PATH": path}


def _places(path: str) -> tuple[str, ...]:
    """Return the folders of a ``PATH`` that are there."""
    return tuple(
        str(Path(place).resolve()) for place in path.split(":") if place and Path(place).is_dir()
    )
