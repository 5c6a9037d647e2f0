"""A task that writes more than it may: what is not kept is said, and it is the truth."""

from __future__ import annotations

import aiohttp

from tests.acceptance.conftest import Pandar
from tests.support.api import Person

LIMIT = 65_536
LINES = 160_000
"""Of 13 bytes each: over 2 MB."""


async def test_a_cut_is_the_one_that_was_made(pandar: Pandar) -> None:
    """The first and the last half of the limit are kept; every way to read tells the same gap."""
    async with aiohttp.ClientSession() as session:
        owner = Person(session, pandar.base_url, pandar.token)
        command = f"seq -f line%08.0f 1 {LINES}"
        metadata = {"max_output_bytes": LIMIT}
        task = await owner.task(1, command=command, auto_start=True, metadata=metadata)
        async with owner.stream(f"/tasks/{task}/stream") as stream:
            ended = (await stream.until("task.completed"))[-1]
        owner.position = ended.data["position"]
        total = ended.data["data"]["output_bytes"]
        assert total == 13 * LINES
        cut = {"start": LIMIT // 2, "end": total - LIMIT // 2}
        assert ended.data["data"]["cut"] == cut
        for query in ("", "?tail=3", "?offset=0", "?offset=100&length=50", "?offset=1000000"):
            shown = await owner.get(f"/tasks/{task}/output{query}")
            assert (shown["cut"], shown["is_complete"]) == (cut, True)
        head = await owner.get(f"/tasks/{task}/output?offset=0")
        rest = await owner.get(f"/tasks/{task}/output?offset={head['next_offset']}")
        assert (head["next_offset"], rest["offset"]) == (cut["start"], cut["end"])
        assert rest["next_offset"] == total
        reply, text = await owner.call(
            "GET", f"/tasks/{task}/output", headers={"Range": "bytes=-13"}
        )
        assert (reply.status, text) == (206, f"line{LINES:08}\n")
        assert reply.headers["Content-Range"] == f"bytes {total - 13}-{total - 1}/{total}"
