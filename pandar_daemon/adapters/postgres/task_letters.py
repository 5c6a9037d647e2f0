"""How frequent three letters are in tasks' texts, told by a sample of them.

An index of letters goes through all tasks that have what it is asked for: half of all have ``ing``
and hardly any ``xqu``. So a search asks it for the rarest letters of its words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from pandar_daemon.adapters.postgres.pool import Database
from projections.task_table import SEARCHED

_SAMPLE: Final = 100
"""So many tasks, by chance, old and new alike: 15 to 25 ms of the database. Three and ten times as
many led to no quicker searches."""
_MOST: Final = 10_000
"""So many sequences are remembered, the most frequent: a megabyte. Any other is rare."""
_ANEW: Final = 2
"""A sample serves until there are so many times as many tasks."""

_COUNT: Final = f"""
WITH numbers AS MATERIALIZED (
    SELECT first + (n + random()) * (last - first + 1) / {_SAMPLE} AS wanted
    FROM (SELECT min(id) AS first, max(id) AS last FROM views.tasks) of_all,
        generate_series(0, {_SAMPLE - 1}) n
), sample AS (
    SELECT DISTINCT (
        SELECT id FROM views.tasks
        WHERE NOT deleted AND id >= floor(wanted)::bigint ORDER BY id LIMIT 1
    ) AS id FROM numbers
)
SELECT letters, count(*) AS tasks
FROM sample JOIN views.task_words USING (id), LATERAL unnest(show_trgm({SEARCHED})) letters
GROUP BY letters HAVING count(*) > 1 ORDER BY count(*) DESC LIMIT {_MOST}
"""  # noqa: S608 - our own names


class Letters:
    """Remembers how many tasks of a sample have three letters, in lower case; of most nothing."""

    def __init__(self, database: Database) -> None:
        """Sample the tasks of ``database``, when first asked."""
        self._database = database
        self._sampling = asyncio.Lock()
        self._tasks = 0  # that there were when the sample was taken
        self._counts: Mapping[str, int] = {}

    async def among(self, tasks: int) -> Mapping[str, int]:
        """Return the counts, where there are so many tasks.

        Raises what the database raises, and tries again when next asked.
        """
        async with self._sampling:
            if tasks >= _ANEW * self._tasks:
                rows = await self._database.fetch(_COUNT)
                self._counts = {row["letters"]: row["tasks"] for row in rows}
                self._tasks = tasks
        return self._counts
