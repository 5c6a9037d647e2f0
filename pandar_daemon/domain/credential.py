"""What a project's repository is reached with, as the value of its secret for git says.

* ``-----BEGIN … PRIVATE KEY-----``: an SSH private key, without a passphrase, for ssh remotes.
* ``user:password``: both, for https remotes.
* anything else on one line: a token, for https remotes, with `TOKEN_USER` as its user. GitHub and
  GitLab accept that; where another user is asked for, write ``user:token``.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error
from typing import Final

from msgspec import Struct

TOKEN_USER: Final = "x-access-token"  # noqa: S105 - a user's name
_PRIVATE_KEY: Final = re.compile(
    r"-----BEGIN (?P<kind>[A-Z0-9 ]*)PRIVATE KEY-----\n(?P<body>(?:(?!-----).)+)\n"
    r"-----END (?P=kind)PRIVATE KEY-----\n?",
    re.DOTALL,
)
_OPENSSH: Final = b"openssh-key-v1\0\0\0\0\x04none"
"""So begins a key of OpenSSH's own format that is not encrypted."""
_SCP: Final = re.compile(r"[^/:]+:")
_HERE: Final = tuple(
    f"http://{name}{end}" for name in ("127.0.0.1", "localhost", "[::1]") for end in ":/"
)
_ONE_LINE: Final = re.compile(r"[^\x00-\x20\x7f]+")


class Login(Struct, frozen=True):
    """For https remotes. It shows no password when it is printed."""

    user: str
    password: str

    def __repr__(self) -> str:
        """Return whose it is, and of the password nothing."""
        return f"Login({self.user})"


class SshKey(Struct, frozen=True):
    """For ssh remotes: the text of the key's file. It shows nothing of it when it is printed."""

    text: str

    def __repr__(self) -> str:
        """Return what it is, and of the key nothing."""
        return "SshKey()"


class Remote(Struct, frozen=True):
    """Where a repository is, as far as it matters for getting in.

    ``scheme`` is ``file`` for a path; ``origin`` is ``https://host:port/``, empty for all others.
    """

    scheme: str
    origin: str = ""

    @property
    def is_local(self) -> bool:
        """Return whether nobody need be asked to get in."""
        return self.scheme == "file"

    @property
    def takes_logins(self) -> bool:
        """Return whether a password can be sent: never in the clear, but on this machine."""
        return self.scheme == "https" or self.origin.startswith(_HERE)


def remote_of(url: str) -> Remote:
    """Return where a URL as git takes it leads; ``host:path`` is ssh, any other path is a file."""
    scheme, there, rest = url.partition("://")
    if not there:
        return Remote("ssh" if _SCP.match(url) else "file")
    scheme = scheme.lower()
    if scheme not in {"http", "https"}:
        return Remote(scheme)
    host = rest.partition("/")[0].rpartition("@")[2].lower()
    return Remote(scheme, f"{scheme}://{host}/")


def credential(value: str) -> Login | SshKey:
    """Return what a value is; raises ``ValueError`` that says what is expected, no more."""
    if value.startswith("-----BEGIN "):
        return _ssh_key(value.replace("\r\n", "\n"))
    if not _ONE_LINE.fullmatch(value):
        raise ValueError("expected user:password, a token, or an SSH private key, without blanks")
    user, colon, password = value.partition(":")
    if not colon:
        return Login(TOKEN_USER, value)
    if not user or not password:
        raise ValueError("expected both of user:password")
    return Login(user, password)


def _ssh_key(text: str) -> SshKey:
    found = _PRIVATE_KEY.fullmatch(text)
    if found is None:
        raise ValueError("expected one whole private key, from its BEGIN line to its END line")
    if _needs_passphrase(found["kind"], found["body"]):
        raise ValueError("expected a key without a passphrase: there is nobody to type it")
    return SshKey(text if text.endswith("\n") else f"{text}\n")


def _needs_passphrase(kind: str, body: str) -> bool:
    if kind != "OPENSSH ":
        return "ENCRYPTED" in kind + body
    try:
        return not b64decode(body).startswith(_OPENSSH)
    except (Error, ValueError):
        return True
