"""A foreign message among the events: the relay must not pass over what it displaced."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from events import subjects
from pandar_daemon.adapters.nats.jetstream import JetStream, Outgoing
from pandar_daemon.config import Settings
from pandar_daemon.wiring import advance_epoch
from tests.integration.test_relay import Site, at
from tests.support.log import running
from tests.support.waiting import until

__all__ = ["at"]


async def _forge(at: Site, **headers: str) -> None:
    """Publish among the events, as whoever has the bus's token can."""
    subject = f"{subjects.EVENTS}.task.completed.1.1"
    forged = Outgoing(subject=subject, body=b'{"exit_code":0}', headers=headers)
    ack = await JetStream(at.bus).store(forged)
    assert ack.error is None


@pytest.mark.parametrize("headers", [{}, {"ce-id": "x", "Pandar-Position": "6"}])
@pytest.mark.parametrize("burst", [1, 2, 300])
async def test_a_foreign_event_stops_the_relay(
    at: Site, headers: dict[str, str], burst: int
) -> None:
    """However many events follow at once, the one displaced is missed and the alarm raised."""
    await at.fill(5)
    with capture_logs() as logs:
        async with running(at.relay.run()):
            await at.relayed()
            await _forge(at, **headers)
            await at.fill(burst)
            await until(lambda: at.relay.diverged)
            stopped = await at.last()
            await at.fill(3)
            await until(lambda: at.measured("log_position") == 5 + burst + 3)
    assert await at.last() == stopped
    alarms = [each for each in logs if each["event"] == "relay.stream_differs_from_log"]
    assert [each["log_level"] for each in alarms] == ["error"]


async def test_a_new_epoch_leaves_the_foreign_event_behind(
    at: Site, database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """It is allowed though the stream's very last event is the log's, and fills a clean stream."""
    settings = Settings(data=tmp_path, database_url=database_url, nats_url=nats_url)
    async with running(at.relay.run()):
        await at.fill(5)
        await at.relayed()
        await _forge(at)
        await at.fill(20)
        await until(lambda: at.relay.diverged)
        assert await advance_epoch(settings) == 2
        await at.relayed(2)
    await at.assert_same(2)
