"""The embedded PostgreSQL: made once, then started, watched and stopped as our child."""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

import asyncpg

from pandar_daemon.adapters.embedded import children, identity, ports
from pandar_daemon.adapters.embedded.binaries import postgres_bin
from pandar_daemon.adapters.embedded.children import Child, Program
from pandar_daemon.adapters.embedded.data import DataDirectory
from pandar_daemon.adapters.embedded.errors import CannotStart
from pandar_daemon.adapters.embedded.readiness import Readiness, until_ready

USER = DATABASE = "pandar"
USUAL_PORT = 5432
_PASSWORD = "postgres.password"  # noqa: S105 - the name of its file
_BUILTIN_LOCALE_SINCE = 17
_CTYPES = ("C.UTF-8", "C")  # pg_trgm asks the C library what a letter is; some lack C.UTF-8
_MAX_SOCKET_DIRECTORY = 80  # the kernel allows 107 bytes for a socket's whole path

_SETTINGS = {
    "listen_addresses": ports.LOOPBACK,
    "unix_socket_permissions": "0700",
    "max_connections": "60",
    "shared_buffers": "128MB",
    "max_wal_size": "512MB",
    "min_wal_size": "80MB",
    "jit": "off",
    "synchronous_commit": "on",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] ",
}


class PostgresServer:
    """A PostgreSQL on its own data under ``data``, on 127.0.0.1 with a random password.

    ``port`` is what ``PANDAR_PG_PORT`` asks for. ``durable=False`` is for tests: a power cut may
    then lose data, a killed process may not.
    """

    name = "postgres"

    def __init__(
        self,
        data: DataDirectory,
        environment: Mapping[str, str],
        *,
        port: int | None = None,
        durable: bool = True,
        keep_fd: int | None = None,
    ) -> None:
        self._data = data
        self._environment = environment
        self._port = ports.Port(data, self.name, "PANDAR_PG_PORT", asked=port, usual=USUAL_PORT)
        self._durable = durable
        self._keep_fd = keep_fd
        self._cluster = data.path / "postgres"
        self._log = data.path / "postgres.log"
        self._identity = identity.SAME
        self.child: Child | None = None

    @property
    def url(self) -> str:
        """Return the administrator's URL of the database ``pandar``; valid once started."""
        return self._url(DATABASE)

    async def start(self) -> None:
        """Start it, making its data on the first start; returns when a query was answered.

        A restart keeps the port. Raises `CannotStart`.
        """
        programs = postgres_bin(self._environment)
        self._identity = await identity.choose(self._environment, self._log)
        if (self._cluster / "PG_VERSION").exists():
            self._check_version(programs)
        else:
            await self._initialise(programs)
        await self._port.listen(lambda port: self._start_on(port, programs))

    async def stop(self) -> None:
        """Stop it fast but in order: open transactions are rolled back. Harmless when stopped."""
        if self.child is not None:
            await self.child.stop()

    async def _start_on(self, port: int, programs: Path) -> None:
        sockets = self._data.path / "run"
        sockets.mkdir(mode=0o700, exist_ok=True)
        identity.hand_over(self._identity, self._data.path, sockets)
        self.child = await children.start(self._program(programs, port, sockets))
        await until_ready(self.child, self._answers, Readiness(self.name, self._log))

    async def _answers(self) -> bool:
        try:
            await self._ask(DATABASE)
        except asyncpg.InvalidCatalogNameError:
            await self._ask("postgres", f"CREATE DATABASE {DATABASE}")
        except asyncpg.TooManyConnectionsError:
            return True  # after a restart, clients may be quicker than we are
        except asyncpg.InvalidAuthorizationSpecificationError as error:
            msg = f"{self._password_file()} is not the password of {self._cluster}: restore it"
            raise CannotStart(msg) from error
        except (OSError, asyncpg.PostgresConnectionError, asyncpg.CannotConnectNowError):
            return False
        return True

    async def _ask(self, database: str, statement: str = "SELECT 1") -> None:
        connection = await asyncpg.connect(self._url(database), timeout=5)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def _url(self, database: str) -> str:
        password = self._data.secret(_PASSWORD)
        return f"postgresql://{USER}:{password}@{ports.LOOPBACK}:{self._port.number}/{database}"

    def _program(self, programs: Path, port: int, sockets: Path) -> Program:
        reachable = len(str(sockets)) <= _MAX_SOCKET_DIRECTORY
        settings = _SETTINGS | {
            "port": str(port),
            "unix_socket_directories": str(sockets) if reachable else "",
            "fsync": "on" if self._durable else "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Program(
            argv=(str(programs / "postgres"), "-D", str(self._cluster), *options),
            log=self._log,
            stop=signal.SIGINT,
            quit=signal.SIGQUIT,
            identity=self._identity,
            environment={"TZ": "UTC", "LC_ALL": "C"},
            keep_fd=self._keep_fd,
        )

    async def _initialise(self, programs: Path) -> None:
        """Make the cluster beside its place, then rename it: what was cut off is made again."""
        fresh = self._cluster.with_suffix(".new")
        for ctype in _CTYPES:
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(mode=0o700)
            identity.hand_over(self._identity, self._data.path, fresh, self._password_file())
            code = await children.run(self._initdb(programs, fresh, ctype))
            if code == 0:
                break
        else:
            msg = f"initdb ended with {code}; {self._log} says:\n{children.last_words(self._log)}"
            raise CannotStart(msg)
        if self._cluster.exists():
            self._cluster.rmdir()  # only an empty one: anything else is somebody's data
        fresh.rename(self._cluster)

    def _password_file(self) -> Path:
        self._data.secret(_PASSWORD)
        return self._data.path / _PASSWORD

    def _initdb(self, programs: Path, place: Path, ctype: str) -> Program:
        builtin = _major(programs) >= _BUILTIN_LOCALE_SINCE
        locale = ("--locale-provider=builtin", "--builtin-locale=C.UTF-8") if builtin else ()
        return Program(
            argv=(
                *(str(programs / "initdb"), "-D", str(place), "-U", USER, "--encoding=UTF8"),
                *("--auth=scram-sha-256", f"--pwfile={self._password_file()}", "--no-instructions"),
                *("--no-locale", f"--lc-ctype={ctype}", *locale),
                *(() if self._durable else ("--no-sync",)),
            ),
            log=self._log,
            stop=signal.SIGTERM,
            identity=self._identity,
            environment={"TZ": "UTC", "LC_ALL": "C"},
            keep_fd=self._keep_fd,
        )

    def _check_version(self, programs: Path) -> None:
        theirs = int((self._cluster / "PG_VERSION").read_text().split(".", maxsplit=1)[0])
        ours = _major(programs)
        if theirs != ours:
            msg = (
                f"the data in {self._cluster} is of PostgreSQL {theirs}, but {programs} is"
                f" PostgreSQL {ours}: point PANDAR_PG_BIN at the programs of version {theirs},"
                " or dump the data with them and load it here"
            )
            raise CannotStart(msg)


def _major(programs: Path) -> int:
    shown = subprocess.run(  # noqa: S603 - a program of our own choice, with fixed arguments
        [programs / "postgres", "--version"], capture_output=True, text=True, check=False
    )
    found = re.search(r"\d+", shown.stdout)
    if found is None:
        msg = f"{programs / 'postgres'} does not tell its version: {shown.stderr.strip()}"
        raise CannotStart(msg)
    return int(found[0])
