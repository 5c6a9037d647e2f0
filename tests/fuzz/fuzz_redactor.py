"""The redactor under random bytes: pieces give what the whole gives, and show no secret."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

from pandar_daemon.domain.redaction import Redactor
from pandar_daemon.domain.redaction_stream import HELD_MAX
from pandar_daemon.domain.secret_parts import BEFORE_MAX
from tests.support.secrets_seen import AFTER, HARMLESS, SHAPED

KNOWN = {"PHRASE": "correct horse/battery+staple", "LOOP": "abababab", "LOOPS": "ababababcd"}
REDACTOR = Redactor(KNOWN)
SEEDS = Path(".fuzz/seeds/redactor")


def one(data: bytes) -> None:
    """Redact one text whole, in pieces of a size its first byte says, and once more."""
    step, text = (data[0] % 16 + 1, data[1:]) if data else (1, data)
    whole = REDACTOR.bytes(text)
    stream, shown = REDACTOR.stream(), b""
    for at in range(0, len(text), step):
        shown += stream.feed(text[at : at + step])
        assert stream.held <= HELD_MAX + BEFORE_MAX
    assert shown + stream.flush() == whole
    assert REDACTOR.bytes(whole) == whole
    for value in KNOWN.values():
        assert value.encode() not in whole


def seeds() -> None:
    """Write secrets of all kinds, and what is none, where the fuzzer begins."""
    SEEDS.mkdir(parents=True, exist_ok=True)
    behind = [around.format(secret) for around, _, secret in AFTER]
    for number, text in enumerate([*SHAPED.values(), *behind, *HARMLESS, *KNOWN.values()]):
        (SEEDS / str(number)).write_bytes(b"\x03" + text.encode())


if __name__ == "__main__":
    atheris = import_module("atheris")
    seeds()
    atheris.instrument_all()
    atheris.Setup([*sys.argv, str(SEEDS)], one)
    atheris.Fuzz()
