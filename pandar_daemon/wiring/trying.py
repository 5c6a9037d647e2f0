"""Trying whether an agent works here: it is started as a task would, in a box where boxes hold."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from events.calls import ToolCall
from events.confinement import Confines, Level
from pandar_daemon.adapters.agents.greeting import furnish, greet, prepared
from pandar_daemon.adapters.agents.registry import Registry
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.egress.proxy import EgressProxy
from pandar_daemon.ports import Blocked, Launch, Outward, Permission, Process, Spec
from pandar_daemon.ports.sandbox import PROXY
from pandar_daemon.services.confines import House, enclosed_in, inside
from pandar_daemon.services.enclosing import Reach
from pandar_daemon.wiring.confining import host_of

__all__ = ["tried"]


async def tried(known: Registry, name: str, house: House, level: Level) -> str:
    """Return why an agent cannot be prompted when it is confined so; empty when it can."""
    with _folder() as folder:
        home, work = prepared(folder, "home"), prepared(folder, "work")
        boxed = level is not Level.NONE
        launch = known.launched(name, home, boxed=boxed)
        furnish(launch)
        try:
            process = await host_of(folder / "host").start(_spec(launch, home, work, house, level))
        except OSError as error:
            return f"{name} could not be started: {error.strerror or error}"
        async with _served(process, launch):
            return await greet(process, known.driver(name, boxed=boxed), work)


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pandar-", ignore_cleanup_errors=True) as made:
        yield Path(made).resolve()


def _spec(launch: Launch, home: Path, work: Path, house: House, level: Level) -> Spec:
    reach = Reach(folder=str(work), home=str(home), readable=launch.readable)
    box = enclosed_in(Confines(level=level), house, reach, doors=(PROXY,))
    return Spec(
        execution_id=SystemClock().new_id(),
        argv=launch.argv,
        cwd=str(work),
        environment=inside(launch.environment, box, ""),
        piped=True,
        box=box,
    )


@asynccontextmanager
async def _served(process: Process, launch: Launch) -> AsyncIterator[None]:
    """Let it call its model and whom it needs, and nobody else."""
    if PROXY not in process.doors:
        yield
        return
    outward = Outward(hosts=launch.hosts, models=launch.models)
    async with EgressProxy().serving(process.doors[PROXY], outward, _never, _untold):
        yield


async def _never(_call: ToolCall, _why: str) -> Permission:
    return Permission(allowed=False, text="nobody is asked here")


async def _untold(_attempt: Blocked) -> None:
    pass
