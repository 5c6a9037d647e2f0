"""Unified diffs, in time that grows with the size of the texts, whatever they are."""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

CONTEXT: Final = 3
"""Lines shown before and after a change."""
EFFORT_MAX: Final = 1_000_000
"""Steps that may be taken to find a small change, some 0.1 s; where it could take more, all between
the first and the last difference is shown as replaced."""

TEXT_MAX: Final = 2_000_000
"""Characters, before and after, of what is compared at all."""


def unified(path: str, old: str | None, new: str) -> str:
    """Return how ``old`` becomes ``new``, empty when nothing changes; ``None`` is no file yet.

    Of texts beyond `TEXT_MAX` it names sizes and hashes only.
    """
    if old == new:
        return ""
    if len(old or "") + len(new) > TEXT_MAX:
        body = f"too large to show: {_summary(old or '')} becomes {_summary(new)}\n"
    else:
        body = "".join(_hunks(_lines(old or ""), _lines(new)))
    return f"--- {'/dev/null' if old is None else path}\n+++ {path}\n{body}"


def _summary(text: str) -> str:
    return f"{len(text):,} characters, SHA-256 {hashlib.sha256(text.encode()).hexdigest()}"


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    last = lines.pop()
    ended = [line + "\n" for line in lines]
    return [*ended, last + "\n\\ No newline at end of file\n"] if last else ended


def _hunks(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    head = _shared(old, new)
    tail = _shared(old[head:][::-1], new[head:][::-1])
    skipped = max(0, head - CONTEXT)
    cut = max(0, tail - CONTEXT)
    old, new = old[skipped : len(old) - cut], new[skipped : len(new) - cut]
    changed = (head - skipped, tail - cut)
    for group in _groups(old, new, *changed):
        first, last = group[0], group[-1]
        before = _span(skipped + first[1], last[2] - first[1])
        after = _span(skipped + first[3], last[4] - first[3])
        yield f"@@ -{before} +{after} @@\n"
        for kind, i1, i2, j1, j2 in group:
            yield from _change(kind, old[i1:i2], new[j1:j2])


def _effort(old: Sequence[str], new: Sequence[str]) -> int:
    """Return the most steps difflib could take: each match found costs a walk through the rest."""
    ours, theirs = Counter(old), Counter(new)
    pairs = sum(times * theirs[line] for line, times in ours.items())
    return (len(old) + pairs) * min(len(old), len(new))


_Step = tuple[str, int, int, int, int]


def _groups(
    old: Sequence[str], new: Sequence[str], head: int, tail: int
) -> Iterator[Sequence[_Step]]:
    """Iterate over the hunks, as difflib has them; ``head`` and ``tail`` lines are the same."""
    n, m = len(old) - head - tail, len(new) - head - tail
    if not n and not m:
        return
    if _effort(old, new) > EFFORT_MAX:
        steps = [("equal", 0, head, 0, head), ("replace", head, head + n, head, head + m)]
        end = ("equal", head + n, len(old), head + m, len(new))
        yield [step for step in [*steps, end] if step[1] < step[2] or step[3] < step[4]]
        return
    yield from difflib.SequenceMatcher(None, old, new).get_grouped_opcodes(CONTEXT)


def _change(kind: str, old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    if kind == "equal":
        yield from (" " + line for line in old)
        return
    yield from ("-" + line for line in old)
    yield from ("+" + line for line in new)


def _shared(old: Sequence[str], new: Sequence[str]) -> int:
    """Return how many lines at the beginning are the same."""
    pairs = zip(old, new, strict=False)
    return next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(old), len(new)))


def _span(start: int, length: int) -> str:
    if length == 1:
        return f"{start + 1}"
    return f"{start + 1 if length else start},{length}"
