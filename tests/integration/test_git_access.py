"""Getting in at a repository: real git sends a login to its host alone, ssh is given the key."""

from __future__ import annotations

import asyncio
import os
import stat
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from events.running import Assignment, SealedSecrets
from events.secret import SealedSecret, SecretUse
from pandar_daemon.adapters.sealing.master_keys import of_bytes
from pandar_daemon.adapters.sealing.vault import AesVault
from pandar_daemon.domain.redaction import Redactor
from pandar_daemon.ports import Headers, Secret
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.git_access import KEYS, Admission, GitAccess, NotAdmitted
from pandar_daemon.services.line import Line
from pandar_daemon.services.secrets import Secrets
from tests.support.clock import ManualClock
from tests.support.specimen import specimen

VAULT = AesVault((of_bytes(b"m" * 32),))
KEY = VAULT.make_key(7)
SSH_KEY = (
    Ed25519PrivateKey.generate()
    .private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    .decode()
)
REMEMBERS = """#!/bin/sh
printf '%s\\n' "$@" > "$0.arguments"
while [ "$1" != -i ]; do shift; done
cp "$2" "$0.key"
"""


class Daemon:
    """`Sender` that answers with the secrets of a project."""

    def __init__(self) -> None:
        self.secrets = SealedSecrets(project_id=7)

    def set(self, value: str, use: SecretUse = SecretUse.GIT) -> None:
        """Let this be the project's only secret."""
        sealed = VAULT.seal(7, KEY, Secret(name="TOKEN", use=use, value=value))
        item = SealedSecret(name="TOKEN", use=use, sealed=sealed)
        self.secrets = SealedSecrets(project_id=7, key=KEY, items=[item])

    async def ask(
        self,
        subject: str,
        _body: bytes,
        *,
        headers: Headers | None = None,  # noqa: ARG002 - nobody is asked
        timeout_sec: float = 5.0,  # noqa: ARG002 - it waits for nobody
    ) -> bytes:
        """Return the answer."""
        assert subject == "pandar.v1.run.secrets.r1"
        return msgspec.json.encode(self.secrets)

    def access(self, url: str, data: Path, vault: AesVault = VAULT) -> GitAccess:
        """Return an execution's way in."""
        line = Line(specimen(Assignment), "r1", Asker(self, lambda: "t"), ManualClock())
        return GitAccess(Secrets(line, vault), url, data)


class Host:
    """A server that lets nobody in, and keeps what it was asked with."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[str | None] = []
        self.elsewhere = ""

    async def handle(self, request: web.Request) -> web.Response:
        """Refuse, or send on."""
        self.asked.append(request.headers.get("Authorization"))
        if self.elsewhere:
            raise web.HTTPFound(f"{self.elsewhere}{request.path_qs}")
        return web.Response(status=403)


@pytest.fixture
async def hosts() -> AsyncIterator[tuple[Host, Host]]:
    """Return two servers."""
    found, runners = (Host(), Host()), []
    for host in found:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", host.handle)
        runners.append(runner := web.AppRunner(app))
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    for runner in runners:
        await runner.cleanup()


async def git(url: str, admission: Admission, *, path: str = "") -> bytes:
    """Run ``git ls-remote`` as a runner would, and return what it says."""
    settings: Mapping[str, str] = admission.settings
    numbered = {
        f"GIT_CONFIG_{part}_{n}": text
        for n, pair in enumerate(settings.items())
        for part, text in zip(("KEY", "VALUE"), pair, strict=True)
    }
    process = await asyncio.create_subprocess_exec(
        *("git", "ls-remote", "--", url),
        env={
            "PATH": f"{path}:{os.environ['PATH']}",
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_CONFIG_COUNT": str(len(settings)),
            **numbered,
            **admission.environment,
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await process.communicate()
    return out


def files_in(folder: Path) -> list[Path]:
    """Return what there is in a folder."""
    return list(folder.iterdir())


def basic(both: str) -> str:
    """Return the header of a login."""
    return f"Basic {b64encode(both.encode()).decode()}"


@pytest.mark.parametrize(
    ("value", "both"),
    [("ann:hun:ter2", "ann:hun:ter2"), ("ghp_hunter2", "x-access-token:ghp_hunter2")],
)
async def test_a_login_is_sent(
    hosts: tuple[Host, Host], tmp_path: Path, value: str, both: str
) -> None:
    """With the first request; git shows nothing of it."""
    host, _ = hosts
    daemon = Daemon()
    daemon.set(value)
    admission = await daemon.access(f"{host.url}/a.git", tmp_path).admission()
    said = await git(f"{host.url}/a.git", admission)
    assert set(host.asked) == {basic(both)}
    assert b"hunter2" not in said
    assert "hunter2" not in repr(admission)
    assert files_in(tmp_path) == []


async def test_another_host_is_sent_nothing(hosts: tuple[Host, Host], tmp_path: Path) -> None:
    """Neither by its own name nor where the right one sends git on to."""
    host, other = hosts
    daemon = Daemon()
    daemon.set("ann:hunter2")
    admission = await daemon.access(f"{host.url}/a.git", tmp_path).admission()
    await git(f"{other.url}/a.git", admission)
    host.elsewhere = other.url
    await git(f"{host.url}/a.git", admission)
    assert host.asked
    assert len(other.asked) > 1
    assert set(other.asked) == {None}


async def test_ssh_is_given_the_key(tmp_path: Path) -> None:
    """In a file that only the runner's user can read, while it lasts; hosts are kept apart."""
    programs, data = tmp_path / "bin", tmp_path / "it's data"
    programs.mkdir()
    ssh = programs / "ssh"
    ssh.write_text(REMEMBERS)
    ssh.chmod(0o755)
    daemon = Daemon()
    daemon.set(SSH_KEY)
    access = daemon.access("git@git.example.org:a.git", data)
    for _ in range(2):
        admission = await access.admission()
    (file,) = files_in(data / KEYS)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((data / KEYS).stat().st_mode) == 0o700
    await git("git@git.example.org:a.git", admission, path=str(programs))
    arguments = (programs / "ssh.arguments").read_text().splitlines()
    assert (programs / "ssh.key").read_text() == SSH_KEY
    assert f"UserKnownHostsFile={data / 'known_hosts'}" in arguments
    assert "git@git.example.org" in arguments
    assert "PRIVATE" not in str(admission.environment)
    access.close()
    access.close()
    assert files_in(data / KEYS) == []


async def test_another_value_counts_at_once(tmp_path: Path) -> None:
    """It is asked for with each call; none is needed where there is none, or no host."""
    daemon = Daemon()
    access = daemon.access("https://git.example.org/a.git", tmp_path)
    assert await access.admission() == Admission()
    for value in ("ann:one", "ann:two"):
        daemon.set(value)
        (header,) = (await access.admission()).settings.values()
        assert header == f"Authorization: {basic(value)}"
    assert await daemon.access(str(tmp_path), tmp_path).admission() == Admission()
    daemon.set("ann:three", SecretUse.ENV)
    assert await access.admission() == Admission()


@pytest.mark.parametrize(
    ("url", "value", "said"),
    [
        ("ssh://git@git.example.org/a", "ann:hunter2", "TOKEN is a login, which cannot be used"),
        ("http://git.example.org/a", "ann:hunter2", "TOKEN is a login, which cannot be used"),
        ("git://git.example.org/a", "ann:hunter2", "TOKEN is a login, which cannot be used"),
        ("https://git.example.org/a", SSH_KEY, "TOKEN is an SSH key, which cannot be used"),
        ("https://git.example.org/a", "hunter2 hunter2", "TOKEN cannot be used: expected"),
    ],
)
async def test_the_wrong_kind_is_told(tmp_path: Path, url: str, value: str, said: str) -> None:
    """Before anything is sent, and without the value."""
    daemon = Daemon()
    daemon.set(value)
    with pytest.raises(NotAdmitted, match=said) as refused:
        await daemon.access(url, tmp_path).admission()
    assert "hunter2" not in str(refused.value)


async def test_without_the_master_key_it_is_told(tmp_path: Path) -> None:
    """With the key it takes."""
    daemon = Daemon()
    daemon.set("ann:hunter2")
    access = daemon.access("https://git.example.org/a", tmp_path, AesVault(()))
    with pytest.raises(NotAdmitted, match="the secrets of project 7 are sealed with master key"):
        await access.admission()


async def test_nothing_of_it_is_shown_from_then_on(tmp_path: Path) -> None:
    """Neither the login, nor the password alone, nor the header git sends."""
    daemon, redactor = Daemon(), Redactor()
    daemon.set("ann:hunter2-hunter2")
    line = Line(
        specimen(Assignment), "r1", Asker(daemon, lambda: "t"), ManualClock(), redactor=redactor
    )
    access = GitAccess(Secrets(line, VAULT), "https://git.example.org/a", tmp_path)
    (header,) = (await access.admission()).settings.values()
    for shown in ("ann:hunter2-hunter2", "it is hunter2-hunter2", header):
        assert "hunter2" not in redactor.text(shown)
        assert header.split()[-1] not in redactor.text(shown)
