"""Programs that run what a project says, told to take it from elsewhere than the workspace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pandar_daemon.domain.gate_paths import Place
from pandar_daemon.domain.gate_tables import OUTPUT_OPTIONS, TASK_RUNNERS, names
from pandar_daemon.domain.shell_run import Run

_RUNNERS: Final = TASK_RUNNERS | names(
    "npm pnpm yarn bun npx pytest py.test cargo go cmake jest vitest mocha pre-commit bundle rspec"
    " unittest flask uvicorn gunicorn composer phpunit docker-compose meson ctest eslint"
)
_FROM: Final = re.compile(
    r"--(?:prefix|cwd|dir|file|config|config-file|project|manifest-path|rootdir|confcutdir|init-script"
    r"|directory|chdir|justfile|makefile|taskfile|require|resolve-plugins-relative-to)="
)
_ENDLESS: Final = frozenset({"/dev/zero", "/dev/urandom", "/dev/random", "/dev/full"})


def elsewhere(run: Run, place: Place) -> Iterator[str]:
    """Yield a doubt about code that lies outside, and what a copy without end does."""
    if run.name in _RUNNERS and any(_is_outside(path, place) for path in _paths(run)):
        yield "unclassified.script"
    endless = run.name == "yes" or (
        run.name in {"cat", "pv"} and any(word.text in _ENDLESS for word in run.arguments)
    )
    targets = (r.target.text for r in run.redirects if r.operator.startswith((">", "&>")))
    if endless and any(not target.startswith(("/dev/", "&")) for target in targets):
        yield "destructive_fs.fill"


def _paths(run: Run) -> Iterator[str]:
    before = ""
    for word in run.arguments:
        if match := _FROM.match(word.text):
            yield word.text[match.end() :]
        elif before not in OUTPUT_OPTIONS:
            yield word.text
        before = word.text


def _is_outside(path: str, place: Place) -> bool:
    if not re.match(r"/[\w.]|~|(?:\./)*\.\./", path):
        return False
    return not all(map(place.owns, place.absolute(path)))
