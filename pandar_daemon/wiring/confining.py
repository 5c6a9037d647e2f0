"""Boxes on this machine: which there are, whether they hold, and what a runner does without."""

from __future__ import annotations

import tempfile
from pathlib import Path

import structlog
from msgspec.structs import replace

from events.confinement import Level
from pandar_daemon.adapters.process.host import Host
from pandar_daemon.adapters.sandbox import programs
from pandar_daemon.adapters.sandbox.boxes import Boxes
from pandar_daemon.adapters.sandbox.faults import ACCEPT
from pandar_daemon.adapters.sandbox.selftest import fault
from pandar_daemon.config import ConfigError, Settings
from pandar_daemon.configuration import Configuration
from pandar_daemon.services.confines import House

log = structlog.get_logger(__name__)

_NOT_FOUND = "there is no bubblewrap: install it (apt-get install bubblewrap)"


def chosen(configuration: Configuration, settings: Settings) -> Configuration:
    """Return the configuration with the level that ``PANDAR_SANDBOX`` names, if it names one.

    Raises `ConfigError` for one that is none.
    """
    if settings.sandbox is None:
        return configuration
    try:
        level = Level(settings.sandbox)
    except ValueError:
        known = ", ".join(Level)
        raise ConfigError(f"PANDAR_SANDBOX={settings.sandbox!r}: expected one of {known}") from None
    return replace(configuration, sandbox=replace(configuration.sandbox, level=level))


def house_of(configuration: Configuration, settings: Settings) -> House:
    """Return the rules of this runner's machine."""
    table = configuration.sandbox
    return House(
        weakest=table.level,
        readable=tuple(str(Path(path).expanduser()) for path in table.readable),
        path=settings.task_path,
    )


def host_of(data: Path) -> Host:
    """Return what starts processes here, in boxes where there can be any."""
    return Host(data, boxes=Boxes(data / "sandbox", programs.bubblewrap()))


async def unheld(level: Level) -> str:
    """Return why boxes of a level do not hold on this machine; empty when they do."""
    if level is Level.NONE:
        return ""
    if level is Level.BWRAP and programs.bubblewrap() is None:
        return f"{_NOT_FOUND}, {ACCEPT}"
    with tempfile.TemporaryDirectory(prefix="pandar-", ignore_cleanup_errors=True) as folder:
        return await fault(host_of(Path(folder)), level)


async def require(level: Level) -> None:
    """Return when tasks can be confined so; raises `ConfigError` that says what to do."""
    if level is Level.NONE:
        log.warning("sandbox.none", hint="every task has the rights of the user who runs this")
        return
    why = await unheld(level)
    if why:
        raise ConfigError(f"tasks cannot be confined on this machine: {why}")
    log.info("sandbox.holds", level=level)
