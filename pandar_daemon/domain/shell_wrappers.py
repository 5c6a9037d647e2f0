"""Programs that run the program in their arguments, as tables, and how their options are read.

An option that no table knows may take the next word, or not: then nobody can say which word is
the program, and that is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from pandar_daemon.domain.shell_words import Word


class Options(Struct, frozen=True):
    """The options a program takes before its operands; ``valued`` take a value."""

    valued: frozenset[str] = frozenset()
    flags: frozenset[str] = frozenset()

    def skip(self, words: Sequence[Word], at: int) -> int | None:
        """Return where the operands begin, ``None`` behind an option that is not known."""
        at = self.known(words, at)
        if at < len(words) and words[at].text == "--":
            return at + 1
        stops = at < len(words) and words[at].text.startswith("-") and words[at].text != "-"
        return None if stops else at

    def known(self, words: Sequence[Word], at: int) -> int:
        """Return where something else begins than an option that is known."""
        while at < len(words) and words[at].text.startswith("-") and words[at].fixed:
            length = self.length(words[at].text) if words[at].text not in {"-", "--"} else None
            if length is None:
                break
            at += length
        return at

    def length(self, option: str) -> int | None:
        """Return how many words an option is with its value, ``None`` when it is not known."""
        name, equals, _ = option.partition("=")
        if name in self.valued:
            return 1 if equals else 2
        if option in self.flags or (equals and name in self.flags):
            return 1
        return None if option.startswith("--") else self._cluster(option[1:])

    def _cluster(self, letters: str) -> int | None:
        for i, letter in enumerate(letters):
            if f"-{letter}" in self.valued:
                return 1 if i < len(letters) - 1 else 2
            if f"-{letter}" not in self.flags:
                return None
        return 1


def options(valued: str = "", flags: str = "") -> Options:
    """Return the options named in two texts, separated by blanks."""
    return Options(frozenset(valued.split()), frozenset(flags.split()))


class Wrapper(Struct, frozen=True):
    """How a program takes the program it runs.

    ``lookups`` are options with which it runs nothing, ``operands`` how many words of its own
    stand before the program. ``adds``: words nobody knows are put behind the arguments.
    ``rule`` is what running anything by it touches, ``rules`` what some options of it do. Where it
    ``becomes`` another program, that one's arguments follow.
    """

    options: Options = Options()
    lookups: frozenset[str] = frozenset()
    operands: int = 0
    adds: bool = False
    rule: str = ""
    rules: Mapping[str, str] = {}
    becomes: str = ""


_ELEVATED: Final = Wrapper(
    options(
        "-u -g -h -p -C -T -U -D -R -r -t --user --group --host --prompt --chdir --role --type",
        "-n -E -H -S -k -K -b -A -i -s -P --non-interactive --preserve-env --login --shell",
    ),
    rule="unclassified.elevation",
)

WRAPPERS: Final[Mapping[str, Wrapper]] = {
    "env": Wrapper(
        options("-u -C -S --unset --chdir --split-string", "-i -0 -v - --ignore-environment --null")
    ),
    "nohup": Wrapper(),
    "time": Wrapper(options("-f -o --format --output", "-p -v -a -l -q --verbose --append")),
    "nice": Wrapper(options("-n --adjustment", "-0 -1 -2 -3 -4 -5 -6 -7 -8 -9")),
    "timeout": Wrapper(
        options(
            "-k -s --kill-after --signal",
            "-v -p -f --verbose --foreground --preserve-status",
        ),
        operands=1,
    ),
    "exec": Wrapper(options("-a", "-c -l")),
    "command": Wrapper(options("", "-p"), lookups=frozenset({"-v", "-V"})),
    "builtin": Wrapper(),
    "busybox": Wrapper(),
    "toybox": Wrapper(),
    "setsid": Wrapper(options("", "-c -f -w --ctty --fork --wait")),
    "stdbuf": Wrapper(options("-i -o -e --input --output --error")),
    "ionice": Wrapper(options("-c -n --class --classdata", "-t --ignore")),
    "taskset": Wrapper(options("", "-a -c --all-tasks --cpu-list"), operands=1),
    "caffeinate": Wrapper(options("", "-d -i -m -s -u")),
    "xvfb-run": Wrapper(options("-s -n -e -f --server-args", "-a --auto-servernum")),
    "xargs": Wrapper(
        options(
            "-I -E -n -d -P -L -s -a --arg-file --delimiter --max-args --max-procs --max-chars"
            " --max-lines --eof",
            "-0 -r -t -p -x -o -i -e -l --null --no-run-if-empty --verbose --exit --replace",
        ),
        adds=True,
    ),
    "watch": Wrapper(
        options(
            "-n --interval -q --equexit",
            "-b -c -d -e -g -p -t -w -x --beep --color --differences --errexit --chgexit"
            " --no-title",
        )
    ),
    "sudo": _ELEVATED,
    "doas": _ELEVATED,
    "pkexec": _ELEVATED,
}
"""By the last part of the program's name."""

_FETCHING: Final = "network_egress.install"
_NODE_RUNNER: Final = options(
    "-p --package", "--no --no-install -q --quiet --silent --offline --prefer-offline -y --yes"
)
_NODE_FETCHES: Final = dict.fromkeys(("-y", "--yes", "-p", "--package"), _FETCHING)
_PYTHON_RUNNER: Final = options(
    "--group --extra --python -p --project --directory --package",
    "--frozen --locked --no-sync --offline --isolated -q --quiet --dev --no-dev --all-extras",
)

RUNNERS: Final[Mapping[tuple[str, ...], Wrapper]] = {
    ("npx",): Wrapper(_NODE_RUNNER, rules=_NODE_FETCHES),
    ("npm", "exec"): Wrapper(_NODE_RUNNER, rules=_NODE_FETCHES),
    ("npm", "x"): Wrapper(_NODE_RUNNER, rules=_NODE_FETCHES),
    ("pnpm", "exec"): Wrapper(_NODE_RUNNER),
    ("yarn", "exec"): Wrapper(_NODE_RUNNER),
    ("bun", "x"): Wrapper(_NODE_RUNNER, rule=_FETCHING),
    ("bunx",): Wrapper(_NODE_RUNNER, rule=_FETCHING),
    ("pnpm", "dlx"): Wrapper(_NODE_RUNNER, rule=_FETCHING),
    ("yarn", "dlx"): Wrapper(_NODE_RUNNER, rule=_FETCHING),
    ("uv", "run"): Wrapper(_PYTHON_RUNNER),
    ("uvx",): Wrapper(_PYTHON_RUNNER, rule=_FETCHING),
    ("uv", "tool", "run"): Wrapper(_PYTHON_RUNNER, rule=_FETCHING),
    ("poetry", "run"): Wrapper(options("-C --directory -P --project", "-q --quiet")),
    ("pipenv", "run"): Wrapper(),
    ("pdm", "run"): Wrapper(options("", "-s -v -q")),
    ("hatch", "run"): Wrapper(),
    ("rye", "run"): Wrapper(),
    ("bundle", "exec"): Wrapper(),
    ("yarn", "node"): Wrapper(becomes="node"),
    ("coverage", "run"): Wrapper(
        options(
            "--source --omit --include --rcfile --context --concurrency --data-file",
            "--branch -p -a --parallel-mode --append --timid -L --pylib",
        ),
        becomes="python",
    ),
}
"""Programs of development that run another one, by their first words."""

SHELLS: Final = frozenset({"sh", "bash", "dash", "zsh", "ksh", "ash", "mksh", "fish", "rbash"})
SHELL_OPTIONS: Final = options(
    "-o +o -O +O --rcfile --init-file",
    "-e -u -x -v -l -i -f -n -p -a -b -h -m -k -t -B -C -E -H -P -T --login --norc --noprofile"
    " --posix",
)

PYTHON_OPTIONS: Final = options("-W -X", "-u -B -O -E -I -s -S -v -q -b -d -x -P -OO -bb")
PYTHON_MODULES: Final = frozenset(
    {
        *("pytest", "unittest", "doctest", "mypy", "ruff", "black", "isort", "flake8", "pylint"),
        *("pyflakes", "pycodestyle", "bandit", "coverage", "tox", "nox", "build", "venv", "pip"),
        *("virtualenv", "compileall", "py_compile", "json.tool", "tokenize", "ast", "dis", "site"),
        *(
            "sysconfig",
            "platform",
            "twine",
            "poetry",
            "uv",
            "pre_commit",
        ),
        *("zipfile", "tarfile", "this", "pyright", "vulture", "radon", "sphinx", "mkdocs"),
    }
)
"""Modules that are run as the program of the same name."""
