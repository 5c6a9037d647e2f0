"""What people search for, as SQL conditions over ``views.task_words``."""

from __future__ import annotations

import re
from collections.abc import Iterator
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
_THREES: Final = 6
"""So many sequences of three letters the index is asked for. It goes through all tasks that have
one, for a millisecond or two among a million. Six leave few tasks but those with the words."""
_OF_ONE: Final = 3
"""So many of one word, from its beginning to its end: neighbours share letters and tell less."""


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

    def sought(self, values: Arguments) -> Iterator[str]:
        """Yield that condition so that an index is asked for no more letters than are worth it.

        The whole word is looked for in the few tasks that have those.
        """
        words = self._words
        if not words:
            yield self.literal(values)
            return
        count = min(_OF_ONE, max(_THREES // len(words), 1))
        for word in words:
            threes = _threes(word, count)
            for letters in threes:
                yield _has(values, letters)
            if threes != [word]:
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


def _threes(word: str, count: int) -> list[str]:
    """Return ``count`` sequences of three letters spread over a word; it, if it has no more."""
    last = len(word) - _THREE
    if last < count:
        return [word]
    step = last / max(count - 1, 1)
    return [word[start : start + _THREE] for start in (round(n * step) for n in range(count))]


def _has(values: Arguments, text: str) -> str:
    return f"{SEARCHED} ILIKE {values.add(_pattern(text), 'text')}"


def _pattern(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
