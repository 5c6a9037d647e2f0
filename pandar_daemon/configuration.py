"""What an owner configures: gates, what is never done, agents, channels, mail, prices.

It stands in ``pandar.toml`` in the data folder, which need not be there. The file is read whole or
not at all: a key nobody knows, a value of another kind, more than `SIZE_MAX` bytes end the start
with a `ConfigError` that names file, key and what is expected. Secrets are no part of it; it says
in which files they are.
"""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from itertools import islice
from pathlib import Path
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Struct

from events.calls import GATE_NAMES, GateRule, Match, Rules, Severity
from events.confinement import HOSTS_MAX, Confines, Host, Level
from events.secret import SecretName
from events.task import Json
from pandar_daemon.config import ConfigError
from pandar_daemon.configuration_faults import senseless
from pandar_daemon.domain.confining import Wish, confined
from pandar_daemon.domain.document import faults_in
from pandar_daemon.domain.judging import rules_of
from pandar_daemon.domain.keeping import Keeping
from pandar_daemon.domain.limiting import Limiting
from pandar_daemon.domain.money import Price

FILE: Final = "pandar.toml"
SIZE_MAX: Final = 65_536
FAULTS_MAX: Final = 10
"""Faults of one file that are told at once."""

_NAME: Final = r"^[a-z][a-z0-9_:-]{0,63}\Z"
_NUMBER: Final = r"^[1-9][0-9]{0,17}\Z"
_HTTP: Final = r"^https?://[^\s/]+(/\S*)?\Z"
_HEADER: Final = r"^[A-Za-z0-9-]+\Z"
_PATH: Final = r"^/\S*\Z"
_ADDRESS: Final = r"^[^\s@]+@[^\s@]+\Z"
_SAID: Final = {
    _NAME: "a lower-case name of [a-z0-9_:-], at most 64 characters",
    _NUMBER: "the number of a project",
    _HTTP: "a URL such as https://host/path",
    _HEADER: "the name of a header",
    _PATH: "a path such as /v1/models/*",
    _ADDRESS: "a mail address",
}
"""Said instead of a regular expression."""

Name = Annotated[str, Meta(pattern=_NAME)]
Number = Annotated[str, Meta(pattern=_NUMBER)]
Text = Annotated[str, Meta(min_length=1, max_length=2_048)]
Port = Annotated[int, Meta(ge=1, le=65_535)]
Http = Annotated[str, Meta(pattern=_HTTP, max_length=2_048)]


class _Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table of the file: what it does not know is refused."""


class GateTable(_Table, frozen=True, kw_only=True):
    """A gate of the owner's; in ``[deny.…]`` what is never done, in ``[allow.…]`` never asked."""

    match: Match
    severity: Severity = Severity.MEDIUM
    why: Annotated[str, Meta(max_length=500)] = ""


class ToolTable(_Table, frozen=True, kw_only=True):
    """A tool that tasks may order, and which is then run outside of their sandbox.

    ``argv`` is how it is called, if not by its name; ``secrets`` of the project are in its
    environment, ``hosts`` whom it may call. With ``workspace`` it can read the task's files.
    """

    argv: Annotated[list[Text], Meta(max_length=100)] = []
    secrets: Annotated[list[SecretName], Meta(max_length=20)] = []
    hosts: Annotated[list[Host], Meta(max_length=HOSTS_MAX)] = []
    env: dict[str, str] = {}
    workspace: bool = False
    timeout_sec: Annotated[int, Meta(ge=1, le=3_600)] = 600


class ProjectTable(_Table, frozen=True, kw_only=True):
    """What one project has beside what all have; ``protected`` instead of the usual branches."""

    gates: dict[Name, GateTable] = {}
    deny: dict[Name, GateTable] = {}
    allow: dict[Name, GateTable] = {}
    hosts: Annotated[list[Host], Meta(max_length=HOSTS_MAX)] = []
    limits: Wish = Wish()
    protected: list[Text] | None = None
    tools: dict[Name, ToolTable] = {}


class SandboxTable(_Table, frozen=True, kw_only=True):
    """What tasks are confined to: a task may ask for a stronger level, never for a weaker one.

    ``readable`` are folders outside the system's that every box may read, ``hosts`` whom all may
    call. What a name of these leads to has to be public, but for ``private_hosts``.
    """

    level: Level = Level.BWRAP
    readable: list[Text] = []
    hosts: Annotated[list[Host], Meta(max_length=HOSTS_MAX)] = []
    limits: Wish = Wish()
    private_hosts: Annotated[list[Host], Meta(max_length=HOSTS_MAX)] = []


class AgentTable(_Table, frozen=True, kw_only=True):
    """An agent: a known one with other settings, or any that speaks ACP, with its ``argv``.

    ``hosts`` it may call besides its model, of whose server ``paths`` (shell patterns). Its key is
    sent to the model from outside its box, in ``key_header`` or as a bearer; with ``key_inside`` it
    sends that itself, and all it runs can.
    """

    argv: Annotated[list[Text], Meta(max_length=100)] = []
    env: dict[str, str] = {}
    model: Text | None = None
    base_url: Http | None = None
    driver: Literal["acp", "app-server"] | None = None
    tells_usage: bool = True
    hosts: Annotated[list[Host], Meta(max_length=HOSTS_MAX)] = []
    key_header: Annotated[str, Meta(pattern=_HEADER, max_length=100)] | None = None
    key_inside: bool = False
    paths: list[Annotated[str, Meta(pattern=_PATH, max_length=200)]] = []


class ChannelTable(_Table, frozen=True, kw_only=True):
    """Where ``slack://NAME`` leads."""

    url: Text


class SmtpTable(_Table, frozen=True, kw_only=True):
    """The mail server, and who sends; the password stands in a file of its own."""

    host: Text
    sender: Annotated[str, Meta(pattern=_ADDRESS)] = msgspec.field(name="from")
    port: Port | None = None
    user: Text | None = None
    password_file: Text | None = None
    tls: Literal["tls", "starttls", "if_offered"] = "starttls"


class ApprovalsTable(_Table, frozen=True, kw_only=True):
    """Where people reach the pages that a link leads to."""

    public_url: Http | None = None


class NotificationsTable(_Table, frozen=True, kw_only=True):
    """How people are told: hosts on private networks that may be called, pauses in seconds."""

    allowed_hosts: list[Text] = []
    debounce_sec: Annotated[int, Meta(ge=0, le=300)] | None = None
    remind_after_sec: Annotated[int, Meta(ge=60, le=604_800)] | None = None


class Configuration(_Table, frozen=True, kw_only=True):
    """All of the file. ``policy`` and the gates to stop at are for tasks that name none.

    ``gates`` is a table of gates of the owner's, or the list of those to stop at; a file that has
    both names the latter ``stop_at``.
    """

    policy: Literal["auto", "manual", "auto_with_gates"] | None = None
    stop_at: list[Name] | None = None
    gates: dict[Name, GateTable] | list[Name] = {}
    deny: dict[Name, GateTable] = {}
    allow: dict[Name, GateTable] = {}
    projects: dict[Number, ProjectTable] = {}
    agents: dict[Name, AgentTable] = {}
    channels: dict[Name, ChannelTable] = {}
    smtp: SmtpTable | None = None
    prices: dict[Text, Price] = {}
    approvals: ApprovalsTable = ApprovalsTable()
    notifications: NotificationsTable = NotificationsTable()
    sandbox: SandboxTable = SandboxTable()
    workspaces: Keeping = Keeping()
    limits: Limiting = Limiting()

    @property
    def own(self) -> Mapping[str, GateTable]:
        """The gates of the owner's for all projects."""
        return self.gates if isinstance(self.gates, dict) else {}

    @property
    def stops(self) -> list[str] | None:
        """The gates to stop at, ``None`` where the file does not say."""
        return self.gates if isinstance(self.gates, list) else self.stop_at

    def gates_known(self, project_id: int | None) -> Collection[str]:
        """Return the gates a task of a project may name: those of all, the owner's, its own."""
        return [*GATE_NAMES, *self.own, *self._project(project_id).gates]

    def rules_for(self, project_id: int, metadata: Json) -> Rules:
        """Return what the calls of a task are judged by; raises nothing, whatever metadata holds.

        What metadata states comes before what the file states.
        """
        project = self._project(project_id)
        policy, gates = metadata.get("approval_policy"), metadata.get("gates")
        named = gates if isinstance(gates, list) else self.stops or []
        return rules_of(
            policy if isinstance(policy, str) and policy else self.policy,
            [gate for gate in named if isinstance(gate, str)],
            _rules({**self.own, **project.gates}),
            _rules({**self.deny, **project.deny}),
            _rules({**self.allow, **project.allow}),
        )

    def confines_for(self, project_id: int, metadata: Json) -> Confines:
        """Return what a task is confined to; raises nothing, whatever metadata holds."""
        project = self._project(project_id)
        usual = Confines()
        base = Confines(
            level=self.sandbox.level,
            hosts=[*self.sandbox.hosts, *project.hosts],
            protected=usual.protected if project.protected is None else list(project.protected),
            private_hosts=self.sandbox.private_hosts,
        )
        return confined(metadata, base, [self.sandbox.limits, project.limits])

    def tools_for(self, project_id: int) -> Mapping[str, ToolTable]:
        """Return the tools that are run outside for the tasks of a project, by name."""
        return self._project(project_id).tools

    def _project(self, project_id: int | None) -> ProjectTable:
        return self.projects.get(str(project_id), ProjectTable())


def _rules(tables: Mapping[str, GateTable]) -> list[GateRule]:
    return [
        GateRule(name=name, match=table.match, severity=table.severity, why=table.why)
        for name, table in tables.items()
    ]


def default_path(data: Path) -> Path:
    """Return where the file of an installation is, there or not."""
    return data / FILE


def load(path: Path, *, required: bool = False) -> Configuration:
    """Return what a file says, nothing at all for one that is not there.

    Raises `ConfigError`, also for a ``required`` file that is not there.
    """
    try:
        with path.open("rb") as file:
            content = file.read(SIZE_MAX + 1)
    except FileNotFoundError:
        if required:
            raise ConfigError(f"{path}: there is no such file") from None
        return Configuration()
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    return parse(content, str(path))


def parse(content: bytes, name: str) -> Configuration:
    """Return what the content of a file says; raises `ConfigError` that begins with ``name``."""
    if len(content) > SIZE_MAX:
        raise ConfigError(f"{name}: expected at most {SIZE_MAX} bytes")
    try:
        data = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{name}: no TOML: {error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: no UTF-8 at byte {error.start}") from error
    faults = list(islice(faults_in(data, Configuration, _SAID), FAULTS_MAX))
    found = None if faults else msgspec.convert(data, Configuration)
    faults += senseless(found) if found else []
    if found is None or faults:
        raise ConfigError("\n".join(f"{name}: {fault.field}: {fault.rule}" for fault in faults))
    return found
