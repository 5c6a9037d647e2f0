"""The agents of this installation."""

from __future__ import annotations

import os
from collections.abc import Mapping

from pandar_daemon.adapters.agents.registry import PREFIX, Registry
from pandar_daemon.config import Settings
from pandar_daemon.ports import Clock


def registry(
    settings: Settings, clock: Clock, environment: Mapping[str, str] | None = None
) -> Registry:
    """Return the agents there are, as ``PANDAR_AGENT_*`` set them; raises `ConfigError`."""
    given = os.environ if environment is None else environment
    return Registry(
        clock.now,
        {name: value for name, value in given.items() if name.startswith(PREFIX)},
        packages=settings.data / "agents",
        path=settings.task_path,
    )
