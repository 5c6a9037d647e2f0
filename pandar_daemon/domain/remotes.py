"""Whether two spellings name the same remote repository."""

from __future__ import annotations

import posixpath
import re
from typing import Final
from urllib.parse import unquote, urlsplit

_SCP: Final = re.compile(r"(?:([^@/\s]+)@)?([A-Za-z0-9._-]+):(?!//)(.+)")
_PORTS: Final = {"https": 443, "http": 80, "ssh": 22, "git": 9418}


def is_same(one: str, other: str) -> bool:
    """Tell whether both are the same repository: also when one is reached by ssh, one by https."""
    return bool(one) and _place(one) == _place(other)


def is_local(url: str) -> bool:
    """Tell whether it is a folder, and not on another machine."""
    return _place(url)[0] == ""


def protocol_of(url: str) -> str:
    """Return by what git reaches it, as ``GIT_ALLOW_PROTOCOL`` names it."""
    if is_local(url):
        return "file"
    return urlsplit(url).scheme.lower() if "://" in url else "ssh"


def _place(url: str) -> tuple[str, str]:
    """Return host (empty for this machine) and path."""
    if "://" in url and not url.lower().startswith("file://"):
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            return ("?", url)
        usual = port is None or port == _PORTS.get(parts.scheme.lower())
        host = (parts.hostname or "?") if usual else f"{parts.hostname}:{port}"
        return (host, _path(parts.path))
    if "::" in url:
        return ("?", url)  # a helper of git's
    scp = None if url.startswith(("/", ".", "file:")) else _SCP.fullmatch(url)
    if scp is not None:
        return (scp[2].lower(), _path(scp[3]))
    return ("", _path(url[7:] if url.lower().startswith("file://") else url))


def _path(path: str) -> str:
    plain = posixpath.normpath("/" + unquote(path).strip("/"))
    return plain.removesuffix("/.git").removesuffix(".git")
