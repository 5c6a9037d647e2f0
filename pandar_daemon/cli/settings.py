"""The settings of this process, with what the command line says on top."""

from __future__ import annotations

import os
from pathlib import Path

from pandar_daemon.config import Settings, load


def settings(data: Path | None = None) -> Settings:
    """Return the environment's settings; ``data`` overrides ``PANDAR_DATA``.

    Raises `pandar_daemon.config.ConfigError`.
    """
    environment = dict(os.environ)
    if data is not None:
        environment["PANDAR_DATA"] = str(data.expanduser().absolute())
    return load(environment, home=Path.home())
