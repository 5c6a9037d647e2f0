"""Writes what is made from the code: ``python -m tests.generate [--check]``.

JSON Schemas of events and commands, the OpenAPI and AsyncAPI descriptions, the pages of the
reference, golden files of new events, and ``migrations/schema.sql``. With ``--check`` it writes
nothing and exits 1, naming each file that differs. Golden files are only ever added: what was
shipped stays as it was shipped.
"""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from events import codec
from events.codec import EVENTS
from events.commands import ACTIONS, SCHEDULE_ACTIONS, Command
from events.running import RUNNER_ACTIONS
from pandar_daemon.adapters.embedded.errors import CannotStart
from pandar_daemon.adapters.http import openapi
from pandar_daemon.adapters.http.app import SERVED
from pandar_daemon.adapters.nats import asyncapi
from pandar_daemon.adapters.postgres.schema import dump_schema
from pandar_daemon.cli.reference import cli_reference
from tests.support.gate_page import gates_page
from tests.support.pages import commands_page, events_page, states_page
from tests.support.servers import TestServers
from tests.support.specimen import specimen

ROOT = Path(__file__).parent.parent
REFERENCE = ROOT / "docs" / "reference"
GOLDEN = ROOT / "tests" / "golden"
SUMS = GOLDEN / "SHA256SUMS"
SCHEMA_SQL = ROOT / "migrations" / "schema.sql"

Files = dict[Path, str]

COMMANDS: Mapping[str, type[Command]] = {
    **ACTIONS,
    **{f"run.{action}": command for action, command in RUNNER_ACTIONS.items()},
    **SCHEDULE_ACTIONS,
}


def from_code() -> Files:
    """Return every file that needs no server, with what it has to hold."""
    return {**_schemas(), **_descriptions(), **_pages(), **_goldens()}


def _schemas() -> Files:
    of: dict[str, type[msgspec.Struct]] = {
        f"events/{_versioned(name)}": event for name, event in EVENTS.items()
    }
    of |= {f"commands/{name}.json": command for name, command in COMMANDS.items()}
    return {REFERENCE / "schemas" / name: _schema(kind) for name, kind in of.items()}


def _schema(kind: type[msgspec.Struct]) -> str:
    schema = msgspec.json.schema(kind)
    return _json({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema})


def _versioned(name: str) -> str:
    return f"{name}.v{EVENTS[name].SCHEMA_VERSION}.json"


def _json(value: object) -> str:
    return msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n"


def _descriptions() -> Files:
    return {
        REFERENCE / "openapi.json": _json(openapi.document(SERVED)),
        REFERENCE / "asyncapi.json": _json(asyncapi.document()),
    }


def _pages() -> Files:
    return {
        REFERENCE / "events.md": events_page(),
        REFERENCE / "commands.md": commands_page(),
        REFERENCE / "task-states.md": states_page(),
        REFERENCE / "gates.md": gates_page(),
        REFERENCE / "cli.md": cli_reference(),
    }


def _goldens() -> Files:
    """Return a file for each event version that has none yet, and all checksums."""
    present = {path.name: path.read_text("utf-8") for path in GOLDEN.glob("*.json")}
    present |= {
        name: _json(msgspec.json.decode(codec.encode(specimen(event))))
        for name, event in ((_versioned(name), event) for name, event in EVENTS.items())
        if name not in present
    }
    files = {GOLDEN / name: text for name, text in present.items()}
    return {**files, SUMS: _sums(present)}


def _sums(goldens: Mapping[str, str]) -> str:
    """Keep every line there is: a golden that was edited must not get a new checksum."""
    kept = {line.partition("  ")[2]: line for line in _read(SUMS).splitlines()}
    new = {name: f"{sha256(text)}  {name}" for name, text in goldens.items()}
    lines = {**new, **kept}
    return "".join(f"{lines[name]}\n" for name in sorted(lines))


def sha256(text: str) -> str:
    """Return the checksum of a file's text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def strays(wanted: Files) -> list[Path]:
    """Return schemas of events and commands that are no more, old versions of events excepted."""
    found = [*(REFERENCE / "schemas" / "commands").glob("*"), *GOLDEN.glob("*.json")]
    found += (REFERENCE / "schemas" / "events").glob("*")
    return [path for path in found if path not in wanted and not _is_old(path.name)]


def _is_old(name: str) -> bool:
    type_, _, version = name.removesuffix(".json").rpartition(".v")
    return type_ in EVENTS and version.isdigit() and int(version) < EVENTS[type_].SCHEMA_VERSION


async def from_database() -> Files:
    """Return ``schema.sql``; raises `CannotStart` on a machine without servers."""
    servers = TestServers()
    await asyncio.to_thread(servers.open)
    try:
        return {SCHEMA_SQL: await dump_schema(await servers.create_database())}
    finally:
        await asyncio.to_thread(servers.close)


def differing(files: Files) -> list[Path]:
    """Return the files that do not hold what they have to."""
    return sorted(path for path, text in files.items() if _read(path) != text)


def write(files: Files) -> None:
    """Give each file what it has to hold."""
    for path in differing(files):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[path], "utf-8")
        sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")


def _read(path: Path) -> str:
    return path.read_text("utf-8") if path.is_file() else ""


def main(arguments: list[str]) -> int:
    """Write, or check; return the exit code."""
    files = from_code()
    try:
        files |= asyncio.run(from_database())
    except CannotStart as error:
        sys.stderr.write(f"{SCHEMA_SQL.relative_to(ROOT)} left alone: {error}\n")
    if arguments != ["--check"]:
        write(files)
        return 0
    wrong = [*differing(files), *strays(files)]
    for path in wrong:
        sys.stderr.write(f"{path.relative_to(ROOT)} differs: run `make generate`\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
