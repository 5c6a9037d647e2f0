"""Boxes for tests."""

from __future__ import annotations

from pathlib import Path

from pandar_daemon.adapters.sandbox import programs
from pandar_daemon.adapters.sandbox.boxes import Boxes


def boxes_in(data: Path) -> Boxes:
    """Return what makes the boxes of a runner, of those levels that can be had here."""
    return Boxes(data / "sandbox", programs.bubblewrap())
