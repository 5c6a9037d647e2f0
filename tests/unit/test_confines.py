"""Whether an execution may run here, and what its box has."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from events.calls import Rules
from events.confinement import Confines, Level
from events.running import Assignment
from pandar_daemon.ports.sandbox import CONTROL, PROXY
from pandar_daemon.services.confines import House, admit_agent, box_of, inside
from pandar_daemon.services.enclosing import Reach
from tests.support.agent_runs import ASSIGNMENT

COMMAND = replace(ASSIGNMENT, prompt="", agent=None, command="make test")
REACH = Reach(folder="/w", home="/h", overlays={"/usr/bin/gh": "/shim"})


def at(level: Level, assignment: Assignment = COMMAND) -> Assignment:
    """Return an assignment that is confined so."""
    return replace(assignment, confines=Confines(level=level))


def test_a_box_has_doors() -> None:
    """And shims that lead there, before other programs."""
    box = box_of(at(Level.BWRAP), House(), REACH)
    assert box is not None
    assert set(box.doors) == {PROXY, CONTROL}
    assert box.overlays == REACH.overlays
    assert inside({"PATH": "/bin"}, box, "/shims")["PATH"] == "/shims:/bin"


def test_a_fence_has_none() -> None:
    """A command runs there without network and broker, and is promised neither."""
    box = box_of(at(Level.LANDLOCK), House(weakest=Level.LANDLOCK), REACH)
    assert box is not None
    assert (box.doors, box.overlays) == ((), {})
    assert inside({"PATH": "/bin"}, box, "/shims") == {"PATH": "/bin"}


def test_no_agent_in_a_fence() -> None:
    """It could not reach its model: that is said before it begins."""
    with pytest.raises(PermissionError, match="cannot reach its model"):
        box_of(at(Level.LANDLOCK, ASSIGNMENT), House(weakest=Level.LANDLOCK), REACH)
    with pytest.raises(PermissionError, match="level bwrap"):
        admit_agent(at(Level.LANDLOCK))


@pytest.mark.parametrize("level", [Level.LANDLOCK, Level.NONE])
def test_nothing_weaker_than_the_house(level: Level) -> None:
    """The owner of the runner has the last word."""
    with pytest.raises(PermissionError, match="allows no less than bwrap"):
        box_of(at(level), House(), REACH)


def test_nobody_unconfined_is_unasked() -> None:
    """Level none and policy auto together would stop at nothing."""
    free = House(weakest=Level.NONE)
    assert box_of(at(Level.NONE), free, REACH) is None
    with pytest.raises(PermissionError, match="auto"):
        box_of(replace(at(Level.NONE), rules=Rules(policy="auto")), free, REACH)
