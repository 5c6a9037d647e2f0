"""Retention against a real log and a real disk: what is over goes, what goes on stays."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from events import running as tell
from events.running import Ending
from pandar_daemon.adapters.disk.folders import DataFolders
from pandar_daemon.domain.keeping import Keeping
from pandar_daemon.domain.refusals import Forbidden
from pandar_daemon.services.retention import Retention
from pandar_daemon.telemetry import Metrics
from tests.support.clock import ManualClock
from tests.support.desk import OWNER, Desk, desk

pytestmark = pytest.mark.servers
DAY_SEC = 86_400.0


def retention(at: Desk, data: Path, clock: ManualClock, *in_hand: int) -> Retention:
    """Return what tidies up a folder by what a desk's log says."""

    async def ask(task_ids: Sequence[int]) -> dict[int, Ending]:
        answer = await at.run("ended", tell.ListEnded(task_ids=list(task_ids)))
        return msgspec.json.decode(answer, type=tell.Endings).ended

    return Retention(
        folders=DataFolders(data),
        terms=Keeping(keep_days=1),
        ask=ask,
        in_hand=lambda: in_hand,
        clock=clock,
        metrics=Metrics(),
    )


def left(data: Path) -> list[int]:
    """Return which tasks have folders."""
    return DataFolders(data).tasks()


async def test_tasks_that_are_over_lose_their_folders_when_the_time_has_come(
    database_url: str, clock: ManualClock, tmp_path: Path
) -> None:
    """Completed, running, queued, retried, unknown: only the first goes, and only after a day."""
    async with desk(database_url, clock) as one:
        project = await one.project()
        done, running, failed = [await one.task(project) for _ in range(3)]
        await one.settle()
        work = {each.task_id: each for each in await one.claim(3)}
        await one.finish(work[done])
        await one.finish(work[failed], outcome=tell.Outcome.FAILED)
        await one.ask(OWNER, "task.retry", target=failed)
        queued = await one.task(project)
        tasks = [done, running, failed, queued, 999]
        for task in tasks:
            (tmp_path / "workspaces" / f"task-{task}").mkdir(parents=True)
            (tmp_path / "workspaces" / f"task-{task}" / "file").write_text("x")

        recorded = await one.log.store.read_stream(f"task-{done}")
        clock.jump((recorded[-1].recorded_at - clock.now()).total_seconds())
        assert await retention(one, tmp_path, clock).tidy() == []
        clock.jump(2 * DAY_SEC)
        assert await retention(one, tmp_path, clock, done).tidy() == []
        assert await retention(one, tmp_path, clock).tidy() == [done]
        assert left(tmp_path) == sorted(tasks[1:])


async def test_only_runners_may_ask_which_tasks_are_over(
    database_url: str, clock: ManualClock
) -> None:
    """It would tell of tasks one may not see."""
    async with desk(database_url, clock) as one:
        with pytest.raises(Forbidden):
            await one.run("ended", tell.ListEnded(task_ids=[1]), who="admin:root")
