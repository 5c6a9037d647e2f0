"""Boxes for tests."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from events.confinement import Level
from pandar_daemon.adapters.sandbox import programs
from pandar_daemon.adapters.sandbox.boxes import Boxes
from pandar_daemon.wiring.confining import unheld

UNHELD = "PANDAR_TEST_UNHELD"
"""In the environment: why no box holds here; absent where one does."""


def fault_here() -> str:
    """Return why no box holds on this machine; empty where one does."""
    return asyncio.run(unheld(Level.BWRAP))


def boxes_in(data: Path) -> Boxes:
    """Return what makes the boxes of a runner; skips the test where none holds."""
    if UNHELD in os.environ:
        pytest.skip("no box holds here")
    return Boxes(data / "sandbox", programs.bubblewrap())
