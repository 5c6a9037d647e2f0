"""A host for process trees and a folder they run in."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from pandar_daemon.adapters.process.host import Host


@pytest.fixture
def cwd(tmp_path: Path) -> Path:
    """Return the folder trees run in."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
async def host(tmp_path: Path) -> AsyncIterator[Host]:
    """Return a host that kills all it started when the test is over."""
    made = Host(tmp_path / "data", grace_sec=0.3)
    yield made
    await made.sweep()
