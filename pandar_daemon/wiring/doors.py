"""What is behind the doors of boxes: the proxy, the broker, and the shims that lead there."""

from __future__ import annotations

from collections.abc import Mapping

from pandar_daemon.adapters.control.server import ControlDoors
from pandar_daemon.adapters.control.shims import made
from pandar_daemon.adapters.egress.proxy import EgressProxy
from pandar_daemon.adapters.sandbox.programs import python
from pandar_daemon.services.openings import Openings, Tool
from pandar_daemon.wiring.parts import Parts


def openings(parts: Parts) -> Openings:
    """Return what serves the doors of this runner's boxes; raises ``OSError``."""
    settings, configuration = parts.settings, parts.configuration
    shims = made(settings.data / "shims", path=settings.task_path, interpreter=python())

    def tools(project_id: int) -> Mapping[str, Tool]:
        return {
            name: Tool(
                argv=tuple(table.argv),
                secrets=tuple(table.secrets),
                hosts=tuple(table.hosts),
                env=table.env,
                workspace=table.workspace,
                timeout_sec=table.timeout_sec,
            )
            for name, table in configuration.tools_for(project_id).items()
        }

    return Openings(
        control=ControlDoors(),
        egress=EgressProxy(),
        overlays=shims.overlays,
        shims=shims.path,
        tools=tools,
    )
