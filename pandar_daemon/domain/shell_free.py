"""Commands that need no shell: all it would do with them is to start one program.

As `make` does, such a program is started by itself, which takes half the time of a shell.
"""

from __future__ import annotations

import re
from typing import Final

_COMMAND: Final = re.compile(r"[ \t]*[A-Za-z0-9_./:,@+-]+(?:[ \t]+[A-Za-z0-9_./:,@%+=-]+)*[ \t\n]*")
"""No character of it means anything to a shell; ``%`` and ``=`` do in a first word only."""
_COMMANDS: Final = """
. : [ alias bg bind break builtin caller cd command compgen complete compopt continue declare
dirs disown echo enable eval exec exit export fc fg getopts hash help history jobs kill let
local logout mapfile popd printf pushd pwd read readarray readonly return set shift shopt
source suspend test times trap type typeset ulimit umask unalias unset wait
"""
_GRAMMAR: Final = """
if then else elif fi case esac for select while until do done in function time coproc
"""
BUILT_IN: Final = frozenset(_COMMANDS.split()) | frozenset(_GRAMMAR.split())
"""What a shell does itself, or reads as its grammar; not always as a program of that name would."""
ALIKE: Final = frozenset({"true", "false"})
"""What it does itself as the programs of these names do, when they are told nothing."""


def words_of(command: str) -> tuple[str, ...]:
    """Return a program and its arguments, where that is all the text means; else nothing."""
    if not _COMMAND.fullmatch(command):
        return ()
    words = tuple(command.split())
    is_alike = len(words) == 1 and words[0] in ALIKE
    return words if is_alike or words[0] not in BUILT_IN | ALIKE else ()
