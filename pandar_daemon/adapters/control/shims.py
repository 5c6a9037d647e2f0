"""The shims: small programs that stand where a tool is, and order it at the control door.

A shim is a few lines for `sh`. Which of its words mean something outside it decides itself, and
becomes the real program at once for all the rest. It decides nothing that matters: in the box there
is neither a credential nor a way out, whichever program runs.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from pandar_daemon.ports.sandbox import CONTROL_PATH

SHIMS: Final = "/run/pandar/bin"
"""In the box, first in ``PATH``: a shim for every tool, there or not."""
REAL: Final = "/run/pandar/real"
"""In the box, the real programs of those that a shim is mounted over."""
CLIENT: Final = "/run/pandar/client.py"
_ELF: Final = b"\x7fELF"

_GIT: Final = """\
verb=
for word do
  if [ "$verb" = value ]; then verb=; continue; fi
  case $verb$word in
    -C|-c|--git-dir|--work-tree|--namespace|--config-env|--attr-source|--super-prefix)
      verb=value ;;
    -*) ;;
    push|fetch|pull|clone|ls-remote|send-pack|http-push|fetch-pack|http-fetch) ask "$@" ;;
    remoteupdate|remoteprune|remoteshow|submoduleupdate|submoduleadd|lfspush|lfsfetch|lfspull)
      ask "$@" ;;
    remote|submodule|lfs) verb=$word ;;
    remote-*|submodule-*|lfs-*) ;;
    *) break ;;
  esac
done
"""
_SOME: Final = """\
for word do
  case $word in {words}) ask "$@" ;; esac
done
"""
_MOST: Final = """\
case ${{1-}} in {words}) ;; *) ask "$@" ;; esac
"""
_ALL: Final = 'ask "$@"\n'

_PUBLISHING: Final = {
    "npm": "publish unpublish deprecate dist-tag owner access token adduser login star",
    "pnpm": "publish unpublish deprecate dist-tag owner access login",
    "yarn": "publish npm unpublish owner tag login",
    "bun": "publish",
    "twine": "upload",
    "cargo": "publish yank owner login",
    "gem": "push yank owner signin",
    "poetry": "publish",
    "uv": "publish",
    "hatch": "publish",
    "flit": "publish",
    "pdm": "publish",
    "docker": "push login buildx",
    "podman": "push login",
}
"""Tools of which some words reach out: by tool, these words, wherever they stand."""
_OUTSIDE: Final = {
    **dict.fromkeys(
        (
            *("gh", "glab", "aws", "gcloud", "az", "kubectl", "flyctl", "fly", "vercel", "heroku"),
            *("netlify", "wrangler", "railway", "doctl", "eksctl", "oc", "argocd", "eb"),
            *("ansible-playbook", "firebase", "cdk", "sam", "serverless"),
        ),
        "--version -v version --help -h help completion",
    ),
    "terraform": "--version -version version --help -help fmt validate console graph",
    "tofu": "--version -version version --help -help fmt validate console graph",
    "pulumi": "--version version --help help about gen-completion",
    "helm": "--help version help template lint create completion",
}
"""Tools of which nearly every word reaches out: by tool, the first words that do not."""
SECRET: Final = "pandar-secret"  # noqa: S105 - a tool


class Shims(Struct, frozen=True, kw_only=True):
    """The shims of one runner: ``overlays`` as in `ports.Box`; ``path`` is to be first in PATH."""

    overlays: Mapping[str, str]
    path: str = SHIMS


def tools() -> list[str]:
    """Return every tool there is a shim for."""
    return ["git", *_PUBLISHING, *_OUTSIDE, SECRET]


def made(
    folder: Path, *, path: str, interpreter: str = sys.executable, control: str = CONTROL_PATH
) -> Shims:
    """Write the shims into a folder, and return how they are to be mounted.

    ``path`` is the ``PATH`` by which tools are found here, ``interpreter`` a Python in the box.
    Raises ``OSError``.
    """
    shims = folder / "bin"
    shims.mkdir(mode=0o755, parents=True, exist_ok=True)
    client = Path(__file__).with_name("client.py").read_text("utf-8")
    overlays = {SHIMS: str(shims), CLIENT: _write(folder / "client.py", client)}
    for tool in tools():
        real, mounted = _real(tool, path)
        ask = shlex.join([interpreter, "-I", "-S", CLIENT, control, real, tool])
        overlays |= mounted
        file = _write(shims / tool, _script(tool, ask, real))
        overlays |= {place: file for place, of in mounted.items() if of == ""}
    return Shims(overlays=overlays)


def _real(tool: str, path: str) -> tuple[str, dict[str, str]]:
    """Return the real program in the box, and what is to be mounted so that it is there.

    A program of its own is moved away, wherever it lies; a script may look round where it lies, so
    it stays, and the shim is only found before it.
    """
    found = [file for place in path.split(":") if (file := shutil.which(tool, path=place))]
    if not found:
        return "", {}
    real = os.path.realpath(found[0])
    places = dict.fromkeys(os.path.realpath(file) for file in found)
    if not all(_is_program(place) for place in places):
        return found[0], {}
    return f"{REAL}/{tool}", {f"{REAL}/{tool}": real, **dict.fromkeys(places, "")}


def _is_program(file: str) -> bool:
    try:
        with Path(file).open("rb") as opened:
            return opened.read(len(_ELF)) == _ELF
    except OSError:
        return False


def _script(tool: str, ask: str, real: str) -> str:
    become = f'exec {shlex.quote(real)} "$@"' if real else f'echo "{tool}: not found" >&2; exit 127'
    return f'#!/bin/sh\nask() {{ exec {ask} "$@"; }}\n{"".join(_deciding(tool))}{become}\n'


def _deciding(tool: str) -> Iterator[str]:
    if tool == "git":
        yield _GIT
    elif tool in _PUBLISHING:
        yield _SOME.format(words="|".join(_PUBLISHING[tool].split()))
    elif tool in _OUTSIDE:
        yield _MOST.format(words="|".join(_OUTSIDE[tool].split()))
    else:
        yield _ALL


def _write(file: Path, text: str) -> str:
    """Write a program that is complete as soon as it is there."""
    fresh = file.with_suffix(".new")
    fresh.write_text(text, "utf-8")
    fresh.chmod(0o755)
    fresh.replace(file)
    return str(file)
