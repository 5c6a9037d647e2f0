"""Where the programs of agents are, as far as no system has them: what a box must show."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

_SYSTEM: Final = tuple(map(Path, ("/usr", "/bin", "/sbin", "/lib", "/lib64")))
_OURS: Final = ("events", "pandar_daemon", "projections")


def of_program(argv0: str, path: str) -> tuple[str, ...]:
    """Return what a program is made of: all of its installation, if it has one of its own."""
    found = shutil.which(argv0, path=path)
    if found is None:
        return ()
    real = Path(found).resolve()
    prefix = real.parent.parent if real.parent.name == "bin" else real
    return outside((Path(found), prefix if len(prefix.parts) > 2 else real))  # noqa: PLR2004


def of_python() -> tuple[str, ...]:
    """Return what this Python is made of, and our own code."""
    folders = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.base_prefix).resolve()]
    for name in _OURS:
        spec = find_spec(name)
        if spec is not None and spec.submodule_search_locations:
            folders += map(Path, spec.submodule_search_locations)
    return outside(folders)


def outside(paths: Iterable[Path]) -> tuple[str, ...]:
    """Return, once each, those that a system does not have at its usual places."""
    foreign = (p for p in paths if not any(p.is_relative_to(place) for place in _SYSTEM))
    return tuple(dict.fromkeys(str(path) for path in foreign))
