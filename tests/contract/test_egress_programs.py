"""Programs people use, sent through the door by nothing but their environment."""

from __future__ import annotations

import asyncio
import shutil
import ssl
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE

import pytest

from events.calls import Rules
from pandar_daemon.domain.egress import proxy_variables
from pandar_daemon.ports import Outward
from tests.support.egress import Way, served, way_out
from tests.support.receiver import LOCAL
from tests.support.tls import Authority, authority

PATH = "/usr/local/bin:/usr/bin:/bin"
PYTHON = "import sys,urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())"


async def run(way: Way, home: Path, *argv: str, **more: str) -> tuple[int | None, str]:
    """Return how a program ends that has the variables of a box, and what it says."""
    variables = proxy_variables(f"http://{LOCAL}:{way.port}")
    environment = {"PATH": PATH, "HOME": str(home), **variables, **more}
    process = await asyncio.create_subprocess_exec(
        *argv, stdout=PIPE, stderr=PIPE, stdin=asyncio.subprocess.DEVNULL, env=environment
    )
    out, err = await process.communicate()
    return process.returncode, (out + err).decode()


@asynccontextmanager
async def site(files: Mapping[str, bytes], tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve files by their paths."""

    async def answer(reader: StreamReader, writer: StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        path = head.split()[1].decode().partition("?")[0]
        body = files.get(path, b"")
        status = "200 OK" if path in files else "404 Not Found"
        text = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(text.encode() + body)

    async with served(answer, tls=tls) as port:
        yield port


@pytest.fixture
def known(tmp_path: Path) -> Authority:
    """Return whom the programs of a test trust: the file is ``ca.pem``."""
    made = authority("api.test")
    (tmp_path / "ca.pem").write_text(made.pem)
    return made


def outward(port: int) -> Outward:
    """Return that one host may be called."""
    host = f"api.test:{port}"
    return Outward(hosts=(host,), private_hosts=(host,), rules=Rules(policy="auto"))


NAMES = {"api.test": [LOCAL]}


@pytest.mark.parametrize("program", ["curl", "python"])
async def test_it_fetches_what_it_may(tmp_path: Path, known: Authority, program: str) -> None:
    """By http and https from a listed host; from another one it hears why not."""
    fetch = (
        ("curl", "-sS", "--fail-with-body") if program == "curl" else (sys.executable, "-c", PYTHON)
    )
    if shutil.which(fetch[0], path=PATH) is None and program == "curl":
        pytest.skip("no curl here")
    trust = {"CURL_CA_BUNDLE": f"{tmp_path}/ca.pem", "SSL_CERT_FILE": f"{tmp_path}/ca.pem"}
    for scheme, tls in (("http", None), ("https", known.server)):
        async with site({"/hello": b"hello from outside"}, tls) as port:
            async with way_out(outward(port), NAMES) as way:
                url = f"{scheme}://api.test:{port}/hello"
                assert await run(way, tmp_path, *fetch, url, **trust) == (
                    0,
                    "hello from outside" + ("\n" if program == "python" else ""),
                )
                code, said = await run(way, tmp_path, *fetch, f"{scheme}://evil.test/", **trust)
                assert code != 0
                assert "403" in said
            assert [each.host for each in way.blocked] == ["evil.test"]


async def test_what_a_box_serves_itself_is_called_directly(tmp_path: Path) -> None:
    """A test that talks to a server it started needs no door."""
    async with site({"/": b"own server"}) as port:
        async with way_out(Outward(rules=Rules(policy="auto")), {}) as way:
            for host in (LOCAL, "localhost"):
                said = await run(
                    way, tmp_path, sys.executable, "-c", PYTHON, f"http://{host}:{port}/"
                )
                assert said == (0, "own server\n")
        assert way.blocked == []


async def test_git_clones_through_the_door(tmp_path: Path, known: Authority) -> None:
    """By https, which is a tunnel to it."""

    async def git(*argv: str) -> None:
        process = await asyncio.create_subprocess_exec(
            "git",
            "-c",
            "user.name=a",
            "-c",
            "user.email=a@b",
            *argv,
            cwd=tmp_path,
            env={"PATH": PATH, "HOME": str(tmp_path)},
            stdout=PIPE,
            stderr=PIPE,
        )
        said = await process.communicate()
        assert process.returncode == 0, said

    await git("init", "-q", "work")
    (tmp_path / "work" / "a.txt").write_text("from outside")
    await git("-C", "work", "add", ".")
    await git("-C", "work", "commit", "-qm", "a")
    await git("clone", "-q", "--bare", "work", "bare.git")
    await git("-C", "bare.git", "update-server-info")
    bare = tmp_path / "bare.git"
    files = {f"/bare.git/{f.relative_to(bare)}": f.read_bytes() for f in _files(bare)}
    async with site(files, known.server) as port, way_out(outward(port), NAMES) as way:
        url = f"https://api.test:{port}/bare.git"
        cloned = await run(
            way,
            tmp_path,
            "git",
            "clone",
            "-q",
            url,
            str(tmp_path / "copy"),
            GIT_SSL_CAINFO=f"{tmp_path}/ca.pem",
        )
        assert cloned == (0, "")
    assert (tmp_path / "copy" / "a.txt").read_text() == "from outside"


def _files(folder: Path) -> list[Path]:
    return [each for each in folder.rglob("*") if each.is_file()]
