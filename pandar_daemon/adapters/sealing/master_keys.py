"""Master keys: 32 random bytes each, from the environment, a file, or made at the first start."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import stat
from base64 import b64decode, b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from pandar_daemon.adapters.embedded.data import DataDirectory
from pandar_daemon.config import ConfigError, Settings

NAME: Final = "master.key"
BYTES: Final = 32
SIZE_MAX: Final = 65_536
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_EXPECTED: Final = f"expected {BYTES} bytes as base64, such as `openssl rand -base64 {BYTES}` makes"


class MasterKey(Struct, frozen=True):
    """A master key; ``key_id`` is made of it and tells nothing of it."""

    key_id: str
    secret: bytes

    def __repr__(self) -> str:
        """Return its id alone."""
        return f"MasterKey({self.key_id})"


def master_keys(settings: Settings, *, make: bool) -> tuple[MasterKey, ...]:
    """Return the present key, then the old ones; with ``make`` there is one.

    One that is given by the environment or its file is the present one; what the data folder has
    is then old. Raises `ConfigError` for what cannot be used, and for a file others may read.
    """
    if settings.master_key and settings.master_key_file:
        raise ConfigError("PANDAR_MASTER_KEY and PANDAR_MASTER_KEY_FILE are both set: set one")
    given = [*_of_environment(settings), *_of_given_file(settings)]
    present = given or list(_own(settings.data, make=make))
    left = _own(settings.data, make=False) if given else ()
    old = _words("PANDAR_MASTER_KEY_OLD", settings.master_key_old or "")
    return tuple({key.key_id: key for key in (*present, *old, *left)}.values())


def of_bytes(secret: bytes) -> MasterKey:
    """Return 32 bytes as a master key."""
    key_id = hmac.digest(secret, b"pandar master key id", hashlib.sha256).hex()[:16]
    return MasterKey(key_id, secret)


def _of_environment(settings: Settings) -> Iterator[MasterKey]:
    if settings.master_key:
        yield _key("PANDAR_MASTER_KEY", settings.master_key.strip())


def _of_given_file(settings: Settings) -> Iterator[MasterKey]:
    if settings.master_key_file:
        path = Path(settings.master_key_file).expanduser()
        name = f"PANDAR_MASTER_KEY_FILE={path}"
        found = list(_words(name, _read(path, name)))
        if not found:
            raise ConfigError(f"{name}: {_EXPECTED}")
        yield from found


def _own(data: Path, *, make: bool) -> Iterator[MasterKey]:
    """Yield the keys in the data folder."""
    path = data.expanduser() / NAME
    if make:
        DataDirectory(data).secret(NAME, b64encode(secrets.token_bytes(BYTES)).decode())
    if path.exists():
        yield from _words(str(path), _read(path, str(path)))


def _read(path: Path, name: str) -> str:
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        with os.fdopen(file, "rb") as handle:
            mode = stat.S_IMODE(os.fstat(file).st_mode)
            if mode & _OTHERS:
                raise ConfigError(f"{name}: others may read it (mode {mode:o}): chmod 600 it")
            return handle.read(SIZE_MAX).decode("ascii", "replace")
    except OSError as error:
        raise ConfigError(f"{name}: {error.strerror}") from error


def _words(name: str, text: str) -> Iterator[MasterKey]:
    """Yield keys parted by blanks, commas or line ends; a line that begins with # is none."""
    lines = (line for line in text.splitlines() if not line.lstrip().startswith("#"))
    for word in re.split(r"[\s,]+", "\n".join(lines)):
        if word:
            yield _key(name, word)


def _key(name: str, text: str) -> MasterKey:
    try:
        secret = b64decode(text.translate(str.maketrans("-_", "+/")), validate=True)
    except ValueError:
        secret = b""
    if len(secret) != BYTES:
        raise ConfigError(f"{name}: {_EXPECTED}")
    return of_bytes(secret)
