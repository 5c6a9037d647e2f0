"""Paths: which hold secrets, which lie outside, which are run later by something else.

By their names alone: what a link points to is known to the file system only.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Final

from msgspec import Struct

from pandar_daemon.domain.shell_words import Word

_SECRET_NAME: Final = re.compile(
    r"""
    \.env(?:\.[\w.-]+)? | \.envrc | [\w.-]+\.env
  | .*\.(?:pem|key|p12|pfx|jks|keystore|kdbx|ppk|asc|gpg|tfstate(?:\.backup)?)
  | id_(?:rsa|dsa|ecdsa|ed25519|ecdsa_sk|ed25519_sk)
  | \.?netrc | \.?npmrc | \.?pypirc | \.pgpass | \.my\.cnf | \.git-credentials | \.htpasswd
  | \.vault-token | \.dockercfg | kubeconfig
  | credentials?(?:\.(?:json|ya?ml|toml|ini|cfg|xml|db))?
  | \.?secrets?\.(?:json|ya?ml|toml|ini|env|txt) | service[-_]?account[\w-]*\.json
  | \.(?:bash|zsh|python|node_repl|psql|mysql)_history | shadow | gshadow | master\.key
    """,
    re.VERBOSE,
)
_PUBLIC_NAME: Final = re.compile(
    r".*\.(?:example|sample|template|dist|tpl|pub)|(?:example|sample|template)\.env"
    r"|\.env\.(?:example|sample|template|dist|schema)(?:\.\w+)?"
)
_SECRET_FOLDER: Final = re.compile(
    r"(?:.*/)?(?:\.ssh|\.aws|\.gnupg|\.azure|\.kube|\.password-store|\.config/gcloud"
    r"|\.config/gh|\.config/op|\.docker/config\.json|run/secrets)(?:/.*)?"
)
_PUBLIC_IN_FOLDER: Final = re.compile(r".*(?:\.pub|/known_hosts)")
_PROCESS: Final = re.compile(r"/proc/(?:self|thread-self|\d+|\*|\$.*)/(?:environ|mem|maps|fd/.*)")
_SAMPLES: Final = (
    *(".env", ".env.local", ".netrc", ".npmrc", ".pypirc", ".git-credentials", ".pgpass"),
    *(".ssh", ".aws", ".gnupg", ".kube", "id_rsa", "id_ed25519", "id_ecdsa", "server.pem"),
    *("server.key", "credentials.json", "credentials"),
)
"""Names a pattern may stand for."""
_WILD: Final = re.compile(r"[*?\[\]{},]|\.\.")
_SEPARATORS: Final = re.compile(r"[=@:,]")

_FREE: Final = re.compile(r"/dev/(?:null|stdout|stderr|tty|zero|fd/\d+)")
_DISK: Final = re.compile(r"/dev/(?!shm/|pts/|ptmx|random|urandom|full).+")
_TEMPORARY: Final = ("/tmp", "/var/tmp", "/dev/shm", "/private/tmp")  # noqa: S108 - to name them
_SYSTEM: Final = (
    *("/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/boot", "/proc", "/sys", "/var", "/opt"),
    *("/root", "/dev", "/System", "/Library"),
)
_LATER: Final = re.compile(
    r"(?:.*/)?\.git/(?:config|hooks(?:/.*)?|info/attributes|modules/.*)"
    r"|(?:.*/)?\.(?:bashrc|bash_profile|bash_login|bash_logout|profile|zshrc|zshenv|zprofile|zlogin"
    r"|inputrc|gitconfig|config/git/.*|config/fish/.*|config/autostart/.*|config/systemd/.*)"
)
_HOME: Final = re.compile(r"~(?=/|\Z)|\$HOME\b|\$\{HOME\}")
_TEMPORARY_OURS: Final = re.compile(r"\$TMPDIR\b|\$\{TMPDIR\}")
"""A runner gives each task a folder for temporary files in its home."""
_OTHERS_HOME: Final = re.compile(r"\A~(?=\w)")
_HERE: Final = re.compile(r"\$PWD\b|\$\{PWD\}")


class Place(Struct, frozen=True):
    """Where a call happens: absolute folders, and those it may be in (empty: nobody knows)."""

    workspace: str
    home: str
    here: tuple[str, ...]

    def absolute(self, path: str) -> list[str]:
        """Return what a path may mean, each absolute and without ``..``."""
        path = _OTHERS_HOME.sub("/home/", path)
        path = _HERE.sub(lambda _: self.here[0] if self.here else "/", path)
        path = _HOME.sub(lambda _: self.home or "/", path)
        return [normal(posixpath.join(here, path)) for here in self.here or ("/",)]

    @property
    def away(self) -> bool:
        """Whether it may be in a folder other than the workspace."""
        return any(here != normal(self.workspace) for here in self.here)

    def owns(self, absolute: str) -> bool:
        """Tell whether a path lies in the workspace or in the task's home."""
        return any(root and under(absolute, normal(root)) for root in (self.workspace, self.home))


def normal(path: str) -> str:
    """Return an absolute path without ``..`` and doubled slashes."""
    return posixpath.normpath("/" + path.lstrip("/"))


def under(path: str, root: str) -> bool:
    """Tell whether a normal path is a normal folder or within it."""
    return path == root or path.startswith(root.rstrip("/") + "/")


def place_of(cwd: str, workspace: str, home: str) -> Place:
    """Return the place of a call made in ``cwd``; an empty one is the workspace."""
    return Place(workspace, home, (normal(posixpath.join(workspace or "/", cwd)),))


def is_secret(path: str) -> bool:
    """Tell whether a path, or a pattern of paths, is of what holds secrets."""
    path = path.lower().rstrip("/")
    if _PROCESS.fullmatch(path):
        return True
    if _SECRET_FOLDER.fullmatch(path):
        return not _PUBLIC_IN_FOLDER.fullmatch(path)
    name = path.rpartition("/")[2]
    if _WILD.search(name):
        return _may_be_secret(name)
    return bool(_SECRET_NAME.fullmatch(name)) and not _PUBLIC_NAME.fullmatch(name)


def _may_be_secret(pattern: str) -> bool:
    """Tell whether a pattern that says anything at all fits the name of a secret."""
    if not _WILD.sub("", pattern):
        return False
    hidden = pattern.startswith(".")
    fits = (s for s in _SAMPLES if s.startswith(".") == hidden and fnmatchcase(s, pattern))
    return any(fits) or any(
        bool(_SECRET_NAME.fullmatch(name)) for name in re.split(r"[{},]", pattern) if name
    )


def paths_in(word: Word) -> Iterator[str]:
    """Yield what may be a path in a word: the whole, and what stands behind ``=``, ``@``, ``:``."""
    yield word.text
    yield from (part for part in _SEPARATORS.split(word.text)[1:] if part)
    if word.text.startswith("-") and len(word.text) > 2:  # noqa: PLR2004 - -f and what it is glued to
        yield word.text[2:]


def written(path: str, place: Place) -> str:
    """Return the rule that writing to a path touches, empty for none."""
    if not place.here and not path.startswith(("/", "~", "$HOME", "${HOME}")):
        return "unclassified.target"
    found = [_written(absolute, place) for absolute in place.absolute(path)]
    return next((rule for rule in found if rule), "")


def _written(path: str, place: Place) -> str:
    if _FREE.fullmatch(path):
        return ""
    if _LATER.fullmatch(path):
        return "unclassified.later"
    return "" if place.owns(path) else _outside(path)


def _outside(path: str) -> str:
    if _DISK.fullmatch(path):
        return "destructive_fs.disk"
    if any(under(path, root) for root in _TEMPORARY):
        return "outside_workspace.temporary"
    system = any(under(path, root) for root in _SYSTEM)
    return "outside_workspace.system" if system else "outside_workspace.write"


def deleted(path: str, place: Place) -> str:
    """Return the rule that deleting or moving away a path touches, empty for none."""
    roots = [normal(root) for root in (place.workspace, place.home) if root]
    for absolute in place.absolute(path):
        folder = absolute.removesuffix("/.git") if absolute.endswith("/.git") else absolute
        if any(under(root, folder) for root in roots):
            return "destructive_fs.root"
    if path in {"*", ".*", "./*", "~/*"}:
        return "destructive_fs.everything"
    return written(path, place)


def resolved(word: Word, known: dict[str, tuple[str, ...] | None]) -> Sequence[str] | None:
    """Return what a word may be as a path, ``None`` when only the shell will know.

    Of a word that begins with what is known, the beginning says where it lies.
    """
    if word.known:
        return [word.text]
    text = word.text
    if text.startswith(("$", "~")):
        text = _HOME.sub("~", _HERE.sub(".", text))
        text = text if "TMPDIR" in known else _TEMPORARY_OURS.sub("~/tmp", text)
    name = re.match(r"\$\{?(\w+)\}?", text)
    if name is not None:
        values = known.get(name[1])
        return None if values is None else [value + text[name.end() :] for value in values]
    return None if not text or text.startswith("$") else [text]
