"""What touches a gate, or is a doubt, and is ordinary work of development all the same.

A task that stops at the gate stops there; but nobody has to be warned of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from events.calls import Severity
from pandar_daemon.domain.gate_rules import RULES
from pandar_daemon.domain.guard_code import is_harmless
from pandar_daemon.domain.guard_words import AGENTS
from pandar_daemon.domain.shell_inner import INTERPRETERS, PYTHON
from pandar_daemon.domain.shell_run import Run
from pandar_daemon.domain.shell_wrappers import SHELLS

_PLAIN_FLAGS: Final = (
    r"(?:\ (?:-q|-qq|-v|-y|-U|-D|-d|--quiet|--silent|--upgrade|--frozen|--frozen-lockfile"
    r"|--immutable|--locked|--no-audit|--no-fund|--prefer-offline|--offline|--ignore-scripts|--dev|--no-dev"
    r"|--production|--omit=dev|--no-root|--all-extras|--all-groups|--no-cache-dir|--no-interaction"
    r"|--legacy-peer-deps|--user|--no-deps|--deployment|--no-build-isolation|--disable-pip-version-check"
    r"|--require-hashes|--require-virtualenv))*"
)
_OWN: Final = r"[\w][\w./-]*"
_INSTALLS: Final = re.compile(
    rf"""
    (?:npm|pnpm|yarn|bun)(?:\ (?:install|i|ci|clean-install|outdated|audit))?{_PLAIN_FLAGS}
  | (?:uv\ )?(?:pip3?)\ install{_PLAIN_FLAGS}(?:\ (?:-r|--requirement|-c|--constraint)\ {_OWN}
      | \ (?:-e\ )?\.(?:\[[\w,-]+\])?)+{_PLAIN_FLAGS}
  | (?:uv\ (?:sync|lock)|poetry\ (?:install|lock)|pipenv\ (?:install|sync)
      |pdm\ (?:install|sync|lock)
      |bundle(?:\ install)?|composer\ install|cargo\ (?:fetch|vendor|update|audit|outdated)
      |go\ mod\ download|dotnet\ restore|pip3?\ (?:index\ versions\ [\w-]+)|mix\ deps\.get
      |rustup\ (?:show|update))(?:\ --(?:dev|extra|group|with|without)[ =][\w-]+)*{_PLAIN_FLAGS}
    """,
    re.VERBOSE,
)
_AS_MODULE: Final = re.compile(r"\A(?:\S*/)?python[\d.]* -m (?=pip|uv|poetry)")
_FOLDERS: Final = (
    "scripts|script|bin|tools|tests?|examples?|dev|ci|hack|bench|benchmarks|devtools|src"
)
_SCRIPT: Final = re.compile(
    rf"(?:\./)?(?:[\w-]+/)*(?:{_FOLDERS})/(?:[\w-]+/)*[\w-]+(?:\.(?:py|sh|bash|js|mjs|cjs|ts|rb|pl))?"
    r"|(?:\./)?(?:manage|setup|main|app|run|run_tests|runtests|noxfile|server|index|cli|wsgi|conftest"
    r"|test|tests|build|configure|bootstrap|autogen|install-deps|entrypoint|mvnw|gradlew|lint|format)"
    r"(?:\.(?:py|sh|js|mjs|cjs|ts|rb|pl))?"
)
_FREE: Final = re.compile(
    r"-(?:y|yy|c|s|i)|--(?:yolo|auto|config|sandbox|mcp|add-dir|hook|command|exec|eval|full-auto"
    r"|approval|permission|allowed|danger|allow|dont-ask|trust|ask-for|approve|skip|no-sandbox)"
)


def is_ordinary(rule: str, run: Run) -> bool:
    """Tell whether what a run touches by a rule is nothing to be warned of."""
    if rule in RULES and RULES[rule][0] is Severity.LOW:
        return True
    test = _TESTS.get(rule)
    return test is not None and test(run)


def _installs_own(run: Run) -> bool:
    words = (*run.words[:1], *run.arguments)
    text = " ".join(word.text for word in words)
    return all(w.fixed or w.text.startswith(".") for w in words) and bool(
        _INSTALLS.fullmatch(_AS_MODULE.sub("", text))
    )


def _is_agent(run: Run) -> bool:
    """Tell whether an agent is told something in words, and nothing about what it may do."""
    return run.name in AGENTS and all(
        word.known and not _FREE.match(word.text) for word in run.arguments
    )


def _reads_forge(run: Run) -> bool:
    return run.name in {"gh", "glab"} and any(
        word.text in {"view", "list", "status", "diff", "checks"} for word in run.arguments[1:2]
    )


def _asks_version(run: Run) -> bool:
    return "/" not in run.words[0].text and [word.text for word in run.arguments] in _VERSION


_VERSION: Final = (["--version"], ["--help"], ["-V"])


def _is_label(run: Run) -> bool:
    """Tell whether it is what a branch of ``case`` begins with."""
    return run.ends == ")" and len(run.words) == 1 and run.words[0].known


def _is_own_script(run: Run) -> bool:
    """Tell whether a script lies where projects have theirs, by its name."""
    shell = run.name in SHELLS or PYTHON.match(run.name) or INTERPRETERS.match(run.name)
    words = run.words
    if not words:
        return False
    if shell or run.name in {"source", "."}:
        words = words[1:]
        while words and re.fullmatch(r"-[eux]+|-[uBW]|--watch|run", words[0].text):
            words = words[1:]
    elif "/" not in run.words[0].text:
        return False
    return bool(
        words and words[0].fixed and _SCRIPT.fullmatch(words[0].text) and ".." not in words[0].text
    )


_TESTS: Final[Mapping[str, Callable[[Run], bool]]] = {
    "network_egress.install": _installs_own,
    "network_egress.host": _reads_forge,
    "unclassified.program": lambda run: any(
        test(run) for test in (_is_agent, _is_own_script, _is_label, _asks_version)
    ),
    "unclassified.expansion": _is_label,
    "unclassified.script": _is_own_script,
    "unclassified.inline_code": is_harmless,
    "unclassified.stdin": is_harmless,
}
