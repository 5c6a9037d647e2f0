"""Which words of tools reach out of a box, and what is added to them where they are run outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

_INSIDE: Final = frozenset(
    {
        *("run", "run-script", "exec", "x", "dlx", "test", "t", "start", "install", "i", "ci"),
        *("add", "remove", "build", "check", "sync", "lock"),
    }
)
"""First words after which a word such as ``publish`` is the name of something in the project."""
_BUILDERS: Final = frozenset(
    {
        *("npm", "pnpm", "yarn", "bun", "twine", "cargo", "gem", "poetry", "uv", "hatch", "flit"),
        *("pdm", "docker", "podman"),
    }
)


def is_inside(tool: str, argv: Sequence[str]) -> bool:
    """Tell whether it reaches out of the box only by what it runs there."""
    if tool not in _BUILDERS:
        return False
    if argv[:2] == ("buildx", "build") or argv[:1] == ("buildx",):
        return "--push" not in argv
    return any(word in _INSIDE for word in argv[:1])


def completed(
    tool: str, argv: Sequence[str], repository: str, branch: str
) -> tuple[tuple[str, ...], Mapping[str, str]]:
    """Return what to run where there is no clone, and with which variables.

    ``gh`` is told the repository, and the branch a pull request is of.
    """
    words = tuple(argv)
    if tool != "gh" or not repository:
        return words, {}
    if words[:2] == ("pr", "create") and branch and not _has(words, "--head", "-H"):
        words = (*words, "--head", branch)
    name = _name(repository)
    return words, {"GH_REPO": name} if name else {}


def _has(words: Sequence[str], name: str, letter: str) -> bool:
    return any(word == name or word.startswith((f"{name}=", letter)) for word in words)


def _name(repository: str) -> str:
    """Return ``[host/]owner/name``, as gh has it; empty for what has no such name."""
    if "://" in repository:
        parts = urlsplit(repository)
        host, path = parts.hostname or "", parts.path
    else:
        place, _, path = repository.partition(":")
        host = place.rpartition("@")[2]
    plain = path.strip("/").removesuffix(".git")
    if not host or plain.count("/") != 1:
        return ""
    return plain if host == "github.com" else f"{host}/{plain}"
