"""Turn this process into a server that ends with the process that started it.

Run as a program: ``launch.py PARENT SIGNAL IDENTITY -- ARGV...``. It is a program of its own, not
a ``preexec_fn``, because running Python between fork and exec can deadlock when the parent has
threads. Needs the standard library only, and starts in about 20 ms.

IDENTITY is ``same``, ``namespace`` (a user namespace in which root appears as ``nobody``, which
is what Postgres asks for, while files stay root's own) or the name of an account to become.
Where the kernel can (Linux), SIGNAL is sent to the server when the starting *thread* ends, however
it ends. Elsewhere a killed owner leaves its servers running; the next start names them.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1
NOT_LAUNCHED = 125


def main(arguments: list[str]) -> None:
    """Become the server, or exit with `NOT_LAUNCHED` and a line on standard error."""
    parent, signal_number, identity, _, *argv = arguments
    try:
        become(identity)
        die_with(int(parent), int(signal_number))
        os.execv(argv[0], argv)  # noqa: S606 - this is what a launcher does
    except (OSError, KeyError) as error:
        sys.stderr.write(f"cannot launch {argv[0]} as {identity}: {error}\n")
        sys.exit(NOT_LAUNCHED)


def become(identity: str) -> None:
    """Take on an identity; raises ``OSError`` or ``KeyError`` when this is not possible."""
    if identity == "namespace":
        _enter_namespace()
    elif identity != "same":
        account = pwd.getpwnam(identity)
        os.initgroups(account.pw_name, account.pw_gid)
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)


def die_with(parent: int, signal_number: int) -> None:
    """Ask for a signal when the parent ends; call it last, a change of user clears it."""
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        sys.exit(NOT_LAUNCHED)  # it ended before we could ask


def _enter_namespace() -> None:
    nobody = pwd.getpwnam("nobody")
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWUSER)")
    for name, content in (
        ("setgroups", "deny"),
        ("uid_map", f"{nobody.pw_uid} 0 1"),
        ("gid_map", f"{nobody.pw_gid} 0 1"),
    ):
        Path("/proc/self", name).write_text(content)


if __name__ == "__main__":
    main(sys.argv[1:])
