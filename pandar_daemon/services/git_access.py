"""How our own git gets in at a project's repository, outside every box: with its secret for git.

The secret is asked for each time, so one that was changed counts at once. A login goes to the host
of the repository alone, in the environment of one process; an SSH key lies in a file that only the
runner's user can read, until `GitAccess.close`.
"""

from __future__ import annotations

import os
import shlex
from base64 import b64encode
from pathlib import Path
from typing import Final

from msgspec import Struct

from pandar_daemon.domain.credential import Login, Remote, SshKey, credential, remote_of
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.ports import Locked, Secret
from pandar_daemon.services.git import Unprepared
from pandar_daemon.services.secrets import Secrets

KEYS: Final = "keys"
"""The folder of the files of keys, in the runner's data directory."""
KNOWN_HOSTS: Final = "known_hosts"


class NotAdmitted(Unprepared):
    """The secret for the repository cannot be used; the text says why, and what to do."""


class Admission(Struct, frozen=True, kw_only=True):
    """What one call of git needs to get in: variables, and settings of git's configuration."""

    environment: dict[str, str] = {}
    settings: dict[str, str] = {}

    def __repr__(self) -> str:
        """Return the names, and of what they hold nothing."""
        return f"Admission({', '.join([*self.environment, *self.settings])})"


class GitAccess:
    """One execution's way to the repository of its project, at ``url``."""

    def __init__(self, secrets: Secrets, url: str, data: Path) -> None:
        """Keep the file of a key under ``data`` until `close`."""
        held = secrets.held
        self._secrets = secrets
        self._remote = remote_of(url)
        self._hosts = data / KNOWN_HOSTS
        self._file = data / KEYS / f"{held.execution_id}"

    async def admission(self) -> Admission:
        """Return what git needs now; nothing where the project has no secret for it.

        Raises `NotAdmitted` for a secret that cannot be used here or there, or once the lease is
        over.
        """
        if self._remote.is_local:
            return Admission()
        try:
            secret = await self._secrets.git()
        except (Locked, Refusal) as error:
            raise NotAdmitted(str(error)) from None
        return Admission() if secret is None else self._admission(secret)

    def close(self) -> None:
        """Leave no key behind."""
        self._file.unlink(missing_ok=True)

    def _admission(self, secret: Secret) -> Admission:
        try:
            found = credential(secret.value)
        except ValueError as error:
            raise NotAdmitted(f"secret {secret.name} cannot be used: {error}") from None
        if isinstance(found, Login) and self._remote.takes_logins:
            return _of_login(found, self._remote)
        if isinstance(found, SshKey) and self._remote.scheme == "ssh":
            return self._of_key(found)
        kind = "a login" if isinstance(found, Login) else "an SSH key"
        raise NotAdmitted(
            f"secret {secret.name} is {kind}, which cannot be used for a repository by"
            f" {self._remote.scheme}: set an SSH key for ssh, a login or a token for https"
        )

    def _of_key(self, key: SshKey) -> Admission:
        folder = self._file.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(file, "w") as handle:
            handle.write(key.text)
        fresh.replace(self._file)
        return Admission(environment={"GIT_SSH_COMMAND": _ssh(self._file, self._hosts)})


def forget_keys(data: Path) -> None:
    """Remove the files of keys that a runner which was killed left."""
    for file in (data / KEYS).glob("*"):
        file.unlink(missing_ok=True)


def _of_login(login: Login, remote: Remote) -> Admission:
    both = b64encode(f"{login.user}:{login.password}".encode()).decode()
    return Admission(settings={f"http.{remote.origin}.extraHeader": f"Authorization: Basic {both}"})


def _ssh(key: Path, hosts: Path) -> str:
    """Return ssh with this key alone: a new host is remembered, a changed one refused."""
    options = {
        "BatchMode": "yes",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "StrictHostKeyChecking": "accept-new",
        "UserKnownHostsFile": str(hosts),
        "ConnectTimeout": "20",
        "ServerAliveInterval": "15",
    }
    words = ["ssh", "-F", "/dev/null", "-i", str(key)]
    words += [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    return shlex.join(words)
