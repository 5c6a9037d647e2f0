"""What is recorded of attempts to reach whom a box may not call, and whom it may."""

from __future__ import annotations

from msgspec.structs import replace

from events.calls import Rules
from events.confinement import Confines
from events.running import ReportBlocked
from pandar_daemon.domain.refusals import Rejected
from pandar_daemon.ports import Blocked, Launch, Outward, Upstream
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.line import Line
from pandar_daemon.services.way_out import TOLD_MAX, Attempts, outward_of
from tests.support.agent_runs import ASSIGNMENT, EXECUTION, Daemon
from tests.support.clock import ManualClock


def attempts(daemon: Daemon) -> Attempts:
    """Return an execution's, on a line to this daemon."""
    return Attempts(Line(ASSIGNMENT, "r1", Asker(daemon, lambda: "token"), ManualClock()))


def attempt(n: int) -> Blocked:
    """Return the n-th."""
    return Blocked(host=f"host-{n}.test", port=443, reason="not on the list")


async def test_an_attempt_is_recorded() -> None:
    """With the execution whose it is."""
    daemon = Daemon()
    ours = attempts(daemon)
    await ours.tell(attempt(1))
    await ours.close()
    (told,) = daemon.told("blocked", ReportBlocked)
    assert (told.execution_id, told.task_id) == (EXECUTION, 42)
    assert (told.host, told.port, told.reason, told.omitted) == (
        *("host-1.test", 443, "not on the list"),
        0,
    )


async def test_many_attempts_are_counted() -> None:
    """Beyond a limit how many there were is told when the execution ends."""
    daemon = Daemon()
    ours = attempts(daemon)
    for n in range(TOLD_MAX + 30):
        await ours.tell(attempt(n))
    assert len(daemon.told("blocked", ReportBlocked)) == TOLD_MAX
    await ours.close()
    await ours.close()
    told = daemon.told("blocked", ReportBlocked)
    assert len(told) == TOLD_MAX + 1
    assert (told[-1].omitted, told[-1].host) == (30, "host-129.test")


async def test_too_long_texts_are_cut() -> None:
    """What is refused may be as long as it likes."""
    daemon = Daemon()
    await attempts(daemon).tell(Blocked(host="x" * 5_000, port=1, reason="y" * 5_000))
    (told,) = daemon.told("blocked", ReportBlocked)
    assert (len(told.host), len(told.reason)) == (255, 500)


async def test_an_execution_that_is_over_has_nothing_to_say() -> None:
    """A refusal disturbs nobody."""
    daemon = Daemon()
    daemon.refuse["blocked"] = [Rejected("over")]
    ours = attempts(daemon)
    await ours.tell(attempt(1))
    await ours.close()


def test_whom_an_execution_may_call() -> None:
    """As its confines say, and what its agent needs; the agent's models by their doors."""
    confines = Confines(hosts=["a.test"], private_hosts=["p.test"])
    assignment = replace(ASSIGNMENT, confines=confines, rules=Rules(policy="auto"))
    models = {"model": Upstream(base_url="https://m.test", headers={})}
    launch = Launch(argv=("bot",), environment={}, models=models, hosts=("b.test",))
    assert outward_of(assignment, launch) == Outward(
        hosts=("b.test", "a.test"),
        private_hosts=("p.test",),
        rules=Rules(policy="auto"),
        models=models,
    )
    assert outward_of(assignment, None).models == {}
