"""What is taken out of texts, what stays, and that it is the same wherever the text is cut."""

from __future__ import annotations

import base64
import html
import itertools
import json
import random
import urllib.parse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandar_daemon.domain.redaction import Redactor, keys_in
from pandar_daemon.domain.redaction_stream import HELD_MAX
from pandar_daemon.domain.secret_blocks import BLOCK_MAX
from pandar_daemon.domain.secret_parts import BEFORE_MAX
from tests.support.secrets_seen import AFTER, HARMLESS, JWT, LINES, SHAPED, WORD, pem

VALUE = "correct horse/battery+staple\"é'&"
LONG = "k3y-" + WORD * 3
NOTE = "first line of it\nsecond-line-that-is-long-enough\nlast"
KNOWN = {"PASSPHRASE": VALUE, "LONG": LONG, "NOTE": NOTE, "LOOP": "abababab", "LOOPS": "ababababcd"}
SHAPES = Redactor()
ALL = Redactor(KNOWN)


@pytest.mark.parametrize("kind", SHAPED)
@pytest.mark.parametrize("around", ["{}", "key={} rest", '{{"a": "{}"}}', "x\n{}\n", "a\\n{}\\n"])
def test_a_secret_is_known_by_its_shape(kind: str, around: str) -> None:
    """Each is replaced by its kind, whatever stands beside it, which stays."""
    assert SHAPES.text(around.format(SHAPED[kind])) == around.format(f"[REDACTED:{kind}]")


@pytest.mark.parametrize("kind", SHAPED)
def test_colours_beside_a_secret_do_not_hide_it(kind: str) -> None:
    """A letter that ends an escape sequence is not part of the word behind it."""
    shown = SHAPES.text(f"\x1b[1;32m{SHAPED[kind]}\x1b[0m")
    assert shown == f"\x1b[1;32m[REDACTED:{kind}]\x1b[0m"


@pytest.mark.parametrize(("around", "kind", "secret"), AFTER)
def test_a_secret_is_known_by_what_stands_before_it(around: str, kind: str, secret: str) -> None:
    """Only the secret is replaced: name, scheme, user and host stay."""
    assert SHAPES.text(around.format(secret)) == around.format(f"[REDACTED:{kind}]")


@pytest.mark.parametrize("text", HARMLESS)
def test_what_is_no_secret_stays(text: str) -> None:
    """Hashes, ids, base64 and words of prose are the same object afterwards."""
    assert ALL.text(text) is text
    assert list(keys_in(text)) == []


FORMS = {
    "as it is": VALUE,
    "hex": VALUE.encode().hex(),
    "capital hex": VALUE.encode().hex().upper(),
    "percent": urllib.parse.quote(VALUE, safe=""),
    "percent, small": "".join(
        c if len(c) == 1 else c.lower() for c in [urllib.parse.quote(c, safe="") for c in VALUE]
    ),
    "path": urllib.parse.quote(VALUE),
    "form": urllib.parse.quote_plus(VALUE),
    "JSON": json.dumps(VALUE)[1:-1],
    "JSON with its letters": json.dumps(VALUE, ensure_ascii=False)[1:-1],
    "Python": repr(VALUE)[1:-1],
    "shell": VALUE.replace("'", "'\\''"),
    "HTML": html.escape(VALUE),
    "folded": VALUE[:20] + "\n" + VALUE[20:],
    "folded on a terminal": VALUE[:20] + "\r\n" + VALUE[20:],
}


@pytest.mark.parametrize("form", FORMS)
def test_a_known_value_is_found_in_many_forms(form: str) -> None:
    """Where programs quote, escape or encode it, its name is seen."""
    assert ALL.text(f"<{FORMS[form]}>") == "<[REDACTED:PASSPHRASE]>"


@pytest.mark.parametrize("before", ["", "a", "ab", "user:", "x" * 50])
@pytest.mark.parametrize("after", ["", "\n", "zz"])
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
def test_a_known_value_is_found_in_base64(before: str, after: str, encode: object) -> None:
    """Whatever is encoded with it: at most a character on each side tells of it too."""
    assert callable(encode)
    encoded = encode((before + VALUE + after).encode()).decode()
    shown = ALL.text(encoded)
    assert "[REDACTED:PASSPHRASE]" in shown
    own = len(base64.b64encode(VALUE.encode()).rstrip(b"="))
    assert len(encoded) - (len(shown) - len("[REDACTED:PASSPHRASE]")) >= own - 2


@pytest.mark.parametrize("at", range(60, 130))
def test_a_known_value_is_found_in_base64_by_lines(at: int) -> None:
    """As `base64` writes it: of a long value no line has more than a few characters."""
    encoded = base64.encodebytes(("x" * at + LONG).encode()).decode()
    shown = ALL.text(encoded)
    assert "[REDACTED:LONG]" in shown
    rest = shown.partition("[REDACTED:LONG]")[2].replace("[REDACTED:LONG]", "").strip()
    assert len(rest) < 12


def test_lines_of_a_known_value_are_found_alone() -> None:
    """A long line of a secret is one, too; as a terminal shows the whole of it, it is one."""
    assert ALL.text("+second-line-that-is-long-enough") == "+[REDACTED:NOTE]"
    assert ALL.text(NOTE.replace("\n", "\r\n")) == "[REDACTED:NOTE]"


def test_a_short_value_is_not_looked_for() -> None:
    """Of less than eight bytes there is too much in ordinary words."""
    assert Redactor({"PIN": "letmein"}).text("letmein") == "letmein"
    assert Redactor({"PIN": " letmein1\n"}).text("letmein1") == "[REDACTED:PIN]"


@pytest.mark.parametrize("eol", ["", "\n", "\r\n"])
@pytest.mark.parametrize("size", [1, 7, 1_000, 65_536])
def test_a_very_long_value_is_found_by_its_beginning(eol: str, size: int) -> None:
    """However long it is, a bounded number of bytes is held back until that is told."""
    value = "".join(random.Random(3).choices("abcdefghijklmnop", k=9_000))
    lines = eol.join(value[at : at + 76] for at in range(0, len(value), 76))
    stream, shown = Redactor({"BLOB": value}).stream(), b""
    data = f"<{lines}> <{value[:5_000]}?".encode()
    for at in range(0, len(data), size):
        shown += stream.feed(data[at : at + size])
        assert stream.held <= HELD_MAX + max(size, BEFORE_MAX)
    assert shown + stream.flush() == b"<[REDACTED:BLOB]> <[REDACTED:BLOB]?"


@pytest.mark.parametrize(
    ("value", "hidden", "shown"),
    [
        ("ann:hunter2hunter2", "hunter2hunter2", "[REDACTED:K]"),
        ("postgres://app:p%40ss-w0rd@db/app", "p@ss-w0rd", "[REDACTED:K]"),
        ("postgres://app:p%40ss-w0rd@db/app", "p%40ss-w0rd", "[REDACTED:K]"),
        ("postgres://postgres:postgres@db/x", "postgres", "postgres"),
        ("https://example.org:8443/path", "8443/path", "8443/path"),
    ],
)
def test_the_password_in_a_value_is_one_too(value: str, hidden: str, shown: str) -> None:
    """Of a login and of a URL; but not a word that is the user's name as well."""
    redactor = Redactor({"K": value})
    assert redactor.text(f"<{hidden}>") == f"<{shown}>"
    assert redactor.text(f"<{value}>") == "<[REDACTED:K]>"


def test_the_longest_of_several_names_it() -> None:
    """Where one secret begins with another, the mark is that of the whole; what overlaps is one."""
    assert ALL.text("<ababababcd>") == "<[REDACTED:LOOPS]>"
    assert ALL.text("<abababababababab>") == "<[REDACTED:LOOP]>"


def test_a_name_can_be_read_and_cannot_break_a_mark() -> None:
    """Signs that a mark does not have become underscores."""
    assert Redactor({"a]b c": "hunter2hunter2"}).text("hunter2hunter2") == "[REDACTED:a_b_c]"


def test_learning_later_counts_from_then_on() -> None:
    """Also for a stream that is under way, as far as it has not let go; copies learn alone."""
    redactor = Redactor()
    copy, stream = redactor.copy(), redactor.stream()
    assert stream.feed(b"hunter2hunter2 ") == b"hunter2hunter2 "
    redactor.learn({"NEW": "hunter2hunter2"})
    assert stream.feed(b"hunter2hunter2 ") == b"[REDACTED:NEW] "
    assert copy.text("hunter2hunter2") == "hunter2hunter2"
    assert redactor.copy().text("hunter2hunter2") == "[REDACTED:NEW]"


# --- private keys ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "label",
    ["PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY", "PGP PRIVATE KEY BLOCK"],
)
@pytest.mark.parametrize("eol", ["\n", "\r\n", "\\n", "\n+ ", "\n  12  "])
def test_private_keys_are_found_wherever_they_are_copied_to(label: str, eol: str) -> None:
    """In files, in JSON, in a diff, with numbers; what follows is not part of it."""
    assert SHAPES.text(f"a {pem(label, eol=eol)} b") == "a [REDACTED:private_key] b"


def test_a_private_key_with_headers() -> None:
    """An encrypted one says so between its first line and its base64."""
    head = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF0123456789ABCDEF\n\n"
    assert SHAPES.text(pem("RSA PRIVATE KEY", head + LINES)) == "[REDACTED:private_key]"


def test_a_private_key_without_an_end_ends() -> None:
    """Where no more base64 comes, what follows is shown; after `BLOCK_MAX`, whatever follows."""
    cut = f"-----BEGIN PRIVATE KEY-----\n{LINES}\n"
    rest = "and so it goes on, in words; " * 20
    assert SHAPES.text(cut + rest) == f"[REDACTED:private_key]\n{rest}"
    endless = cut + "A" * 2 * BLOCK_MAX
    assert len(SHAPES.text(endless)) == len("[REDACTED:private_key]") + len(endless) - BLOCK_MAX


# --- streams -----------------------------------------------------------------------------------

FRAGMENTS = st.one_of(
    st.sampled_from([*SHAPED.values(), *KNOWN.values(), *HARMLESS[:18], *FORMS.values()]),
    st.sampled_from([around.format(secret) for around, _, secret in AFTER]),
    st.sampled_from(["[REDACTED:x]", "[REDACTED:", "[", "-----END", "://", "@", "\x1b[31m", "\\n"]),
    st.sampled_from(["sk-ant-", "Bearer ", "AccountKey=", ".eyJ", ":AA", "12345678", "\r\n"]),
    st.text("abA1-_./:@[]=+ \n\"'", max_size=12),
    st.text("aA1-", min_size=8, max_size=60),
)
TEXTS = st.lists(
    st.tuples(FRAGMENTS, st.integers(0, 40), st.booleans()).map(
        lambda cut: cut[0][cut[1] :] if cut[2] else cut[0][: -cut[1] or None]
    ),
    max_size=8,
).map("".join)


@given(text=TEXTS, cuts=st.lists(st.integers(0, 2_000), max_size=40))
def test_it_is_the_same_wherever_the_text_is_cut(text: str, cuts: list[int]) -> None:
    """Pieces give, all in all, what the whole gives; and never much is held back."""
    data, stream = text.encode(), ALL.stream()
    edges = sorted({0, *(cut % (len(data) + 1) for cut in cuts), len(data)})
    shown = b""
    for begin, end in itertools.pairwise(edges):
        shown += stream.feed(data[begin:end])
        assert stream.held <= HELD_MAX + BEFORE_MAX
    assert shown + stream.flush() == ALL.bytes(data)


@given(text=TEXTS)
def test_it_is_the_same_byte_by_byte(text: str) -> None:
    """A program that writes single characters hides nothing."""
    data, stream = text.encode(), ALL.stream()
    shown = b"".join(stream.feed(data[at : at + 1]) for at in range(len(data)))
    assert shown + stream.flush() == ALL.bytes(data)


@given(text=TEXTS)
def test_what_is_redacted_stays_as_it_is(text: str) -> None:
    """To redact once more changes nothing: marks are not looked into."""
    once = ALL.text(text)
    assert ALL.text(once) == once
    assert SHAPES.text(once) == once


@given(text=TEXTS)
def test_no_known_value_is_left(text: str) -> None:
    """Whatever stands around them."""
    shown = ALL.text(text)
    for value in KNOWN.values():
        assert value not in shown


@given(data=st.binary(max_size=400), known=st.text(min_size=8, max_size=40))
def test_any_bytes_and_any_value(data: bytes, known: str) -> None:
    """Nothing is raised, and no byte is lost where there is no secret."""
    redactor = Redactor({"K": known})
    assert redactor.bytes(data) == data or b"[REDACTED:" in redactor.bytes(data)
    assert b"".join(redactor.stream().feed(bytes([byte])) for byte in data) is not None


@pytest.mark.parametrize(
    "prompt", ["Password: ", "Go on? [y/N] ", "$ ", ">>> ", "Name:", "(yes/no)"]
)
def test_prompts_are_not_held_back(prompt: str) -> None:
    """What a program ends with while it waits for an answer is seen at once."""
    stream = ALL.stream()
    assert stream.feed(prompt.encode()) == prompt.encode()
    assert not stream.is_holding


def test_what_is_held_back_just_in_case_is_shown_when_nothing_comes() -> None:
    """And if the rest of a secret comes after all, that is not shown."""
    stream = ALL.stream()
    assert stream.feed(b"see http://localhost:3000") == b"see http://localhost:"
    assert stream.is_holding
    assert (stream.settle(), stream.is_holding) == (b"3000", False)
    assert stream.feed(b"word@host. ") == b"[REDACTED:url_password]@host. "


def test_what_can_hardly_be_anything_else_is_held_back_for_as_long_as_it_takes() -> None:
    """However slowly a secret is written, a few bytes of it are seen."""
    for value, most in ((VALUE, 3), (SHAPED["github_token"], 11), (SHAPED["anthropic_key"], 14)):
        stream, shown = ALL.stream(), b""
        for byte in value.encode():
            shown += stream.feed(bytes([byte])) + stream.settle()
        shown = shown.partition(b"[REDACTED:")[0] + stream.flush()
        assert len(shown.partition(b"[")[0]) <= most, shown


def test_jwt_is_a_jwt() -> None:
    """The made-up one of these tests has all it takes."""
    assert list(keys_in(f"a {JWT} b")) == ["jwt"]
