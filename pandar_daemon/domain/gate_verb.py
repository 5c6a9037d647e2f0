"""A program whose first operands say what it does, as a table of verbs.

A verb is one to three operands; the longest that is in a table counts.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from pandar_daemon.domain.shell_wrappers import Options, options


class Verbs(Struct, frozen=True, kw_only=True):
    """What a program's verbs touch; ``plain`` ones touch nothing."""

    plain: frozenset[str]
    rules: Mapping[str, str]
    options: Options = Options()
    other: str = "unclassified.verb"


def verbs(
    plain: str,
    rules: Mapping[str, str],
    *,
    valued: str = "",
    flags: str = "",
    other: str = "unclassified.verb",
) -> Verbs:
    """Return a table: verbs are separated by commas, several of the same rule too."""
    by_verb = {verb: rule for rule, text in rules.items() for verb in _split(text)}
    return Verbs(
        plain=frozenset(_split(plain)),
        rules=by_verb,
        options=options(valued, f"{flags} -h --help --version -q --quiet -v --verbose"),
        other=other,
    )


def _split(text: str) -> list[str]:
    return [" ".join(part.split()) for part in text.split(",") if part.strip()]
