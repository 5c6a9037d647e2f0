"""What `pandar doctor` says of the boxes of a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from pandar_daemon.adapters.sandbox import programs
from pandar_daemon.config import Settings, load
from pandar_daemon.wiring.boxes import box_checks

pytestmark = pytest.mark.xdist_group("isolation")


def _settings(data: Path, level: str) -> Settings:
    return load({"PANDAR_DATA": str(data), "PANDAR_SANDBOX": level}, home=data)


async def test_a_box_that_holds(tmp_path: Path) -> None:
    """It was tried, and what it was made with is told."""
    found = {check.name: check for check in await box_checks(_settings(tmp_path, "bwrap"))}
    assert found["sandbox"].ok
    assert found["bubblewrap"].ok
    assert "version" in found["bubblewrap"].detail


async def test_a_box_that_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reason and what to do are told."""
    monkeypatch.setenv(programs.VARIABLE, "/bin/false")
    found = {check.name: check for check in await box_checks(_settings(tmp_path, "bwrap"))}
    assert found["sandbox"].ok is False
    assert "ended while it was made" in found["sandbox"].detail
    assert 'level = "none"' in found["sandbox"].hint


async def test_no_box_wanted(tmp_path: Path) -> None:
    """That is told, and is not well."""
    found = {check.name: check for check in await box_checks(_settings(tmp_path, "none"))}
    assert found["sandbox"].ok is None
    assert "rights of the user" in found["sandbox"].detail
