"""Whether a box holds on this machine: tried, not guessed from what is installed."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from events.confinement import Level
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.adapters.process.host import Host
from pandar_daemon.adapters.sandbox import programs
from pandar_daemon.ports import Box, Spec

_HELD: Final = {
    "reads a secret": False,
    "writes its folder": True,
    "writes the system": False,
    "reaches this machine": False,
    "reaches the host of a virtual machine": False,
    "sees our processes": False,
    "signals us": False,
    "sees our environment": False,
}
_UNCLAIMED: Final = {Level.BWRAP: {"signals us"}, Level.LANDLOCK: {"sees our processes"}}
"""What is not asked of a level: in a namespace our number may be that of somebody else."""
_PROGRAM: Final = """
import os, socket, sys
secret, folder, port, runner = sys.argv[1:]
def can(what):
    try:
        what()
        return True
    except OSError:
        return False
print("{" + ",".join('"%s":%s' % (name, "true" if can(what) else "false") for name, what in {
    "reads a secret": lambda: open(secret),
    "writes its folder": lambda: open(folder + "/ok", "w"),
    "writes the system": lambda: open("/usr/pandar-self-test", "w"),
    "reaches this machine": lambda: socket.create_connection(("127.0.0.1", int(port)), 1),
    "reaches the host of a virtual machine": lambda: socket.socket(40, 1),
    "sees our processes": lambda: os.stat("/proc/9"),
    "signals us": lambda: os.kill(int(runner), 0),
    "sees our environment": lambda: os.stat(os.environ.get("PANDAR_SELF_TEST", "/nowhere")),
}.items()) + "}")
"""


async def fault(host: Host, level: Level) -> str:
    """Return why a box of this level does not hold here, with what to do; empty when it does."""
    with _folder() as folder, _listening() as port:
        try:
            shown = await _shown(host, level, folder, port)
            found = msgspec.json.decode(shown, type=dict[str, bool])
        except OSError as error:
            return str(error.strerror or error)
        except msgspec.DecodeError:
            return f"the box told: {shown.decode(errors='replace')[-400:]}"
    asked = {name: held for name, held in _HELD.items() if name not in _UNCLAIMED.get(level, ())}
    wrong = [name for name, held in asked.items() if found.get(name) is not held]
    if wrong:
        return "who is in the box " + " and ".join(
            name if found.get(name) else f"not {name}" for name in wrong
        )
    return ""


async def _shown(host: Host, level: Level, folder: Path, port: int) -> bytes:
    (folder / "secret").write_text("x")
    inside, home = folder / "inside", folder / "home"
    inside.mkdir()
    home.mkdir()
    arguments = (str(folder / "secret"), str(inside), str(port), str(os.getpid()))
    spec = Spec(
        execution_id=SystemClock().new_id(),
        argv=(programs.python(), "-I", "-S", "-c", _PROGRAM, *arguments),
        cwd=str(inside),
        environment={"PATH": "/usr/bin:/bin"},
        box=Box(level=level, writable=(str(inside), str(home))),
    )
    process = await host.start(spec)
    shown = b""
    async for data in process.output():
        shown += data
    await process.wait()
    return shown


@contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pandar-") as folder:
        yield Path(folder).resolve()


@contextmanager
def _listening() -> Iterator[int]:
    """Listen on loopback, where nobody in a box may come."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        yield int(listener.getsockname()[1])
