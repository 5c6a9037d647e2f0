"""Landlock: a process gives up, for itself and all it starts, what it does not name.

Standard library only, for the sake of `warden`. What is given up: every way to open, make, rename
or remove files but below the folders named; TCP; signals to, and abstract sockets of, whoever is
not confined with it; and to look into other processes. What stays, for the kernel does not ask
Landlock about it: to see that a file is there and how big it is, and to change mode, times and
owner of what belongs to the same user.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from typing import Final

ABI_MIN: Final = 6
"""Of Linux 6.12: with less, processes outside could be signalled, the runner too."""

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_TRUNCATE, _IOCTL_DEV = 1 << 14, 1 << 15
_FILES: Final = (1 << 16) - 1
_NETWORK: Final = 3  # to bind, to connect
_SCOPES: Final = 3  # abstract sockets, signals
_OF_A_FILE: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV
READ: Final = _EXECUTE | _READ_FILE | _READ_DIR
WRITE: Final = _FILES & ~(_MAKE_CHAR | _MAKE_BLOCK | _IOCTL_DEV)
DEVICE: Final = _READ_FILE | _WRITE_FILE | _IOCTL_DEV
_NO_NEW_PRIVILEGES: Final = 38

_library = ctypes.CDLL(None, use_errno=True)


def abi() -> int:
    """Return which version of Landlock this kernel offers; 0 for none."""
    try:
        return _call(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_VERSION))
    except OSError:
        return 0


def restrict(rules: Iterable[tuple[int, bytes]]) -> None:
    """Keep, of what `abi` 6 governs, only these rights below these paths; raises ``OSError``.

    What is not there is left out. It cannot be taken back, and no program gains rights any more.
    """
    attributes = struct.pack("<QQQ", _FILES, _NETWORK, _SCOPES)
    size = ctypes.c_size_t(len(attributes))
    ruleset = _call(_CREATE, attributes, size, ctypes.c_uint32(0))
    try:
        for rights, path in rules:
            _allow(ruleset, rights, path)
        control(_NO_NEW_PRIVILEGES, 1)
        _call(_RESTRICT, ctypes.c_int(ruleset), ctypes.c_uint32(0))
    finally:
        os.close(ruleset)


def _allow(ruleset: int, rights: int, path: bytes) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_A_FILE
        rule = struct.pack("<Qi", rights, place)
        kind = ctypes.c_int(_PATH_BENEATH)
        _call(_ADD, ctypes.c_int(ruleset), kind, rule, ctypes.c_uint32(0))
    finally:
        os.close(place)


def control(option: int, *arguments: int) -> None:
    """Call ``prctl``; raises ``OSError``."""
    filled = (*arguments, 0, 0, 0, 0)[:4]
    if _library.prctl(option, *map(ctypes.c_ulong, filled)) < 0:
        raise _error()


def _call(*arguments: object) -> int:
    result = int(_library.syscall(*arguments))
    if result < 0:
        raise _error()
    return result


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
