"""What people search for, as SQL conditions over ``views.task_words``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct

from pandar_daemon.adapters.postgres.task_orders import Arguments
from projections.task_table import SEARCHED

_WORDS: Final = f"to_tsvector('simple', {SEARCHED})"
_EXACT: Final = re.compile(r'"|(^|\s)-')
"""Who quotes or excludes words does not want similar ones."""
_PLAIN: Final = re.compile(r"[a-z0-9]{3,}(\s+[a-z0-9]{3,})*", re.IGNORECASE | re.ASCII)
"""Words that all have to be there, and long enough for the index of letters."""
_THREE: Final = 3
_ASKED: Final = 5
"""For so many sequences of three letters the index is asked. It goes through all tasks that have
one, for half a millisecond among a million; five rare ones leave few but those with the words."""
_FEW: Final = 3
"""Of fewer, most tasks found might only look alike: ``ogi`` may be rare, and yet mean ``logic``."""


class Text(Struct, frozen=True):
    """A text searched for; perhaps none."""

    text: str

    def __bool__(self) -> bool:
        """Tell whether anything is searched for."""
        return bool(self.text)

    @property
    def is_exact(self) -> bool:
        """Tell whether only what has the very words is wanted."""
        return _EXACT.search(self.text) is not None

    @property
    def _words(self) -> list[str]:
        """The words that all have to be there; none when something else is searched for."""
        return self.text.split() if _PLAIN.fullmatch(self.text) else []

    def literal(self, values: Arguments) -> str:
        """Return the condition: all words somewhere, or what the quotes and signs ask for.

        What has a word has its letters, which are quick to look for; its words take ten times that.
        """
        if self._words:
            return " AND ".join(_has(values, word) for word in self._words)
        query = f"websearch_to_tsquery('simple', {values.add(self.text, 'text')})"
        return f"({_has(values, self.text)} OR {_WORDS} @@ {query})"

    def sought(self, values: Arguments, frequent: Mapping[str, int]) -> Iterator[str]:
        """Yield that condition so that an index is asked for no more letters than are worth it.

        ``frequent`` tells how many tasks of a sample have three letters; who is not there is rare.
        The whole word is looked for in the few tasks that have what was asked for.
        """
        words = self._words
        if not words:
            yield self.literal(values)
            return
        asked = _rarest(words, frequent)
        for letters in asked:
            yield _has(values, letters)
        for word in words:
            if word not in asked:
                yield one_by_one(_has(values, word))

    def rank(self, values: Arguments) -> str:
        """Return the expression for how well a task fits."""
        words = values.add(self.text, "text")
        query = f"websearch_to_tsquery('simple', {words})"
        return f"(2 * word_similarity({words}, name) + ts_rank({_WORDS}, {query}))::float8"


def one_by_one(condition: str) -> str:
    """Have the planner go through rows in order, rather than to an index for all that match.

    To it a ``CASE`` is met by every other row.
    """
    return f"CASE WHEN {condition} THEN true ELSE false END"


def _rarest(words: Sequence[str], frequent: Mapping[str, int]) -> list[str]:
    """Return the rarest three letters of all words, as they are written there, each once.

    Neighbours share two letters and tell little more than one: at most one of them is taken, unless
    there were too few. Of the equally rare the first of each word come first.
    """
    places = [(at, n) for n, word in enumerate(words) for at in range(len(word) - _THREE + 1)]

    def letters(place: tuple[int, int]) -> str:
        at, n = place
        return words[n][at : at + _THREE]

    places.sort(key=lambda place: (frequent.get(letters(place).lower(), 0), place))
    apart = list[tuple[int, int]]()
    for at, n in places:
        if not any(n == other and abs(at - there) == 1 for there, other in apart):
            apart.append((at, n))
    found = list(dict.fromkeys(map(letters, apart)))[:_ASKED]
    if len(found) < _FEW:
        found = list(dict.fromkeys([*found, *map(letters, places)]))[:_FEW]
    return found


def _has(values: Arguments, text: str) -> str:
    return f"{SEARCHED} ILIKE {values.add(_pattern(text), 'text')}"


def _pattern(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
