"""As whom Postgres runs: it refuses to run as root."""

from __future__ import annotations

import os
import pwd
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from pandar_daemon.adapters.embedded import children
from pandar_daemon.adapters.embedded.errors import CannotStart

SAME = "same"
NAMESPACE = "namespace"
_ACCOUNTS = ("postgres", "nobody")


async def choose(environment: Mapping[str, str], log: Path) -> str:
    """Return the identity for `children.Program`.

    An ordinary user stays the same. Root becomes the account ``PANDAR_PG_ACCOUNT`` names. Without
    that it gets a user namespace, where the kernel grants one: no account is made, and all files
    stay root's and closed. Else it becomes ``postgres`` or ``nobody``. Raises `CannotStart` when
    there is no such account.
    """
    if os.geteuid() != 0:
        return SAME
    asked = environment.get("PANDAR_PG_ACCOUNT")
    if asked:
        return _existing(asked)
    if sys.platform == "linux" and await _namespace_granted(log):
        return NAMESPACE
    for name in _ACCOUNTS:
        if _exists(name):
            return name
    raise CannotStart(
        "PostgreSQL does not run as root, the kernel grants no user namespace, and there is no"
        " account postgres or nobody: run Pandar as an ordinary user, or set PANDAR_DATABASE_URL"
    )


def hand_over(identity: str, base: Path, *paths: Path) -> None:
    """Give paths to the account Postgres becomes, and let it pass through their directory.

    Does nothing unless ``identity`` is an account.
    """
    if identity in {SAME, NAMESPACE}:
        return
    account = pwd.getpwnam(identity)
    base.chmod(0o711)
    for path in paths:
        os.chown(path, account.pw_uid, account.pw_gid)


async def _namespace_granted(log: Path) -> bool:
    program = children.Program(
        argv=("/bin/true",), log=log, stop=signal.SIGTERM, identity=NAMESPACE
    )
    return await children.run(program) == 0


def _existing(name: str) -> str:
    if _exists(name):
        return name
    msg = f"PANDAR_PG_ACCOUNT={name}: there is no such account"
    raise CannotStart(msg)


def _exists(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
