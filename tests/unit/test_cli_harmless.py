"""What others wrote cannot act on our terminal."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandar_daemon.cli.harmless import OutputFilter, harmless, one_line

ATTACKS = [
    ("\x1b]0;owned\x07title", "title"),
    ("\x1b]52;c;cm0gLXJm\x1b\\clipboard", "clipboard"),
    ("\x1b[2J\x1b[Hcleared", "cleared"),
    ("\x1b[6nreport", "report"),
    ("\x1bcreset", "reset"),
    ("\x1b(0charset", "charset"),
    ("\x1bP+q544e\x1b\\dcs", "dcs"),
    ("safe\rEVIL", "safe\nEVIL"),
    ("a\r\nb\r\r\nc", "a\nb\nc"),
    ("bell\x07 back\x08 nul\x00 del\x7f", "bell␇ back␈ nul␀ del␡"),
    ("c1 \x9b31m", "c1 <U+009B>31m"),
    ("rtl \u202egnp.exe", "rtl <U+202E>gnp.exe"),
    ("\x1b]0;never ends", "␛]0;never ends"),
    ("tab\tand\nnewline", "tab\tand\nnewline"),
]


@pytest.mark.parametrize(("text", "shown"), ATTACKS)
def test_only_text_is_left(text: str, shown: str) -> None:
    """Sequences that draw are dropped, other controls become visible."""
    assert harmless(text) == shown


def test_colours_pass_where_there_is_colour() -> None:
    """SGR is the one sequence that stays, and only where it is wanted."""
    text = "\x1b[1;32mok\x1b[0m \x1b[38:2:1:2:3mtrue\x1b[m"
    assert harmless(text, colour=True) == text
    assert harmless(text) == "ok true"


def test_one_line_is_one_line() -> None:
    """A name with newlines cannot forge a row of a table."""
    assert one_line(" a\n\t\x1b[1mb\r\nc ") == "a b c"


@given(st.lists(st.sampled_from([text for text, _ in ATTACKS] + ["é€😀", "\x1b[31m"])), st.data())
def test_chunks_make_no_difference(parts: list[str], data: st.DataObject) -> None:
    """However output is cut, what is shown is that of the whole."""
    whole = "".join(parts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=8)))
    shown = OutputFilter(colour=True)
    pieces = [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    text = "".join(map(shown.feed, pieces)) + shown.close()
    assert text == harmless(whole.decode(), colour=True) + "\x1b[0m"


@given(st.binary(max_size=200))
def test_nothing_but_sgr_escapes(data: bytes) -> None:
    """Whatever the bytes, no escape but SGR and no control but newline and tab comes out."""
    shown = OutputFilter(colour=False)
    text = shown.feed(data) + shown.close()
    assert not [c for c in text if ord(c) < 0x20 and c not in "\n\t"]
    assert "\x1b" not in text


def test_an_endless_sequence_is_shown_at_last() -> None:
    """A sequence that never ends does not hold the output back for ever."""
    shown = OutputFilter(colour=False)
    assert shown.feed(b"\x1b]0;" + b"x" * 100) == ""
    assert shown.feed(b"x" * 5_000).startswith("␛]0;xxx")


def test_long_runs_are_quick() -> None:
    """Output made to be slow to read is not: a megabyte of each suspicious character."""
    for run in (b"\r", b"\x1b", b"\x1b[", b"\x1b]", b"\x1b[;"):
        shown = OutputFilter(colour=True)
        for _ in range(16):
            shown.feed(run * (65_536 // len(run)) + b"x")
        shown.close()
