"""Fences: what confines where namespaces cannot be had, by Landlock and a filter of system calls.

Who is in one sees the same files and processes as outside, but may open only what is its own; it
has no sockets but pairs of them, so it can call nobody. Whoever runs in it can still
see that files are there, change the mode and times of those of its own user, see the list of
processes, and write all of a writable folder: nothing in it can be protected.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from pandar_daemon.adapters.process.request import EXTRAS_FROM
from pandar_daemon.adapters.sandbox import landlock, layout, programs, seccomp, warden
from pandar_daemon.adapters.sandbox.cgroups import Cgroups
from pandar_daemon.adapters.sandbox.enclosing import Enclosure, Made
from pandar_daemon.ports.processes import Spec
from pandar_daemon.ports.sandbox import Box

_ROOT: Final = Path(__file__).resolve().parents[3]
_PROGRAM: Final = (
    f"import sys; sys.path.append(sys.argv.pop(1)); from {warden.__name__} import main; main()"
)
_READABLE: Final = ("/proc",)
_DEVICES: Final = ("null", "zero", "full", "random", "urandom", "tty")


class Fences:
    """The fences of one runner."""

    def __init__(self, cgroups: Cgroups) -> None:
        self._cgroups = cgroups
        self._filter: bytes | None = None

    def enclose(self, spec: Spec, tags: Mapping[str, str]) -> Enclosure:
        """Return how to start a specification that has a box without doors; raises ``OSError``."""
        box = spec.box
        assert box is not None  # noqa: S101 - or there is nothing to enclose
        if box.doors or box.overlays:
            msg = "sandbox landlock has no doors, and nothing can be put over what is there"
            raise OSError(errno.ENOTSUP, msg, spec.argv[0])
        if landlock.abi() < landlock.ABI_MIN:
            msg = f"this kernel has no Landlock, or less than ABI {landlock.ABI_MIN} (Linux 6.12)"
            raise OSError(errno.ENOTSUP, msg, spec.argv[0])
        self._filter = self._filter or seccomp.filter_for(is_apart=False)
        rules = b"".join(b"%d %s\0" % rule for rule in rules_of(box))
        numbers = map(str, range(EXTRAS_FROM, EXTRAS_FROM + 4))
        argv = (programs.python(), "-I", "-S", "-c", _PROGRAM, str(_ROOT), *numbers)
        group = self._cgroups.make(str(spec.execution_id), box.limits)
        tagged = replace(spec, environment={**_own(box), **spec.environment, **tags})
        return Enclosure(tagged, Made(argv=argv, files=(rules, self._filter)), group)


def _own(box: Box) -> dict[str, str]:
    """Return what spares programs the places they may not use."""
    temporary = {"TMPDIR": box.writable[-1]} if box.writable else {}
    return {"GIT_CONFIG_NOSYSTEM": "1", **temporary}


def rules_of(box: Box) -> Iterator[tuple[int, bytes]]:
    """Yield what may be done below which path; nothing may be done elsewhere."""
    for path in (*layout.system(), *_READABLE, *programs.library(), *box.readable):
        yield landlock.READ, os.fsencode(path)
    for name in _DEVICES:
        yield landlock.DEVICE, os.fsencode(f"/dev/{name}")
    for path in box.writable:
        yield landlock.WRITE, os.fsencode(path)
