"""The boxes of one runner, each made as its level says."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path

from events.confinement import Level
from pandar_daemon.adapters.sandbox.cgroups import Cgroups
from pandar_daemon.adapters.sandbox.enclosing import Enclosure, Sandbox
from pandar_daemon.adapters.sandbox.fencing import Fences
from pandar_daemon.ports.processes import Spec


class Boxes:
    """All there are; ``bwrap`` is where bubblewrap is, if it is anywhere."""

    def __init__(self, folder: Path, bwrap: str | None) -> None:
        self._cgroups = Cgroups(folder)
        self._sandbox = Sandbox(folder, bwrap, self._cgroups) if bwrap else None
        self._fences = Fences(self._cgroups)

    def sweep(self) -> None:
        """Remove what boxes of an earlier, killed runner left."""
        self._cgroups.sweep()

    def enclose(self, spec: Spec, tags: Mapping[str, str]) -> Enclosure:
        """Return how to start a specification that has a box; raises ``OSError``."""
        level = None if spec.box is None else spec.box.level
        if level is Level.LANDLOCK:
            return self._fences.enclose(spec, tags)
        if level is Level.BWRAP and self._sandbox is not None:
            return self._sandbox.enclose(spec, tags)
        raise OSError(errno.ENOTSUP, "there is no such sandbox on this machine", spec.argv[0])
