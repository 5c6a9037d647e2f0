"""Whatever goes wrong in whatever order, the promises hold: by seeds that anybody can run again.

``PANDAR_SIM_SEEDS`` says how many new ones (16 by default). They are drawn from the text of the
code they judge: unchanged code meets the same ones again, a change meets others. A seed that found
something is kept in ``seeds/`` for ever. ``python -m tests.simulation SEED`` tells its story.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from tests.simulation.plan import Storm
from tests.simulation.run import simulate
from tests.support.history import summary

ROOT = Path(__file__).parents[2]
JUDGED = ("events", "projections", "pandar_daemon/domain", "pandar_daemon/services")
KEPT = sorted((Path(__file__).parent / "seeds").glob("*.json"))


def derived() -> list[int]:
    """Return the seeds the code has drawn."""
    text = hashlib.sha256()
    for folder in JUDGED:
        for path in sorted((ROOT / folder).glob("*.py")):
            text.update(path.read_bytes())
    count = int(os.environ.get("PANDAR_SIM_SEEDS", "16"))
    first = int.from_bytes(text.digest()[:4], "big")
    return list(range(first, first + count))


@pytest.mark.parametrize("seed", derived())
def test_new_seed(seed: int) -> None:
    """A hundred tasks and up to fifty faults: all comes to rest, and no promise was broken."""
    outcome = simulate(seed)
    assert outcome.wrong == [], f"python -m tests.simulation {seed}"
    assert summary(outcome.history)["tasks"] > 0


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_kept_seed(path: Path) -> None:
    """What once went wrong, or nearly did, goes well."""
    storm = msgspec.json.decode(path.read_bytes(), type=Storm)
    assert simulate(storm.seed, menu=storm).wrong == [], storm.why


def test_a_seed_is_one_story() -> None:
    """The same seed tells the same story to the last line; another tells another."""
    first, again, other = simulate(1, tasks=30), simulate(1, tasks=30), simulate(2, tasks=30)
    assert first.digest == again.digest
    assert first.history == again.history
    assert first.digest != other.digest


@pytest.mark.parametrize("hash_seed", ["1"])
def test_a_seed_is_one_story_everywhere(hash_seed: str) -> None:
    """Nothing of a story hangs on how a process orders its sets."""
    said = subprocess.run(
        [sys.executable, "-m", "tests.simulation", "3"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert f"\n3: {simulate(3).digest[:12]} " in said
