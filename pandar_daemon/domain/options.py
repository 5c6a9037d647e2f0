"""What a task may ask for: its texts, its time, and the keys of its metadata that we read.

Metadata is the user's own. Keys named here are typed and checked; all others are kept as they
came and mean nothing to us. ``null`` counts as absent.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Struct

from events.calls import GATE_NAMES
from events.commands import (
    Command,
    CreateProject,
    CreateSchedule,
    CreateTask,
    UpdateProject,
    UpdateSchedule,
    UpdateTask,
    User,
)
from events.confinement import Level
from events.instant import to_utc
from events.problem import FieldError
from events.task import Json, OnTimeout
from pandar_daemon.domain.channel import LENGTH_MAX, check
from pandar_daemon.domain.confining import Confinement, level_in
from pandar_daemon.domain.egress import fault_of
from pandar_daemon.domain.guard import refusal
from pandar_daemon.domain.reading import convert, decode, invalid, nul_faults, problem_of
from pandar_daemon.domain.repository import repository_faults
from pandar_daemon.domain.task_secrets import key_faults

METADATA_MAX: Final = 16_384
"""Bytes of a task's metadata as JSON: it travels with every assignment to a runner."""

NESTING_MAX: Final = 20
"""Levels of objects and lists in metadata, itself included."""

AHEAD_MAX: Final = timedelta(days=3_653)
"""How far ahead a task can be scheduled: ten years."""

_WEEK_SEC: Final = 604_800
_SAFE_INTEGER: Final = 2**63


class ApprovalPolicy(StrEnum):
    """When a task stops for consent."""

    AUTO = "auto"  # never
    MANUAL = "manual"  # at every question of the agent
    AUTO_WITH_GATES = "auto_with_gates"  # at the gates it names


class OnLost(StrEnum):
    """What happens when a task's runner vanishes."""

    RETRY = "retry"
    CONFIRM = "confirm"
    FAIL = "fail"


class OnDeny(StrEnum):
    """What happens when a confirmation is denied."""

    CONTINUE = "continue"
    CANCEL = "cancel"


Gate = Annotated[str, Meta(max_length=64)]
Channel = Annotated[str, Meta(max_length=LENGTH_MAX)]
Seconds = Annotated[int, Meta(ge=1, le=_WEEK_SEC)]


class TaskOptions(Struct, frozen=True, kw_only=True):
    """The keys of a task's metadata that Pandar reads; limits in seconds and bytes."""

    agent: str | None = None
    proxy_agent: str | None = None
    approval_policy: ApprovalPolicy | None = None
    gates: Annotated[list[Gate], Meta(max_length=50)] = []
    notify: Annotated[list[Channel], Meta(max_length=20)] = []
    timeout_sec: Seconds | None = None
    max_retries: Annotated[int, Meta(ge=0, le=10)] = 0
    context: str | Json = ""
    concurrency_key: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    max_duration: Seconds | None = None
    on_lost: OnLost = OnLost.RETRY
    on_deny: OnDeny = OnDeny.CONTINUE
    confirm_timeout_sec: Annotated[int, Meta(ge=60, le=2_592_000)] = 86_400
    on_timeout: OnTimeout = OnTimeout.DENY
    park_after_sec: Seconds = 600
    quorum: Annotated[int, Meta(ge=1, le=10)] = 1
    prevent_self_approval: bool = False
    watchers: Annotated[list[User], Meta(max_length=50)] = []
    max_cost_usd: Annotated[float, Meta(gt=0, le=1_000_000)] | None = None
    max_tokens: Annotated[int, Meta(ge=1, le=2**53)] | None = None
    max_proxy_answers: Annotated[int, Meta(ge=0, le=100)] = 3
    model: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    sandbox: Level | Confinement | None = None
    max_output_bytes: Annotated[int, Meta(ge=65_536, le=2**30)] = 64 * 2**20


_FIELDS: Final[Mapping[str, object]] = {
    field.name: field.type for field in msgspec.structs.fields(TaskOptions)
}

GatesOf = Callable[[int | None], Collection[str]]
"""The gates a task of a project may name; ``None`` for a task whose project is not known here."""


def registered(_project: int | None) -> Collection[str]:
    """Return the gates that are known everywhere."""
    return GATE_NAMES


def options(metadata: Json, agents: Collection[str]) -> TaskOptions:
    """Return what a task's metadata asks for.

    Raises `Invalid` naming every bad field as ``metadata.<key>``.
    """
    faults = list(_metadata_faults(metadata, agents, registered(None)))
    if faults:
        raise invalid(faults)
    return read_options(metadata)


def read_options(metadata: Json) -> TaskOptions:
    """Return what stored metadata asks for, a key that breaks today's rules counting as absent.

    Never raises: rules may have become stricter since the task was accepted.
    """
    found = {key: metadata[key] for key in _named(metadata) if not _breaks(key, metadata[key])}
    return msgspec.convert(found, TaskOptions)


def validate(
    command: Command, agents: Collection[str], now: datetime, gates_of: GatesOf = registered
) -> None:
    """Return when everything a command says can be accepted at ``now``.

    Raises `Invalid` with all errors at once. Limits of length and type are those of decoding.
    """
    faults = list(_faults(command, agents, now, gates_of))
    if faults:
        raise invalid(faults)


def validate_text(field: str, text: str) -> None:
    """Return when a text says something and can be stored; raises `Invalid` otherwise."""
    faults = list(_text_faults(field, text))
    if faults:
        raise invalid(faults)


def _faults(
    command: Command, agents: Collection[str], now: datetime, gates_of: GatesOf
) -> Iterator[FieldError]:
    values = {name: getattr(command, name) for name in command.__struct_fields__}
    metadata = values.pop("metadata", UNSET)
    for name, value in values.items():
        if name in {"name", "command", "prompt"} and isinstance(value, str):
            yield from _text_faults(name, value)
        elif isinstance(value, str | dict | list):
            yield from nul_faults(value, name)
    yield from key_faults(values, metadata)
    if isinstance(command, CreateTask | CreateSchedule | UpdateSchedule):
        yield from _command_faults(command.command)
    if isinstance(command, CreateProject | UpdateProject):
        yield from repository_faults(command.git_url, command.base_branch)
    if isinstance(command, CreateTask):
        yield from _work_faults(command, agents)
    if isinstance(metadata, dict):
        gates = gates_of(values.get("project_id"))
        yield from _metadata_faults(metadata, agents, gates)
    if isinstance(command, CreateTask | UpdateTask) and isinstance(command.scheduled_at, datetime):
        yield from _time_faults("scheduled_at", command.scheduled_at, now)


def _work_faults(command: CreateTask, agents: Collection[str]) -> Iterator[FieldError]:
    """A task is either a command or a prompt, and a prompt is somebody's."""
    if command.command is None and command.prompt is None:
        yield FieldError(field="command", rule="needs a value: a task is a command or a prompt")
    elif command.command is not None and command.prompt is not None:
        rule = "must be absent where there is a command: a task is one or the other"
        yield FieldError(field="prompt", rule=rule)
    elif command.prompt is not None and command.metadata.get("agent") is None:
        known = ", ".join(sorted(agents))
        yield FieldError(field="metadata.agent", rule=f"is needed for a prompt: one of {known}")


def _text_faults(field: str, text: str) -> Iterator[FieldError]:
    if not text.strip():
        yield FieldError(field=field, rule="must not be blank")
    yield from nul_faults(text, field)


def _command_faults(command: object) -> Iterator[FieldError]:
    rule = refusal(command) if isinstance(command, str) else None
    if rule:
        yield FieldError(field="command", rule=rule)


def _time_faults(field: str, at: datetime, now: datetime) -> Iterator[FieldError]:
    """A time in the past is due at once and no fault."""
    try:
        ahead = to_utc(at) - now
    except ValueError as error:
        yield FieldError(field=field, rule=str(error))
    except OverflowError:
        yield FieldError(field=field, rule="must lie within the years 1 to 9999 in UTC")
    else:
        if ahead > AHEAD_MAX:
            yield FieldError(field=field, rule="must not be more than ten years ahead")


def _metadata_faults(
    metadata: Json, agents: Collection[str], gates: Collection[str]
) -> Iterator[FieldError]:
    faults = list(_json_faults(metadata, "metadata", 1))
    if not faults and len(msgspec.json.encode(metadata)) > METADATA_MAX:
        faults = [
            FieldError(field="metadata", rule=f"must be at most {METADATA_MAX} bytes of JSON")
        ]
    yield from faults
    if not faults:
        for key in _named(metadata):
            yield from _option_faults(key, metadata[key], agents, gates)
        if level_in(metadata) is Level.NONE and metadata.get("approval_policy") == "auto":
            rule = "none is not for approval_policy auto: nobody would stop it at anything"
            yield FieldError(field="metadata.sandbox", rule=rule)


def _named(metadata: Json) -> list[str]:
    return [key for key in _FIELDS if metadata.get(key) is not None]


def _breaks(key: str, value: object) -> bool:
    return convert(value, _FIELDS[key], key)[1] is not None


def _option_faults(
    key: str, value: object, agents: Collection[str], gates: Collection[str]
) -> Iterator[FieldError]:
    path = f"metadata.{key}"
    option, fault = convert(value, _FIELDS[key], path)
    if fault:
        yield fault
    elif key in {"agent", "proxy_agent"} and option not in agents:
        yield FieldError(field=path, rule=f"must be one of {', '.join(sorted(agents))}")
    elif key == "concurrency_key" and not str(option).strip():
        yield FieldError(field=path, rule="must not be blank")
    elif key == "gates":
        yield from _gate_faults(option, gates)
    elif key == "notify":
        yield from _channel_faults(option)
    elif isinstance(option, Confinement):
        yield from _host_faults(option)


def _gate_faults(wanted: object, gates: Collection[str]) -> Iterator[FieldError]:
    for n, gate in enumerate(wanted if isinstance(wanted, list) else []):
        if isinstance(gate, str) and gate not in gates:
            rule = f"must be one of {', '.join(sorted(gates))}"
            yield FieldError(field=f"metadata.gates[{n}]", rule=rule)


def _channel_faults(wanted: object) -> Iterator[FieldError]:
    for n, each in enumerate(wanted if isinstance(wanted, list) else []):
        rule = check(each) if isinstance(each, str) else None
        if rule is not None:
            yield FieldError(field=f"metadata.notify[{n}]", rule=rule)


def _host_faults(wanted: Confinement) -> Iterator[FieldError]:
    for n, each in enumerate(wanted.network.allow):
        if rule := fault_of(each):
            yield FieldError(field=f"metadata.sandbox.network.allow[{n}]", rule=rule)


def _json_faults(value: object, path: str, depth: int) -> Iterator[FieldError]:
    """Yield what Postgres, or a reader in another language, could not hold."""
    if isinstance(value, dict | list) and depth > NESTING_MAX:
        yield FieldError(field="metadata", rule=f"must not nest deeper than {NESTING_MAX} levels")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from nul_faults(key, f"{path}.{key}")
            yield from _json_faults(item, f"{path}.{key}", depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _json_faults(item, f"{path}[{index}]", depth + 1)
    else:
        yield from nul_faults(value, path)
        yield from _number_faults(value, path)


def _number_faults(value: object, path: str) -> Iterator[FieldError]:
    if isinstance(value, float) and not math.isfinite(value):
        yield FieldError(field=path, rule="must be a finite number")
    elif isinstance(value, int) and not -_SAFE_INTEGER <= value < _SAFE_INTEGER:
        yield FieldError(field=path, rule="must be a whole number of at most 64 bits")


__all__ = [
    "TaskOptions",
    "decode",
    "options",
    "problem_of",
    "read_options",
    "validate",
    "validate_text",
]
