"""Boxes for tests."""

from __future__ import annotations

from pathlib import Path

from pandar_daemon.adapters.sandbox import programs
from pandar_daemon.adapters.sandbox.enclosing import Sandbox


def sandbox_in(data: Path) -> Sandbox | None:
    """Return what makes the boxes of a runner, ``None`` where there is no bubblewrap."""
    found = programs.bubblewrap()
    return Sandbox(data / "sandbox", found) if found else None
