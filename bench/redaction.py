"""What it costs to take secrets out of output: of ordinary text, and of text that is hard on it."""

from __future__ import annotations

import base64
import os
import random
import string
import time
from collections.abc import Mapping
from pathlib import Path

from bench.figures import Figure, Goal, at_least, at_most, typical
from bench.scale import Scale
from pandar_daemon.domain.redaction import Redactor

PART = "redaction"
MB = 10**6
_CHUNK = 65_536
_KNOWN = 20
_HERE = Path(__file__).parents[1]
_ORDINARY = ("pandar_daemon/**/*.py", "docs/**/*.md", "docs/**/*.json", "requirements/*.txt")
_ROUNDS = 5


async def measure(scale: Scale) -> list[Figure]:
    """Return how much of some texts a second passes a redactor that knows twenty secrets."""
    began = time.perf_counter()
    redactor = Redactor(_known())
    learnt_ms = 1_000 * (time.perf_counter() - began)
    size = scale.redact_mb * MB
    figures = [
        _figure(what, typical([_rate(redactor, data) for _ in range(_ROUNDS)]), goal)
        for what, (data, goal) in _texts(size).items()
    ]
    learnt = Figure(
        part=PART, what="learn 20 secrets", value=learnt_ms, unit="ms", goal=at_most(50)
    )
    return [*figures, learnt]


def _figure(what: str, rate: float, goal: Goal | None) -> Figure:
    return Figure(part=PART, what=what, value=rate, unit="MB/s", goal=goal)


def _known() -> Mapping[str, str]:
    drawn = random.Random(1)
    signs = string.ascii_letters + string.digits
    return {f"SECRET_{n}": "".join(drawn.choices(signs, k=40)) for n in range(_KNOWN)}


def _texts(size: int) -> Mapping[str, tuple[bytes, Goal | None]]:
    files = sorted(path for pattern in _ORDINARY for path in _HERE.glob(pattern))
    return {
        "sources, documents, JSON, locks": (
            _long(b"".join(path.read_bytes() for path in files), size),
            at_least(100),
        ),
        "base64": (base64.b64encode(os.urandom(size * 3 // 4)), at_least(100)),
        "nothing but URLs": (_long(b"see https://example.com:80/x ok\n", size // 8), None),
        "nothing but keys": (_long(b"key AKIAQWERTYUIOPASDFGH given\n", size // 8), None),
    }


def _long(text: bytes, size: int) -> bytes:
    return (text * (size // len(text) + 1))[:size]


def _rate(redactor: Redactor, data: bytes) -> float:
    """Return how many MB pass in a second of a processor, in pieces as a terminal gives them."""
    stream, began = redactor.stream(), time.thread_time()
    for at in range(0, len(data), _CHUNK):
        stream.feed(data[at : at + _CHUNK])
    stream.flush()
    return len(data) / MB / (time.thread_time() - began)
