"""The secrets of an installation that sign webhooks and seal channels."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pandar_daemon.adapters.embedded.data import DataDirectory

NAME: Final = "notify.secret"
OLD: Final = "notify.secret.old"


def masters(data: Path) -> tuple[bytes, ...]:
    """Return the present secret, made at the first call, and the old one while it is kept.

    Raises `CannotStart` for a data directory that cannot be used.
    """
    folder = DataDirectory(data)
    present = folder.secret(NAME).encode()
    old = folder.path / OLD
    return (present, old.read_text("ascii").strip().encode()) if old.exists() else (present,)
