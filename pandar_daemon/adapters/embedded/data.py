"""The data directory: private, owned by one Pandar at a time, with secrets and remembered ports."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from pandar_daemon.adapters.embedded.errors import CannotStart

SECRET_BYTES = 48
LEFTOVER_TIMEOUT_SEC = 30.0
LOOK_TIMEOUT_SEC = 0.3  # somebody who only asks whether the directory is owned may hold the lock
_OWNER = "owner.lock"
_SERVERS = "servers.lock"
_PORTS = "ports.json"
# Passing through (0711) shows nothing, and is what an account that Postgres becomes needs.
_OTHERS_MAY_LOOK = stat.S_IRGRP | stat.S_IWGRP | stat.S_IROTH | stat.S_IWOTH


class DataDirectory:
    """A directory nobody else can look into (0700), made if it is not there.

    Raises `CannotStart` for a path that cannot be used, and for one that is open to others and
    holds somebody else's files: what we did not make we do not close.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().resolve()
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._close_to_others()
        except OSError as error:
            msg = f"PANDAR_DATA={path} cannot be used: {error.strerror}"
            raise CannotStart(msg) from error

    @asynccontextmanager
    async def owned(self) -> AsyncIterator[int]:
        """Hold the directory; yield a descriptor for servers to inherit.

        Raises `CannotStart` while another Pandar holds it. Servers a killed Pandar left are
        waited for: their descriptor says when the last is gone.
        """
        with self._lock_file(_OWNER) as owner, self._lock_file(_SERVERS) as servers:
            await self._take(owner)
            await self._wait_for_leftovers(servers)
            yield servers

    def check_unowned(self) -> None:
        """Raise `CannotStart` while a Pandar runs here; changes nothing."""
        with self._lock_file(_OWNER) as owner:
            if not _try_lock(owner, fcntl.LOCK_SH):
                raise self._owned(owner)

    def secret(self, name: str, fresh: str = "") -> str:
        """Return the secret in the file ``name``, of mode 0600, made once.

        It is ``fresh`` when it is made, or 96 hexadecimal digits. Safe to call in many processes
        at once: all get the same one.
        """
        path = self.path / name
        if not path.exists():
            self._make_secret(path, fresh or secrets.token_hex(SECRET_BYTES))
        return path.read_text("ascii").strip()

    def port(self, server: str) -> int | None:
        """Return the port a server had last."""
        return self._ports().get(server)

    def remember_port(self, server: str, port: int) -> None:
        """Keep the port of a server for the next start."""
        self.write(_PORTS, msgspec.json.encode(self._ports() | {server: port}).decode())

    def write(self, name: str, text: str) -> Path:
        """Replace a file of mode 0600 whole; return its path."""
        path = self.path / name
        temporary = self._write_beside(path, text)
        temporary.replace(path)
        return path

    def _ports(self) -> dict[str, int]:
        try:
            return msgspec.json.decode((self.path / _PORTS).read_bytes(), type=dict[str, int])
        except (FileNotFoundError, msgspec.DecodeError):
            return {}  # a hint only: without it, ports are chosen afresh

    def _make_secret(self, path: Path, text: str) -> None:
        temporary = self._write_beside(path, text)
        try:
            path.hardlink_to(temporary)  # unlike a rename, this never replaces an earlier one
        except FileExistsError:
            return
        finally:
            temporary.unlink()

    def _write_beside(self, path: Path, text: str) -> Path:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        file = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        try:
            with os.fdopen(file, "w") as handle:
                handle.write(text)
                handle.flush()
                os.fsync(handle.fileno())
        except OSError:  # a full disk: leave no litter on it
            temporary.unlink()
            raise
        return temporary

    def _close_to_others(self) -> None:
        mode = self.path.stat().st_mode
        if not mode & _OTHERS_MAY_LOOK:
            return
        if any(self.path.iterdir()) and not (self.path / _OWNER).exists():
            msg = (
                f"PANDAR_DATA={self.path} is open to others (mode {stat.S_IMODE(mode):o}) and"
                " holds files that are not Pandar's: choose an empty directory, or chmod 700 it"
            )
            raise CannotStart(msg)
        self.path.chmod(0o700)

    async def _take(self, owner: int) -> None:
        if not await _lock_within(owner, LOOK_TIMEOUT_SEC):
            raise self._owned(owner)
        os.truncate(owner, 0)
        os.pwrite(owner, f"{os.getpid()}\n".encode(), 0)

    def _owned(self, owner: int) -> CannotStart:
        pid = os.pread(owner, 20, 0).decode(errors="replace").strip() or "unknown"
        return CannotStart(
            f"another Pandar already runs on {self.path} (pid {pid}): stop it, or give this one a"
            " directory of its own with PANDAR_DATA"
        )

    async def _wait_for_leftovers(self, servers: int) -> None:
        if not await _lock_within(servers, LEFTOVER_TIMEOUT_SEC):
            msg = (
                f"servers of an earlier Pandar still run on {self.path}: stop the postgres and"
                " nats-server processes that name this directory, and start again"
            )
            raise CannotStart(msg)

    @contextmanager
    def _lock_file(self, name: str) -> Iterator[int]:
        file = os.open(self.path / name, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            yield file
        finally:
            os.close(file)  # which ends our lock


async def _lock_within(file: int, timeout_sec: float) -> bool:
    try:
        async with asyncio.timeout(timeout_sec):
            while not _try_lock(file):  # noqa: ASYNC110 - the kernel tells of no release
                await asyncio.sleep(0.02)
    except TimeoutError:
        return False
    return True


def _try_lock(file: int, kind: int = fcntl.LOCK_EX) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
