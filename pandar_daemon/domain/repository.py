"""Which repositories and branches a project may name, and how the branch of a task is named.

What is allowed here reaches git as it is, so nothing may pass that git takes for an option, a
helper to run (``ext::``), or a revision other than a branch.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, urlsplit

from events.problem import FieldError

_NAME: Final = r"[A-Za-z0-9._][A-Za-z0-9._-]*"
_SCP: Final = re.compile(rf"(?:{_NAME}@)?{_NAME}:(?!:|//|-).+")
"""``user@host:path``, which is ssh."""
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_SCHEMES: Final = frozenset({"https", "http", "ssh"})
_NOT_IN_BRANCHES: Final = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|//|@\{")
_SLUG_MAX: Final = 40

URL_RULE: Final = (
    "an https: or ssh: URL, user@host:path, or the absolute path of a folder on the runner"
)
_BARE_RULE: Final = "must hold no password: the repository's credential is a secret of its own"
_PLAIN_RULE: Final = "http: is unencrypted, and only for this machine: use https:"
_BRANCH_RULE: Final = "must be the name of a branch, such as main"


def repository_faults(url: object, branch: object) -> Iterator[FieldError]:
    """Yield what is wrong with a project's repository and its base branch, where they are texts."""
    if isinstance(url, str) and (rule := url_fault(url)):
        yield FieldError(field="git_url", rule=rule)
    if isinstance(branch, str) and (rule := branch_fault(branch)):
        yield FieldError(field="base_branch", rule=rule)


def url_fault(url: str) -> str:
    """Return the rule a repository's URL breaks, empty when it may be used or is empty."""
    if not url or local_path(url):
        return URL_RULE if any(c in url for c in "\0\n\r") else ""
    if not url.isprintable() or " " in url:
        return URL_RULE
    scheme = scheme_of(url)
    if scheme not in _SCHEMES:
        return URL_RULE
    return "" if "://" not in url else _parts_fault(url, scheme)


def _parts_fault(url: str, scheme: str) -> str:
    try:
        parts = urlsplit(url)
        host, password, _ = parts.hostname or "", parts.password, parts.port
    except ValueError:
        return URL_RULE
    if not host or host.startswith("-") or (parts.username or "").startswith("-"):
        return URL_RULE
    if password is not None:
        return _BARE_RULE
    return _PLAIN_RULE if scheme == "http" and host not in _LOOPBACK else ""


def local_path(url: str) -> str:
    """Return the absolute path of a repository on this machine, empty for one elsewhere."""
    if url.lower().startswith("file:///"):
        return unquote(url[len("file://") :])
    return url if url.startswith("/") else ""


def scheme_of(url: str) -> str:
    """Return by what a repository is reached: ``file`` for a path, empty for what is no URL."""
    if local_path(url):
        return "file"
    if "://" in url:
        return url.partition("://")[0].lower()
    return "ssh" if _SCP.fullmatch(url) else ""


def without_credentials(url: str) -> str:
    """Return a URL without a password, and for https without a user: what may be written down."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    name = user.partition(":")[0] if scheme == "ssh" else ""
    kept = f"{name}@{host}" if at and name else host
    return f"{scheme}://{kept}{slash}{path}"


def branch_fault(name: str) -> str:
    """Return the rule a branch's name breaks (those of git), empty when it is none or no name."""
    parts = name.split("/")
    bad = (
        _NOT_IN_BRANCHES.search(name)
        or name.startswith("-")
        or name.endswith(".")
        or name in {"@", "HEAD"}
        or not all(part and not part.startswith(".") for part in parts)
        or any(part.endswith(".lock") for part in parts)
    )
    return _BRANCH_RULE if name and bad else ""


def task_branch(task_id: int, name: str) -> str:
    """Return the branch a task works on: ``pandar/42-fix-the-tests``."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    words = re.sub(r"[^a-z0-9]+", "-", plain)[:_SLUG_MAX].strip("-")
    return f"pandar/{task_id}-{words}" if words else f"pandar/{task_id}"
