"""A command is started without a shell only where that would have done nothing else with it."""

from __future__ import annotations

import os
import shutil
import string
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from pandar_daemon.domain.shell_free import ALIKE, BUILT_IN, words_of

BASH = shutil.which("bash") or ""
SHOW = '#!/bin/sh\nfor each in "$@"; do printf "%s\\n" "$each"; done\n'
NAMES = ("show", "./show", "sh-ow", "s+how", "a,b", "a@b", "a:b")
"""Programs that show how they were called."""


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("true", ("true",)),
        ("pytest -q tests/unit", ("pytest", "-q", "tests/unit")),
        (" make \t test\n", ("make", "test")),
        ("./run.sh --level=2 a=b", ("./run.sh", "--level=2", "a=b")),
        ("/usr/bin/env A=1 x", ("/usr/bin/env", "A=1", "x")),
        ("git log --format=%h", ("git", "log", "--format=%h")),
        ("pip install a==1.0,b@c:d+e", ("pip", "install", "a==1.0,b@c:d+e")),
    ],
)
def test_plain_words_need_none(command: str, words: tuple[str, ...]) -> None:
    """A program and what it is told, character by character."""
    assert words_of(command) == words


@pytest.mark.parametrize(
    "command",
    [
        *("", " ", "\n", "a\nb", "a\rb", "a\fb", "a\u00a0b", "a\0b", "é", "make tést"),
        *("a b;", "a|b", "a&", "a > b", "a <b", "(a)", "{ a; }", "a $b", "a `b`", "a\\ b"),
        *("'a'", '"a"', "a *", "a ?", "a [b]", "a {b,c}", "~/a", "a ~", "a !b", "a #b", "a ^b"),
        *("A=1", "A=1 make", "A+=1 make", "%1", "cd /", ". ./env", "source a", "exit 3"),
        *("echo hello", "test -f x", "kill 1", "pwd", "printf x", "time make", "exec make"),
        *("true --help", "false x", "if true", "while x", "coproc a", "wait"),
    ],
)
def test_the_rest_is_for_a_shell(command: str) -> None:
    """Whatever a shell gives a meaning, splits differently, or does itself."""
    assert words_of(command) == ()


@pytest.mark.skipif(not BASH, reason="there is no bash")
def test_all_that_a_shell_does_itself_is_known() -> None:
    """By its own word; of another version too, as far as that has no more."""
    said = subprocess.run([BASH, "-c", "compgen -b; compgen -k"], capture_output=True, check=True)
    named = {name for name in said.stdout.decode().split() if words_of(name)}
    assert named <= ALIKE
    assert not BUILT_IN & ALIKE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of programs that show their arguments, which is on the path."""
    folder = tmp_path_factory.mktemp("programs")
    for name in NAMES:
        file = folder / name
        file.write_text(SHOW)
        file.chmod(0o755)
    return folder


@pytest.mark.skipif(not BASH, reason="there is no bash")
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(NAMES),
    rest=st.text(string.ascii_letters[:4] + string.digits[:2] + " \t" + "=%-+,.:/@_\"'$;\\~*#"),
)
def test_a_shell_would_have_told_it_the_same(folder: Path, name: str, rest: str) -> None:
    """Whatever is taken for plain words is what a shell makes of it."""
    words = words_of(f"{name} {rest}")
    assume(words)
    said = subprocess.run(
        [BASH, "-c", f"{name} {rest}"],
        cwd=folder,
        env={"PATH": f"{folder}{os.pathsep}/usr/bin:/bin"},
        capture_output=True,
        check=True,
    )
    assert said.stdout.decode().split("\n")[:-1] == list(words[1:])
