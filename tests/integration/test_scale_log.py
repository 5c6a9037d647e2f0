"""The log that `make bench-scale` makes is one the append could have made."""

from __future__ import annotations

import pytest

from bench import scale_log_lives
from pandar_daemon.adapters.postgres.audit import PgLogAudit
from pandar_daemon.ports import Appended
from tests.support.appending import item
from tests.support.log import assert_folded, open_log, project_all


async def test_a_made_log_keeps_every_promise(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dense, versions contiguous, receipts and streams agree, every event decodes and projects."""
    monkeypatch.setattr(scale_log_lives, "QUEUED", 5)
    async with open_log(database_url) as log:
        head = await scale_log_lives.fill(database_url, log, 200, 500, lambda *_: None)
        assert head == 1 + 200 * scale_log_lives.EVENTS + 5 * 2
        assert await PgLogAudit(log.database).faults() == []
        history = await log.everything()
        assert [event.position for event in history] == list(range(1, head + 1))
        assert [e.version for e in await log.store.read_stream("task-150")] == list(range(1, 11))
        await project_all(log, up_to=head)
        await assert_folded(log)
        appended = await log.store.append(item("task-150", 10))
        assert appended == Appended(position=head + 1, version=11)
