"""Random faults on every process and server, under load; then the history is judged.

All campaigns but the last run tasks as this user, who write down what they do in one file; those
of the last are confined to boxes, and what they did is found in their folders.

The seeds are fixed, so that a failure replays; `make soak` takes fresh ones.
``PANDAR_CHAOS_SEED`` and ``PANDAR_CHAOS_ROUNDS`` override seed and length.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.chaos import campaign, keep
from tests.support.servers import TestServers

pytestmark = [pytest.mark.fault, pytest.mark.timeout(600)]

BASE = 20_260_102
CAMPAIGNS = 4
ROUNDS = int(os.environ.get("PANDAR_CHAOS_ROUNDS", "50"))
GIVEN = os.environ.get("PANDAR_CHAOS_SEED")
SEEDS = [int(GIVEN)] if GIVEN else [BASE + n for n in range(CAMPAIGNS)]


@pytest.mark.parametrize("seed", SEEDS)
async def test_random_faults_break_no_promise(
    servers: TestServers, database_url: str, nats_url: str, tmp_path: Path, seed: int
) -> None:
    """Killed, stopped and woken at random moments, what is left is one consistent history."""
    report = await campaign(servers, database_url, tmp_path, seed=seed, rounds=ROUNDS)
    assert not report.broken, f"{keep(report, tmp_path)}: {report.broken[:20]}"
    assert report.rounds == ROUNDS


async def test_random_faults_break_no_promise_about_boxes(
    servers: TestServers, database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """As much is true of tasks in boxes, and nothing of a box is left behind."""
    seed = SEEDS[0] + CAMPAIGNS
    report = await campaign(servers, database_url, tmp_path, seed=seed, rounds=ROUNDS, boxed=True)
    assert not report.broken, f"{keep(report, tmp_path)}: {report.broken[:20]}"
    assert report.rounds == ROUNDS
