"""The pages of the reference that are made from the code."""

from __future__ import annotations

import inspect as python
from collections.abc import Iterable, Mapping

from msgspec import NODEFAULT, UNSET, Struct, inspect, to_builtins

from events.codec import EVENTS
from events.commands import ACTIONS, SCHEDULE_ACTIONS
from events.running import RUNNER_ACTIONS
from events.subjects import COMMANDS as COMMAND_SUBJECT
from events.subjects import EVENTS as EVENT_SUBJECT
from events.subjects import QUEUE as QUEUE_SUBJECT
from events.subjects import RUN as RUN_SUBJECT
from events.task import Status
from pandar_daemon.domain.access import ACTION_PERMISSION
from tests.support import matrix

MADE = "<!-- Made by `make generate` from the code; do not edit. -->\n\n"

_NAMES: Mapping[type[inspect.Type], str] = {
    inspect.StrType: "text",
    inspect.IntType: "integer",
    inspect.FloatType: "number",
    inspect.BoolType: "boolean",
    inspect.DateTimeType: "time",
    inspect.UUIDType: "UUID",
    inspect.NoneType: "null",
    inspect.DictType: "object",
}


def events_page() -> str:
    """Return the table of all events."""
    text = MADE + (
        "# Events\n\n"
        "Everything that can happen. An event is published, in log order, as"
        f" `{EVENT_SUBJECT}.<category>.<name>.<project>.<id>` (`_` where there is no project)"
        " with the fields below as JSON. Fields are only added, at the end; what changes"
        " otherwise gets a new version. Ignore fields and events you do not know. A field"
        " marked `?` may be absent or null. JSON Schemas are in"
        " [`schemas/events/`](schemas/events/).\n"
    )
    categories = dict.fromkeys(name.partition(".")[0] for name in EVENTS)
    for category in categories:
        text += f"\n## {category}\n\n| event | when | fields |\n|---|---|---|\n"
        for name, event in EVENTS.items():
            if name.startswith(f"{category}."):
                cells = (f"`{name}` v{event.SCHEMA_VERSION}", _doc(event), _fields(event))
                text += _row(cells)
    return text + _glossary(EVENTS.values())


def commands_page() -> str:
    """Return the tables of all commands."""
    text = MADE + (
        "# Commands\n\n"
        "Everything that can be asked. A command is a request to the subject below, with a JSON"
        " object as its body and the bearer token in the header `Pandar-Token`; or, to be done"
        f" later, a message under `{QUEUE_SUBJECT}` with the same tail. Unknown fields are"
        " refused. `_` stands where project or id is not stated. JSON Schemas are in"
        " [`schemas/commands/`](schemas/commands/).\n\n"
        "## Of people and of Pandar itself\n\n"
    )
    text += _command_table({name: _subject(name) for name in ACTIONS}, ACTIONS)
    text += "\n## Of runners\n\n"
    runs = {f"run.{name}": f"{RUN_SUBJECT}.{name}.<runner>" for name in RUNNER_ACTIONS}
    text += _command_table(runs, {f"run.{name}": of for name, of in RUNNER_ACTIONS.items()})
    text += (
        "\n## Of schedules\n\nThe language is fixed; no service of this release answers these.\n\n"
    )
    text += _command_table({name: _subject(name) for name in SCHEDULE_ACTIONS}, SCHEDULE_ACTIONS)
    every = (*ACTIONS.values(), *RUNNER_ACTIONS.values(), *SCHEDULE_ACTIONS.values())
    return text + _glossary(every)


def states_page() -> str:
    """Return the matrix of commands and states, and the diagram drawn from it."""
    cells = matrix.derived()
    return (
        MADE + "# The states of a task\n\n"
        "Six statuses are public. Within some of them a command can mean different things;"
        " these are the columns below.\n\n"
        "| column | meaning |\n|---|---|\n"
        + "".join(_row((f"`{name}`", meaning)) for name, meaning in matrix.MEANING.items())
        + "\n## What people may ask\n\n"
        + _matrix(cells, matrix.PEOPLE)
        + "\n## What Pandar and its runners say\n\n"
        + _matrix(cells, tuple(c for c in matrix.COMMANDS if c not in matrix.PEOPLE))
        + "\nA field names the events that happen. `nothing`: accepted, a harmless repeat."
        " `409`: refused, the answer names the status. `404`: the task is not there any more."
        " `stale`: refused with `409`, for it comes from an execution that is over, and kept for"
        " forensics. A failure with retries left, `on_lost` and `on_deny` go on as the task's"
        " metadata says; shown is a task without any.\n\n## From one to the other\n\n" + _diagram()
    )


def _matrix(cells: Mapping[tuple[str, str], str], commands: tuple[str, ...]) -> str:
    text = _row(("", *(f"`{state}`" for state in matrix.STATES)))
    text += _row("---" for _ in range(len(matrix.STATES) + 1))
    for command in commands:
        text += _row((command, *(cells[command, state] for state in matrix.STATES)))
    return text


def _diagram() -> str:
    text = "```mermaid\nstateDiagram-v2\n    [*] --> pending: create\n"
    order = list(Status)
    moves = sorted(matrix.moves().items(), key=lambda move: [order.index(s) for s in move[0]])
    for (before, after), commands in moves:
        text += f"    {before} --> {after}: {', '.join(c.replace(':', '') for c in commands)}\n"
    return text + "```\n"


def _command_table(of: Mapping[str, str], kinds: Mapping[str, type[Struct]]) -> str:
    text = "| command | subject | permission | what | fields |\n|---|---|---|---|---|\n"
    for name, subject in of.items():
        permission = ACTION_PERMISSION.get(name)
        cells = (
            f"`{name}`",
            f"`{subject}`",
            f"`{permission}`" if permission else "none yet",
            _doc(kinds[name]),
            _fields(kinds[name]),
        )
        text += _row(cells)
    return text


def _subject(action: str) -> str:
    target = "_" if action.endswith(".create") else f"<{action.partition('.')[0]}>"
    return f"{COMMAND_SUBJECT}.{action}.<project>.{target}"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _doc(kind: type) -> str:
    return " ".join((python.getdoc(kind) or "").replace("``", "`").split())


def _fields(kind: type[Struct]) -> str:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    return "<br>".join(map(_field, info.fields)) or "none"


def _field(field: inspect.Field) -> str:
    kinds = field.type.types if isinstance(field.type, inspect.UnionType) else (field.type,)
    kinds = tuple(kind for kind in kinds if not isinstance(kind, inspect.NoneType))
    mark = "" if field.required else "?"
    default = "" if field.default in {NODEFAULT, UNSET, None, ""} else _default(field.default)
    return f"`{field.name}`{mark} {' or '.join(map(_kind, kinds))}{default}"


def _default(value: object) -> str:
    plain = to_builtins(value)
    shown = str(plain).lower() if isinstance(plain, bool) else str(plain)
    return "" if isinstance(plain, dict) else f" = `{shown}`"


def _kind(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata():
            return _kind(kind.type)
        case inspect.EnumType() | inspect.StructType():
            return f"[{kind.cls.__name__}](#{kind.cls.__name__.lower()})"
        case inspect.ListType():
            limit = "" if kind.max_length is None else f", at most {kind.max_length}"
            return f"list of {_kind(kind.item_type)}{limit}"
        case inspect.StrType():
            return f"text{_between(kind.min_length, kind.max_length, ' characters')}"
        case inspect.IntType() | inspect.FloatType():
            return f"{_NAMES[type(kind)]}{_between(kind.ge, kind.le, '')}"
        case _:
            return _NAMES[type(kind)]


def _between(least: float | None, most: float | None, unit: str) -> str:
    match least, most:
        case None, None:
            return ""
        case None, _:
            return f" ≤ {most}{unit}"
        case _, None:
            return f" ≥ {least}{unit}"
        case _:
            return f" {least} to {most}{unit}"


# --- the values fields are made of -----------------------------------------------------------


def _glossary(kinds: Iterable[type[Struct]]) -> str:
    text = "\n## Values\n"
    for named in _named_types(kinds):
        text += f"\n### {named.cls.__name__}\n\n{_doc(named.cls)}\n\n"
        if isinstance(named, inspect.EnumType):
            text += ", ".join(f"`{one.value}`" for one in named.cls) + "\n"
        else:
            text += _fields(named.cls) + "\n"
    return text


def _named_types(kinds: Iterable[type[Struct]]) -> list[inspect.EnumType | inspect.StructType]:
    found: dict[str, inspect.EnumType | inspect.StructType] = {}
    for kind in kinds:
        info = inspect.type_info(kind)
        assert isinstance(info, inspect.StructType)
        for field in info.fields:
            _collect(field.type, found)
    return [found[name] for name in sorted(found)]


def _collect(kind: inspect.Type, found: dict[str, inspect.EnumType | inspect.StructType]) -> None:
    match kind:
        case inspect.UnionType():
            for one in kind.types:
                _collect(one, found)
        case inspect.ListType():
            _collect(kind.item_type, found)
        case inspect.Metadata():
            _collect(kind.type, found)
        case inspect.StructType():
            found[kind.cls.__name__] = kind
            for field in kind.fields:
                _collect(field.type, found)
        case inspect.EnumType():
            found[kind.cls.__name__] = kind
        case _:
            return
