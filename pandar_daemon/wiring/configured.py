"""What ``pandar.toml`` says, in the words of those who need it."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Mapping

from pandar_daemon.configuration import AgentTable, Configuration


def gates_of(configuration: Configuration) -> Callable[[int | None], Collection[str]]:
    """Return who tells the gates a task of a project may name; of any, when it is not known."""
    everywhere = {
        gate
        for project in (None, *map(int, configuration.projects))
        for gate in configuration.gates_known(project)
    }

    def known(project_id: int | None) -> Collection[str]:
        return everywhere if project_id is None else configuration.gates_known(project_id)

    return known


def agent_settings(agents: Mapping[str, AgentTable], prefix: str) -> dict[str, str]:
    """Return the tables of agents as the variables that would say the same."""
    found: dict[str, str] = {}
    for name, table in agents.items():
        begin = f"{prefix}{name.upper().replace('-', '_')}_"
        told = {
            "COMMAND": shlex.join(table.argv),
            "MODEL": table.model,
            "BASE_URL": table.base_url,
            "DRIVER": table.driver,
            "KEY_HEADER": table.key_header,
            "KEY_INSIDE": "yes" if table.key_inside else None,
            "HOSTS": " ".join(table.hosts),
            "PATHS": " ".join(table.paths),
            "TELLS_USAGE": None if table.tells_usage else "no",
            **{f"ENV_{variable}": value for variable, value in table.env.items()},
        }
        found |= {f"{begin}{key}": value for key, value in told.items() if value}
    return found
