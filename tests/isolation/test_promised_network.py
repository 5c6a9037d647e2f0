"""A task in its box reaches whom it may, and nobody else."""

from __future__ import annotations

import pytest

from tests.isolation.grounds import Grounds, filed
from tests.support.api import Person

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("promises")]


async def test_nobody_is_reached_who_is_not_allowed(grounds: Grounds, owner: Person) -> None:
    """Neither straight nor by the proxy; it is on the timeline. Who is allowed answers."""
    command = "python3 hostile.py network"
    async with filed(grounds, owner, command, gates=["git_push_protected"]) as task:
        await task.end()
        found = grounds.found(task, "network")
        assert len(found["straight"]) >= 10
        assert "reached" not in found["straight"].values()
        for way in ("proxy", "tunnel"):
            assert {h: status for h, status in found[way].items() if status not in {400, 403}} == {}
        assert found["allowed"] == "welcome"
        blocked = [each["data"] for each in task.events if each["type"] == "task.egress_blocked"]
        hosts = {each["host"] for each in blocked}
        assert hosts >= {"127.0.0.1", "localhost", "169.254.169.254", "not-allowed.example.com"}
        assert all(each["reason"] for each in blocked)
    assert grounds.allowed.came[-1][0] == "/x"
    assert grounds.closed.came == []


async def test_people_open_exactly_one_host(grounds: Grounds, owner: Person) -> None:
    """The task waits; approved, that host is reached, and asked about once; no other is."""
    command = "python3 hostile.py opened"
    async with filed(grounds, owner, command, gates=["network_egress"]) as task:
        asked = await task.asked()
        assert asked["gate"] == "network_egress"
        assert f"localhost:{grounds.asked.port}" in str(asked["card"])
        assert grounds.asked.came == []
        await task.decide()
        asked = await task.asked()
        assert "not-allowed.example.com" in str(asked["card"])
        await task.decide("deny")
        await task.end()
        assert grounds.found(task, "opened") == [200, 200, 403, 403]
    assert len(grounds.asked.came) == 2
    assert grounds.closed.came == []
