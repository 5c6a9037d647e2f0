"""Texts that write what they then run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from pandar_daemon.domain.gate_paths import Place
from pandar_daemon.domain.gate_tables import TASK_RUNNERS, names
from pandar_daemon.domain.gate_verbs import SCRIPT_RUNNERS
from pandar_daemon.domain.gate_writes import operands_of, written_by
from pandar_daemon.domain.shell_run import Run
from pandar_daemon.domain.shell_wrappers import SHELLS

_READ_BY: Final = re.compile(
    r"(?:gnu)?makefile(?:\..+)?|.*\.mk|package\.json|justfile|taskfile\.ya?ml|rakefile|.*\.gradle.*"
    r"|pom\.xml|cmakelists\.txt|tox\.ini|noxfile\.py|conftest\.py|setup\.(?:py|cfg)|build\.rs"
    r"|pytest\.ini|gemfile|composer\.json|\.npmrc|\w+\.config\.\w+|meson\.build|.*\.cmake"
)
"""Files that say what the runners of a project's tasks run."""
_RUNNERS: Final = (
    TASK_RUNNERS
    | SCRIPT_RUNNERS
    | names("pytest py.test cargo jest vitest mocha npx pip pip3 bundle rspec cmake meson")
)
_INTERPRETERS: Final = SHELLS | names("source . python python3 node ruby perl php deno bun")
_SCRIPT_WITHIN: Final = 4
"""Words of an interpreter among which its script is."""


def runs_written(command: Sequence[Run], place: Place) -> bool:
    """Tell whether a text writes what a later program of it takes for a program.

    A link that leads outside counts as written, and as run by whatever names it.
    """
    written: set[str] = set()
    linked: set[str] = set()
    for run in command:
        if linked & _named(run):
            return True
        if run.name == "ln":
            linked |= _leads_out(run, place)
        if written & _executed(run):
            return True
        if run.name in _RUNNERS and any(map(_READ_BY.fullmatch, written)):
            return True
        written |= _written(run)
    return False


def _named(run: Run) -> set[str]:
    words = [*run.words, *(redirect.target for redirect in run.redirects)]
    return {word.text.strip("./").partition("/")[0] for word in words} - {""}


def _leads_out(run: Run, place: Place) -> set[str]:
    """Return the name of the link that a run makes, where what it leads to lies outside."""
    targets = operands_of(run.words)
    if not targets or all(map(place.owns, place.absolute(targets[0].text))):
        return set()
    return {targets[-1].text.strip("/").rpartition("/")[2]}


def _executed(run: Run) -> set[str]:
    """Return the names of the files a run takes for programs."""
    count = _SCRIPT_WITHIN if run.name in _INTERPRETERS else 1
    return {word.text.rpartition("/")[2].lower() for word in run.words[:count]} - {""}


def _written(run: Run) -> set[str]:
    targets = [r.target for r in run.redirects if r.operator.startswith((">", "&>"))]
    return {word.text.rpartition("/")[2].lower() for word in (*targets, *written_by(run.words))}
