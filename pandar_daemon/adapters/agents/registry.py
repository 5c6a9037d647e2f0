"""The agents of a runner: profiles, with what the owner set for each.

What can be set for an agent, as ``PANDAR_AGENT_<NAME>_<WHAT>``: ``API_KEY``, ``BASE_URL``,
``MODEL``; ``DRIVER`` (``acp`` or, for codex, ``app-server``); ``ENV_<VARIABLE>`` for anything
else in its environment, ``$base_url`` and ``$api_key`` in it being these; ``COMMAND`` for an agent
of the owner's own that speaks ACP, with ``TELLS_USAGE=no`` when it never tells what it consumed.
For boxes: ``KEY_HEADER``, in which a key is sent when not as a bearer; ``HOSTS`` it calls besides
its model; ``PATHS`` of its model's server that it may call; ``KEY_INSIDE=yes`` when its key has to
be inside.
"""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from events.instant import Instant
from events.running import Assignment
from pandar_daemon.adapters.agents import places
from pandar_daemon.adapters.agents.acp import AcpDriver
from pandar_daemon.adapters.agents.arranging import arranged, enclosed
from pandar_daemon.adapters.agents.codex_app_server import CodexDriver
from pandar_daemon.adapters.agents.profiles import (
    ACP,
    APP_SERVER,
    CODEX_APP_SERVER,
    PROFILES,
    Profile,
)
from pandar_daemon.adapters.agents.quirks import Quirks
from pandar_daemon.config import ConfigError
from pandar_daemon.ports.agents import Driver, Launch

PREFIX: Final = "PANDAR_AGENT_"
_SETTING: Final = re.compile(
    PREFIX + r"([A-Z0-9_]+?)_(API_KEY|BASE_URL|MODEL|DRIVER|COMMAND|TELLS_USAGE"
    r"|KEY_HEADER|KEY_INSIDE|HOSTS|PATHS|ENV_\w+)"
)
_SECRET: Final = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|AUTH")
_NO: Final = frozenset({"no", "false", "0"})


def demo() -> Profile:
    """Return our own small agent; its program is this Python's."""
    module = "pandar_daemon.adapters.agents.demo"
    return Profile(
        name="demo", argv=(sys.executable, "-P", "-m", module), quirks=Quirks(agent="demo")
    )


class Registry:
    """See `ports.agents.Agents`.

    ``packages`` is where `install` puts npm packages, ``path`` where programs are looked for.
    Raises `ConfigError` for a setting that cannot be used.
    """

    def __init__(
        self,
        now: Callable[[], Instant],
        settings: Mapping[str, str],
        *,
        packages: Path,
        path: str,
    ) -> None:
        self._now, self._packages, self._path = now, packages, path
        self._settings = _by_agent(settings)
        known = {**PROFILES, "demo": demo()}
        self._profiles = known | {
            name: _set(known.get(name), name, given) for name, given in self._settings.items()
        }

    @property
    def names(self) -> Collection[str]:
        """The names a task may ask for."""
        return self._profiles.keys()

    @property
    def secrets(self) -> Mapping[str, str]:
        """What the owner set that nobody is to see, by the name of its variable."""
        return {
            f"{PREFIX}{_upper(name)}_{key}": value
            for name, given in self._settings.items()
            for key, value in given.items()
            if _SECRET.search(key)
        }

    def profile(self, name: str) -> Profile:
        """Return the profile of an agent; raises ``KeyError`` for an unknown one."""
        return self._profiles[name]

    def launch(
        self, name: str, assignment: Assignment, home: Path, *, boxed: bool = False
    ) -> Launch:
        """Return how to start it; raises ``OSError`` that says what is missing and what to do."""
        model = assignment.metadata.get("model")
        return self.launched(name, home, model if isinstance(model, str) else "", boxed=boxed)

    def launched(self, name: str, home: Path, model: str = "", *, boxed: bool = False) -> Launch:
        """Return how to start it, whatever the task; with a model other than the configured one."""
        profile = self._profiles[name]
        argv = self._argv(profile)
        given = self._settings.get(name, {})
        given = {**given, "MODEL": model} if model else given
        outer = arranged(profile, given, home)
        if profile.keys and not any(outer.environment.get(key.variable) for key in profile.keys):
            raise PermissionError(
                f"{name} has no key: set {PREFIX}{_upper(name)}_API_KEY for the runner"
            )
        found = enclosed(profile, given, home, PREFIX + _upper(name)) if boxed else outer
        return Launch(
            argv=argv,
            environment={**self._common(home), **found.environment},
            files=found.files,
            tells_usage=profile.tells_usage,
            denies_softly=profile.denies_softly,
            hears_reasons=profile.quirks.steers,
            model=found.model,
            models=found.models,
            readable=self._readable(profile, argv) if boxed else (),
            hosts=found.hosts,
        )

    def driver(self, name: str, *, boxed: bool = False) -> Driver:
        """Return a new driver for it, as it was launched."""
        profile = self._profiles[name]
        if profile.driver == APP_SERVER:
            return CodexDriver(self._now, profile.quirks, boxed=boxed)
        return AcpDriver(self._now, profile.quirks)

    def program(self, profile: Profile) -> Path:
        """Return the program of an npm package, there or not."""
        return self._packages / profile.name / "node_modules" / profile.package / profile.program

    def node(self) -> str:
        """Return where Node.js is; raises ``FileNotFoundError`` that says what to do."""
        found = shutil.which("node", path=self._path)
        if found is None:
            raise FileNotFoundError(
                f"no node in {self._path}: install Node.js 20 or later, or set PANDAR_TASK_PATH"
            )
        return found

    def _argv(self, profile: Profile) -> tuple[str, ...]:
        if not profile.program:
            return profile.argv
        program = self.program(profile)
        if not program.is_file():
            raise FileNotFoundError(
                f"{profile.name} is not installed: run `pandar agents install {profile.name}`"
            )
        return (self.node(), str(program), *profile.argv)

    def _readable(self, profile: Profile, argv: tuple[str, ...]) -> tuple[str, ...]:
        if profile.name == "demo" and argv[0] == sys.executable:
            return places.of_python()
        packages = [self._packages / profile.name] if profile.program else []
        return (*places.outside(packages), *places.of_program(argv[0], self._path))

    def _common(self, home: Path) -> dict[str, str]:
        return {
            "PATH": self._path,
            "HOME": str(home),
            "TMPDIR": str(home / "tmp"),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "NO_COLOR": "1",
        }


def _by_agent(settings: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return what is set for each agent; empty values count as unset."""
    sorted_out: dict[str, dict[str, str]] = {}
    for variable, value in settings.items():
        if not value or not variable.startswith(PREFIX):
            continue
        found = _SETTING.fullmatch(variable)
        if not found:
            raise ConfigError(f"{variable} is no setting of an agent")
        sorted_out.setdefault(found[1].lower().replace("_", "-"), {})[found[2]] = value
    return sorted_out


def _set(known: Profile | None, name: str, given: Mapping[str, str]) -> Profile:
    """Return a profile with what the owner set."""
    driver = given.get("DRIVER", ACP)
    if driver not in (ACP, APP_SERVER) or (driver == APP_SERVER and name != "codex"):
        raise ConfigError(f"{PREFIX}{_upper(name)}_DRIVER={driver!r}: there is no such driver")
    if driver == APP_SERVER:
        return CODEX_APP_SERVER
    if known and "COMMAND" not in given:
        return known
    if "COMMAND" not in given:
        raise ConfigError(f"{name} is no known agent: {PREFIX}{_upper(name)}_COMMAND starts it")
    base = known or Profile(name=name, quirks=Quirks(agent=name))
    try:
        argv = tuple(shlex.split(given["COMMAND"]))
    except ValueError as error:
        raise ConfigError(f"{PREFIX}{_upper(name)}_COMMAND: {error}") from error
    tells = given.get("TELLS_USAGE", "yes").lower() not in _NO
    return replace(base, program="", argv=argv, tells_usage=base.tells_usage and tells)


def _upper(name: str) -> str:
    return name.upper().replace("-", "_")
