"""The second reader of commands, which is C: no text ends the process, no letter is a doubt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from pandar_daemon.domain.shell_second import doubts

_ALL = """
from pandar_daemon.domain.shell_second import doubts
for number in range(0x80, 0x110000, 61):
    for text in ("{%s", "{1..%s}", "$((%s))", "${%s:1}", "<<%s", "[[ a =~ %s ]]"):
        list(doubts(text % chr(number)))
print("survived")
"""


def test_no_character_ends_the_process() -> None:
    """Its tables have 256 places: a brace and U+FAD6B were a segmentation fault.

    In a process of its own, that a fault would end alone.
    """
    ran = subprocess.run(
        [sys.executable, "-c", _ALL],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (0, "survived\n"), ran.stderr[-2_000:]


@pytest.mark.parametrize(
    "text",
    [
        "größe --naïve",
        "echo 'été' | 東京 -v",
        "touch /tmp/😀 && printf '%s' \U000fad6b",
        "mkdir données; cd données",
    ],
)
def test_letters_of_all_languages_are_parts_of_words(text: str) -> None:
    """Both readers find the same programs, whatever they are called."""
    assert list(doubts(text)) == []
