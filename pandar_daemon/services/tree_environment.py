"""What is told to whatever runs in a task's folder, by its environment."""

from __future__ import annotations

from typing import Final

from pandar_daemon.services.git import EMAIL, NAME, as_environment

PORTS: Final = range(20_000, 32_000, 20)
"""Where the ports a task may take begin: twenty for each, below those the kernel gives out."""
_SETTINGS: Final = {
    "gc.auto": "0",
    "maintenance.auto": "false",
    "advice.detachedHead": "false",
    "push.default": "current",
}


def environment_of(task_id: int, *, clone: bool) -> dict[str, str]:
    """Return its ports and, for a clone, git's settings: those in ``.git`` cannot be changed."""
    ports = {"PANDAR_PORT_BASE": str(PORTS[task_id % len(PORTS)])}
    if not clone:
        return ports
    return {
        **ports,
        **as_environment(_SETTINGS),
        "GIT_AUTHOR_NAME": NAME,
        "GIT_AUTHOR_EMAIL": EMAIL,
        "GIT_COMMITTER_NAME": NAME,
        "GIT_COMMITTER_EMAIL": EMAIL,
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_PAGER": "cat",  # there is nobody to turn the page
    }
