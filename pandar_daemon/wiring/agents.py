"""Agents on this machine: those a runner may start, installing them, and whether they work."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from events.confinement import Level
from pandar_daemon.adapters.agents import install as packages
from pandar_daemon.adapters.agents.registry import PREFIX, Registry
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.config import Settings
from pandar_daemon.configuration import Configuration, default_path, load
from pandar_daemon.ports import Clock
from pandar_daemon.services.confines import NO_AGENT, House
from pandar_daemon.services.verification import Check
from pandar_daemon.wiring.configured import agent_settings
from pandar_daemon.wiring.confining import chosen, house_of, unheld
from pandar_daemon.wiring.trying import tried

__all__ = ["Agent", "agents", "check_agents", "install_agents", "registry"]


class Agent(Struct, frozen=True, kw_only=True):
    """One agent: the version that is here, the one it should be, and what is missing.

    Versions are empty for an agent that is no npm package.
    """

    name: str
    installed: str = ""
    pinned: str = ""
    missing: str = ""


def registry(
    settings: Settings, clock: Clock, environment: Mapping[str, str] | None = None
) -> Registry:
    """Return the agents there are; raises `ConfigError`.

    As ``PANDAR_AGENT_*`` set them, before what ``pandar.toml`` says.
    """
    given = os.environ if environment is None else environment
    tables = load(default_path(settings.data)).agents
    chosen = agent_settings(tables, PREFIX) | {
        name: value for name, value in given.items() if name.startswith(PREFIX)
    }
    return Registry(clock.now, chosen, packages=_folder(settings), path=settings.task_path)


def agents(settings: Settings) -> list[Agent]:
    """Return what is here of each agent; starts none."""
    known = registry(settings, SystemClock())
    return [_agent(known, settings, name) for name in known.names]


def install_agents(
    settings: Settings, names: tuple[str, ...], begun: Callable[[str], None]
) -> Sequence[Agent]:
    """Install agents, all when none is named, and return them; ``begun`` hears of each before.

    Raises ``ValueError`` for a name that cannot be installed, ``OSError`` that says what to do.
    """
    done: list[Agent] = []
    for name in packages.chosen(names):
        begun(name)
        version = packages.install(_folder(settings), name)
        done.append(Agent(name=name, installed=version, pinned=version))
    return done


async def check_agents(settings: Settings) -> list[Check]:
    """Start each agent until it can be prompted, and say what is wrong and what to do.

    Each in a box of the level tasks have; where none holds beside the others, which is told.
    """
    known = registry(settings, SystemClock())
    trial = await _trial(settings)
    return [await _check(known, _agent(known, settings, name), trial) for name in known.names]


def _folder(settings: Settings) -> Path:
    return settings.data / "agents"


def _agent(known: Registry, settings: Settings, name: str) -> Agent:
    missing, boxed = "", _configuration(settings).sandbox.level is not Level.NONE
    try:
        known.launched(name, Path("/"), boxed=boxed)
    except OSError as error:
        missing = str(error)
    if not known.profile(name).program:
        return Agent(name=name, missing=missing)
    version = packages.installed(_folder(settings), name) or ""
    return Agent(name=name, installed=version, pinned=packages.pinned(name), missing=missing)


def _configuration(settings: Settings) -> Configuration:
    return chosen(load(default_path(settings.data)), settings)


class _Trial(Struct, frozen=True, kw_only=True):
    """How agents are tried: ``unheld`` is why it is in no box, though tasks are to be in one."""

    house: House
    level: Level
    unheld: str = ""


async def _trial(settings: Settings) -> _Trial:
    configuration = _configuration(settings)
    house, level = house_of(configuration, settings), configuration.sandbox.level
    why = await unheld(level)
    return _Trial(house=house, level=Level.NONE if why else level, unheld=why)


async def _check(known: Registry, agent: Agent, trial: _Trial) -> Check:
    if agent.missing:
        return Check(name=agent.name, ok=None, detail="not set up", hint=agent.missing)
    if trial.level is Level.LANDLOCK:
        return Check(name=agent.name, ok=False, detail=NO_AGENT)
    wrong = await tried(known, agent.name, trial.house, trial.level)
    if wrong:
        return Check(name=agent.name, ok=False, detail=wrong, hint=_hint(agent))
    if agent.installed != agent.pinned:
        detail = f"works, but is {agent.installed}, not {agent.pinned}"
        return Check(name=agent.name, ok=None, detail=detail, hint=_hint(agent))
    detail = f"works {agent.installed}".strip()
    if trial.unheld:
        hint = f"tasks cannot be confined on this machine: {trial.unheld}"
        return Check(name=agent.name, ok=None, detail=f"{detail}, in no box", hint=hint)
    return Check(name=agent.name, ok=True, detail=detail)


def _hint(agent: Agent) -> str:
    if agent.pinned:
        return f"`pandar agents install {agent.name}` puts it there afresh"
    return f"look at {PREFIX}{agent.name.upper().replace('-', '_')}_COMMAND"
