"""A whole Pandar with keys worth stealing, and the servers and repositories round it."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import secrets
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from pandar_daemon.adapters.agents.places import of_python
from tests.isolation import hostile
from tests.support.agent_tasks import DEMO, AgentTask, following
from tests.support.api import Person
from tests.support.git_server import git_server
from tests.support.repositories import commit, git
from tests.support.up import Up

WIDENING = """
policy = "auto"
hosts = ["*.example.com", "not-allowed.example.com"]
private_hosts = ["{closed}"]
protected = []
stop_at = []
readable = ["/"]

[allow.all]
match = {{ commands = ["*"] }}

[limits]
memory_mb = 1000000
"""
"""What a repository has in its ``.pandar.toml`` that would like its tasks to be free."""
_CONFIGURATION = """
[limits]
requests_per_minute = 1_000_000
commands_per_minute = 1_000_000
[sandbox]
readable = {readable}
hosts = ["{allowed}"]
private_hosts = ["{allowed}", "{asked}"]
[allow.hostile]
match = {{ commands = ["python3 hostile.py *"] }}
"""

SHOWN = [*of_python(), str(Path(__file__).parents[1])]
"""What every box may read, so that our own agents run in it: programs, and nobody's files."""


class Server:
    """Answers every request on a port of this machine, and keeps what came."""

    def __init__(self, text: str = "welcome") -> None:
        self.came: list[tuple[str, dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.came.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @property
    def port(self) -> int:
        """Return where it listens."""
        return int(self._server.server_address[1])

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Answer as long as the context lasts."""
        thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class Grounds:
    """One running Pandar; what is ``secret`` belongs into no box, but the released value."""

    def __init__(self, base: Path) -> None:
        self.base = base
        self.data = base / "data"
        self.canary = base / "canary"
        self.bare, self.wide = base / "served" / "origin.git", base / "served" / "wide.git"
        self.model_key = f"made-up-model-key-{secrets.token_hex(12)}"
        self.password = f"made-up-password-{secrets.token_hex(12)}"
        self.released = f"made-up-value-{secrets.token_hex(12)}"
        self.allowed, self.asked, self.closed = Server(), Server(), Server()
        self.model = Server(f"the key is {self.model_key}")
        self.git_url = ""
        self.project = self.wide_project = 0
        self.up = Up(
            self.data,
            PANDAR_SANDBOX="bwrap",
            PANDAR_SLOTS="8",
            PANDAR_AGENT_KEYED_COMMAND=DEMO,
            PANDAR_AGENT_KEYED_API_KEY=self.model_key,
            PANDAR_AGENT_KEYED_BASE_URL=f"http://127.0.0.1:{self.model.port}",
            PANDAR_AGENT_KEYED_ENV_KEYED_API_KEY="$api_key",
            PANDAR_AGENT_KEYED_ENV_KEYED_URL="$base_url",
        )

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start all of it, and end all of it."""
        for folder in (self.data, self.canary, self.bare.parent):
            folder.mkdir(parents=True, mode=0o700)
        self.canary.chmod(0o777)
        self._configure()
        login = base64.b64encode(f"ann:{self.password}".encode()).decode()
        with contextlib.ExitStack() as stack:
            for server in (self.allowed, self.asked, self.closed, self.model):
                stack.enter_context(server.serving())
            served = _in_a_thread(self.bare.parent, f"Basic {login}")
            self.git_url = f"{stack.enter_context(served)}/origin.git"
            loop = asyncio.new_event_loop()
            stack.callback(loop.close)
            try:
                loop.run_until_complete(self.up.start())
                loop.run_until_complete(self._fill())
                yield
                assert loop.run_until_complete(self.up.stop()) == 0, self.up.program.printed
                assert '"level":"error"' not in self.up.log, self.up.log
            finally:
                loop.run_until_complete(self.up.program.kill())

    def _configure(self) -> None:
        text = _CONFIGURATION.format(
            readable=json.dumps(SHOWN),
            allowed=f"localhost:{self.allowed.port}",
            asked=f"localhost:{self.asked.port}",
        )
        (self.data / "pandar.toml").write_text(text)

    async def _fill(self) -> None:
        """Make the projects, their repositories and their secrets."""
        self._make(self.bare)
        self._make(self.wide, {".pandar.toml": WIDENING.format(closed=self._host(self.closed))})
        async with self.up.owner() as owner:
            body = {"name": "guarded", "git_url": self.git_url, "base_branch": "main"}
            self.project = int((await owner.post("/projects", body))["id"])
            body = {"name": "wide", "git_url": str(self.wide), "base_branch": "main"}
            self.wide_project = int((await owner.post("/projects", body))["id"])
            named = {
                "GIT_LOGIN": (f"ann:{self.password}", "git"),
                "API_KEY": (self.released, "env"),
            }
            for name, (value, use) in named.items():
                path = f"/projects/{self.project}/secrets/{name}"
                reply, told = await owner.call("PUT", path, json={"value": value, "use": use})
                assert reply.status == 200, told

    def _make(self, bare: Path, more: dict[str, str] | None = None) -> None:
        source = self.base / f"source-{bare.stem}"
        source.mkdir()
        git(source, "init", "-q", "-b", "main")
        program = Path(hostile.__file__).read_text()
        facts = json.dumps(self._facts(bare))
        ignored = "*.json\nready\ngo\nmoved\nloot\nother\n"
        files = {"hostile.py": program, ".gitignore": ignored, "README": "hello\n", **(more or {})}
        commit(source, files)
        (source / "facts.json").write_text(facts)
        git(source, "add", "-f", "facts.json")
        git(source, "commit", "-q", "-m", "what there is")
        git(self.base, "clone", "-q", "--bare", str(source), str(bare))
        git(bare, "config", "http.receivepack", "true")

    def _facts(self, bare: Path) -> dict[str, object]:
        here = [urlsplit(url).port for url in (self.up.base_url, self.up.nats_url)]
        here += [urlsplit(self.up.database_url).port, urlsplit(self.git_url).port]
        here += [self.model.port, self.closed.port]
        names = ("token", "jwt.secret", "master.key", "pandar.toml", "running.json", "mirrors")
        others = [str(self.data / name) for name in (*names, "workspaces", "homes", "shims")]
        others += [str(self.data / folder / "task-1") for folder in ("workspaces", "homes")]
        return {
            "ports": here,
            "data": str(self.data),
            "base": str(self.base),
            "shown": SHOWN,
            "canary": str(self.canary),
            "bare": str(bare),
            "guessed": self.git_url.replace("//", "//ann:guessed@"),
            "others": [*others, str(self.data), str(bare), str(self.base)],
            "allowed": self._host(self.allowed),
            "asked": self._host(self.asked),
            "closed": self._host(self.closed),
        }

    def _host(self, server: Server) -> str:
        return f"localhost:{server.port}"

    # --- what is looked at ---

    @property
    def secret(self) -> dict[str, str]:
        """Return what belongs into no box, by what it is."""
        found = {"model key": self.model_key, "password": self.password, "value": self.released}
        for name in ("token", "jwt.secret", "master.key"):
            found[name] = (self.data / name).read_text().split()[-1]
        running = json.loads((self.data / "running.json").read_text())
        for name, url in running.items():
            if isinstance(url, str) and "://" in url and urlsplit(url).password:
                found[name] = str(urlsplit(url).password)
        return found

    def refs(self, bare: Path | None = None) -> dict[str, str]:
        """Return what a repository has."""
        lines = git(bare or self.bare, "for-each-ref", "--format=%(refname:short) %(objectname)")
        return dict(line.split(" ", 1) for line in lines.splitlines())

    def found(self, task: AgentTask, name: str) -> Any:  # noqa: ANN401
        """Return what came of an act."""
        return msgspec.json.decode((task.workspace / f"{name}.json").read_bytes())

    def fingerprint(self) -> dict[str, str]:
        """Return all files no task may touch, but for those that Pandar itself writes to."""
        names = ("token", "jwt.secret", "master.key", "pandar.toml", "running.json")
        places = [self.data / name for name in (*names, "shims", "mirrors")]
        places += [self.data / folder / "task-1" for folder in ("workspaces", "homes")]
        places += [self.bare, self.wide, self.canary]
        files = [each for place in places for each in (place, *place.rglob("*"))]
        return {
            str(file): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in files
            if file.is_file() and file.suffix != ".lock"
        }


@asynccontextmanager
async def filed(
    grounds: Grounds, owner: Person, work: str, *, project: int = 0, agent: str = "", **more: object
) -> AsyncIterator[AgentTask]:
    """Yield a new task: a plain command, or a script of an agent."""
    body: dict[str, object] = {"name": "t", "project_id": project or grounds.project}
    body |= {"prompt": work} if agent else {"command": work}
    metadata = {"agent": agent, **more} if agent else more
    number = int((await owner.post("/tasks", {**body, "metadata": metadata}))["id"])
    async with following(owner, number, grounds.data) as task:
        yield task


@contextmanager
def _in_a_thread(folder: Path, authorization: str) -> Iterator[str]:
    """Yield the URL of a git server that answers whatever the tests' own loops do."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    served = git_server(folder, authorization)
    try:
        yield asyncio.run_coroutine_threadsafe(served.__aenter__(), loop).result(30)
        leaving = served.__aexit__(None, None, None)
        asyncio.run_coroutine_threadsafe(leaving, loop).result(30)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
