"""What surrounds a box in these tests, and the program that lets the hostile one loose in there.

``python -m tests.isolation.arena LEVEL NAME…`` makes it all in a fresh folder, does each of these
in a box of its own, and prints a line of JSON for each: what came of it, by the account of who did
it and by what is found outside afterwards. As root it runs in a mount namespace where all but that
folder can only be read, so that an attempt that succeeds does no harm.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

from events.confinement import Level, Limits
from pandar_daemon.adapters.process.host import Host
from pandar_daemon.adapters.sandbox import programs
from pandar_daemon.ports import Box, Spec
from tests.isolation import inside
from tests.support.boxes import boxes_in

MARKER = "tests.isolation.arena"
"""In the command line of this program, and of no other."""
LIMITS = Limits(memory_mb=512, processes=128, disk_mb=256)


class Arena:
    """One: folders, servers, secrets; `enter` runs something in a box of its own."""

    def __init__(self, folder: Path, level: Level = Level.BWRAP) -> None:
        self.folder, self.level = folder, level
        self.owner = folder / "owner"
        self.data = folder / "data"
        self.workspace = self.data / "workspaces" / "task-1"
        self.home = self.data / "homes" / "task-1"
        self.facts: dict[str, object] = {}
        self._host: Host | None = None

    def build(self) -> None:
        """Make the folders, and a repository with shared objects."""
        for path in (self.owner, self.workspace, self.home, self.data / "workspaces" / "task-2"):
            path.mkdir(parents=True)
        (self.owner / "secret").write_text("made-up-secret")
        (self.data / "jwt.secret").write_text("made-up-secret")
        (self.data / "workspaces" / "task-2" / "work.txt").write_text("made-up-secret")
        mirror = self.folder / "mirror"
        _make_repository(self.folder / "origin", mirror)
        how = "--local" if self.level is Level.BWRAP else "--no-hardlinks"
        _git("clone", "-q", how, str(mirror), str(self.repository))
        program = self.workspace / "inside.py"
        program.write_text(Path(inside.__file__).read_text())
        self.facts |= {
            "owner_secret": str(self.owner / "secret"),
            "daemon_secret": str(self.data / "jwt.secret"),
            "other_task": str(self.data / "workspaces" / "task-2"),
            "workspace": str(self.workspace),
            "repository": str(self.repository),
            "marker": MARKER,
            "runner_pid": os.getpid(),
        }

    @property
    def repository(self) -> Path:
        """The task's clone, in its folder."""
        return self.workspace / "repository"

    @property
    def protected(self) -> tuple[str, ...]:
        """What of the clone can only be read."""
        git = self.repository / ".git"
        shared = [
            path
            for path in (git / "objects").rglob("*")
            if path.is_file() and path.stat().st_nlink > 1
        ]
        return tuple(map(str, (git / "config", git / "hooks", *shared)))

    @contextlib.contextmanager
    def servers(self) -> Iterator[None]:
        """Listen wherever nobody in a box may come."""
        name = f"pandar-{secrets.token_hex(8)}"
        with contextlib.ExitStack() as stack:
            four = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port = four.getsockname()[1]
            with contextlib.suppress(OSError):
                six = socket.create_server(("::1", port), family=socket.AF_INET6)
                stack.enter_context(six)
            for address in (str(self.folder / "outside.sock"), f"\0{name}"):
                end = stack.enter_context(socket.socket(socket.AF_UNIX))
                end.bind(address)
                end.listen()
            self.facts |= {
                "tcp_port": port,
                "unix_socket": str(self.folder / "outside.sock"),
                "abstract_socket": name,
            }
            yield

    def host(self) -> Host:
        """Return what starts boxes here."""
        self._host = self._host or Host(self.data, grace_sec=0.3, boxes=boxes_in(self.data))
        return self._host

    def spec(self, *argv: str, limits: Limits = LIMITS) -> Spec:
        """Return how to run something in a box."""
        return Spec(
            execution_id=uuid4(),
            argv=argv,
            cwd=str(self.workspace),
            environment={"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(self.home)},
            box=Box(
                level=self.level,
                writable=(str(self.workspace), str(self.home)),
                protected=self.protected,
                limits=limits,
            ),
        )

    async def enter(self, *argv: str, limits: Limits = LIMITS) -> tuple[int | None, str]:
        """Return how it ended, and what it showed."""
        process = await self.host().start(self.spec(*argv, limits=limits))
        shown = b""
        async for data in process.output():
            shown += data
        return (await process.wait()).exit_code, shown.decode(errors="replace")

    async def act(self, name: str) -> dict[str, object]:
        """Let the hostile program do one thing, and look afterwards what it left outside."""
        facts = self.workspace / "arena.json"
        facts.write_text(json.dumps(self.facts))
        before = self.fingerprint()
        program = str(self.workspace / "inside.py")
        _, shown = await self.enter(programs.python(), "-I", "-S", program, str(facts), name)
        try:
            said = json.loads(shown.strip().splitlines()[-1])
        except (IndexError, ValueError):
            said = {"done": False, "how": shown[-500:]}
        return {"name": name, **said, "outside": self.fingerprint() == before}

    def fingerprint(self) -> dict[str, bytes]:
        """Return all files outside the box, its git folder's settings, and what they hold."""
        git = self.repository / ".git"
        places = [self.owner, self.folder / "mirror", self.data / "workspaces" / "task-2"]
        files = [path for place in places for path in place.rglob("*") if path.is_file()]
        hooks = [path for path in (git / "hooks").rglob("*") if path.is_file()]
        beside = [path for path in (*self.folder.iterdir(), *self.data.iterdir()) if path.is_file()]
        beside += [path for path in (self.data / "workspaces").iterdir() if path.is_file()]
        known = [*files, *hooks, *beside, *git.glob("config")]
        return {str(path): path.read_bytes() for path in known if not path.is_socket()}


def _make_repository(origin: Path, mirror: Path) -> None:
    origin.mkdir()
    _git("init", "-q", "-b", "main", str(origin))
    (origin / "README").write_text("hello\n")
    author = ("-c", "user.name=a", "-c", "user.email=a@b")
    _git("-C", str(origin), "add", "-A")
    _git("-C", str(origin), *author, "commit", "-q", "-m", "first")
    _git("clone", "-q", "--bare", str(origin), str(mirror))
    _git("-C", str(mirror), "repack", "-a", "-d", "-q")


def _git(*words: str) -> None:
    environment = {"PATH": "/usr/bin:/bin", "GIT_CONFIG_NOSYSTEM": "1", "HOME": "/nonexistent"}
    subprocess.run(["git", *words], check=True, env=environment, capture_output=True)


@asynccontextmanager
async def arena(folder: Path, level: Level = Level.BWRAP) -> AsyncIterator[Arena]:
    """Yield one whose servers listen."""
    made = Arena(folder.resolve(), level)
    made.build()
    with made.servers():
        yield made


async def main(level: str, *names: str) -> None:
    """Do each of these in an arena of its own."""
    os.environ["PANDAR_RUNNER_TOKEN"] = "made-up-secret"
    base = Path(os.environ["ARENA"])
    for name in names:
        folder = base / secrets.token_hex(4)
        folder.mkdir()
        async with arena(folder, Level(level)) as made:
            print(json.dumps(await made.act(name)), flush=True)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
