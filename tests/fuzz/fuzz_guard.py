"""The guard under random texts: it never raises, and what it says holds together."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import atheris  # type: ignore[import-untyped] # says nothing of its types

with atheris.instrument_imports():
    from pandar_daemon.domain.guard import Decision, check, refusal
    from pandar_daemon.domain.shell_second import doubts

CORPUS = Path(__file__).parents[1] / "unit" / "corpus"
SEEDS = Path(".fuzz/seeds/guard")


def one(data: bytes) -> None:
    """Judge one text in every way there is."""
    text = atheris.FuzzedDataProvider(data).ConsumeUnicode(len(data))
    found = check(text)
    assert found.decision in Decision
    assert (found.decision is Decision.DENY) >= (refusal(text) is not None)
    assert found.decision is not Decision.GATE or found.gates
    list(doubts(text))


def seeds() -> None:
    """Write the corpora where the fuzzer begins."""
    SEEDS.mkdir(parents=True, exist_ok=True)
    for name in ("attacks", "ordinary"):
        found = tomllib.loads((CORPUS / f"{name}.toml").read_text("utf-8"))
        texts = [text for kind in found.values() for text in kind["texts"]]
        for number, text in enumerate(texts):
            (SEEDS / f"{name}-{number}").write_bytes(b"\x01" + text.encode("utf-8", "replace"))


if __name__ == "__main__":
    seeds()
    atheris.Setup([*sys.argv, str(SEEDS)], one)
    atheris.Fuzz()
