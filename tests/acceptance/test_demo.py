"""``pandar demo``: the whole story in a minute, on nothing but this machine."""

from __future__ import annotations

from pathlib import Path

from tests.support.daemon import Program


async def test_the_demo_tells_the_whole_story(tmp_path: Path) -> None:
    """Task, gate, link, page, approval, and what came of it; nothing is left."""
    program = await Program.start("demo", "--yes", data=tmp_path, name="demo", extra={})
    assert await program.process.wait() == 0, program.printed
    told = program.printed
    order = ["Filing a task", "needs you", "/a/", "pressing Approve", "The task is completed"]
    places = [told.index(words) for words in order]
    assert places == sorted(places)
    assert "pushed.log: git push origin main" in told
