"""A database that crashes may undo the last steps of a read model: they are taken again."""

from __future__ import annotations

import asyncio

import asyncpg

from events import task as did
from projections.timeline import TIMELINE
from tests.support.lives import created
from tests.support.log import assert_folded, open_log, running

_UNDO = """
WITH undone AS (DELETE FROM views.timeline WHERE position > $1)
UPDATE read_models SET position = $1 WHERE model = 'timeline'
"""


async def test_steps_a_crash_has_undone_are_taken_again(database_url: str) -> None:
    """The projector finds itself further than its checkpoint, and leaves no event out."""
    administrator = await asyncpg.connect(database_url)
    async with open_log(database_url) as log:
        last = await log.add("task-1", created(1), *[did.StartRequested()] * 5)
        projector = log.projector(timeline=TIMELINE)
        async with asyncio.timeout(30), running(projector.run()):
            await projector.reached(last)
            await administrator.execute(_UNDO, last - 3)
            last = await log.add("task-1", did.StartRequested())
            await projector.reached(last)
        await assert_folded(log, TIMELINE)
    await administrator.close()
