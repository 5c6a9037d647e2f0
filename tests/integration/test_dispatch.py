"""Claims and leases on a real log: who gets what, once; and what a runner may say of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import msgspec
import pytest

from events import running as tell
from events import subjects
from events.envelope import Recorded
from events.ids import task_stream
from events.running import LeaseState
from events.task import Json
from pandar_daemon.adapters.nats.events import NatsEventStream
from pandar_daemon.adapters.nats.live import NatsLive
from pandar_daemon.adapters.nats.wire import NatsWire
from pandar_daemon.adapters.postgres import lane
from pandar_daemon.adapters.postgres.leases import PgLeadership
from pandar_daemon.adapters.postgres.project_reads import PgProjectReads
from pandar_daemon.services import arrivals, dispatcher
from pandar_daemon.services.arrivals import Arrivals
from pandar_daemon.services.bell import Bell
from pandar_daemon.services.relay import Relay
from pandar_daemon.telemetry import Metrics
from tests.support.bus import PATIENCE_SEC, connected
from tests.support.clock import ManualClock
from tests.support.desk import OWNER, RUNNER, Desk, desk, finished, held, problem
from tests.support.log import running
from tests.support.servers import TestServers
from tests.support.waiting import until


@pytest.fixture
async def one(database_url: str, clock: ManualClock) -> AsyncIterator[Desk]:
    """Return a process that answers."""
    async with desk(database_url, clock) as opened:
        yield opened


@pytest.fixture
async def other(database_url: str, clock: ManualClock) -> AsyncIterator[Desk]:
    """Return another process that answers on the same log."""
    async with desk(database_url, clock) as opened:
        yield opened


async def _given(at: Desk, metadata: Json | None = None) -> tell.Assignment:
    """Return the first execution of a new task."""
    await at.task(await at.project(), command="make test", metadata=metadata or {})
    await at.settle()
    return (await at.claim())[0]


def _ids(work: list[tell.Assignment]) -> list[int]:
    return [each.task_id for each in work]


# --- claims ----------------------------------------------------------------------------------


async def test_the_most_urgent_goes_first_then_the_oldest(one: Desk) -> None:
    """By priority, and among equals in the order in which they were queued."""
    project = await one.project()
    low = await one.task(project, priority="low")
    later = await one.task(project, auto_start=False)
    first, second = await one.task(project), await one.task(project)
    urgent = await one.task(project, priority="urgent")
    high = await one.task(project, priority="high")
    await one.ask(OWNER, "task.start", target=later)
    await one.settle()
    assert _ids(await one.claim(2)) == [urgent, high]
    assert _ids(await one.claim(10)) == [first, second, later, low]
    assert await one.claim(10) == []


async def test_an_assignment_says_what_is_to_be_done(one: Desk) -> None:
    """What a runner gets is what the log says was started, under a lease of its own."""
    work = await _given(one, {"agent": "claude"})
    started = (await one.history(work.task_id))[-1]
    data = msgspec.json.decode(started.data)
    assert started.type == "task.started"
    assert data["execution_id"] == str(work.execution_id)
    assert (data["attempt"], data["epoch"], data["runner_id"]) == (work.attempt, work.epoch, "r1")
    assert (work.command, work.agent, work.attempt) == ("make test", "claude", 1)
    assert (started.actor, started.project_id) == ("runner:local", work.project_id)


async def test_a_concurrency_key_excludes(one: Desk, other: Desk) -> None:
    """Of one key in one project one runs at a time; when it ends, the next may."""
    project, elsewhere = await one.project(), await one.project()
    key = {"concurrency_key": "k"}
    first = await one.task(project, metadata=key)
    second = await one.task(project, metadata=key)
    free = await one.task(project)
    third = await one.task(elsewhere, metadata=key)
    await one.settle()
    work = await one.claim(10)
    assert _ids(work) == [first, free, third]
    assert await one.claim(10) == await other.claim(10) == []
    await one.finish(work[0])
    assert _ids(await other.claim(10)) == [second]


async def test_twenty_claims_in_two_processes_give_five_tasks_once(one: Desk, other: Desk) -> None:
    """Whoever races, a task is given to one; and all are given."""
    project = await one.project()
    tasks = [await one.task(project) for _ in range(5)]
    await one.settle()
    claims = [each.claim(runner=f"r{n}") for n in range(10) for each in (one, other)]
    given = [work for answer in await asyncio.gather(*claims) for work in answer]
    assert sorted(_ids(given)) == tasks
    for task in tasks:
        assert (await one.told(task)).count("task.started") == 1


async def test_a_repeated_claim_gets_what_it_got(one: Desk, other: Desk) -> None:
    """Under its command id it gets the same executions from any process, as long as they live."""
    project = await one.project()
    for _ in range(4):
        await one.task(project)
    await one.settle()
    first = await one.claim(2, cid="claim")
    assert len(first) == 2
    assert await one.claim(2, cid="claim") == first
    await one.settle()
    assert await other.claim(2, cid="claim") == first
    await one.finish(first[0])
    assert await other.claim(2, cid="claim") == first[1:]
    await one.finish(first[1])
    assert await one.claim(2, cid="claim") == []
    assert len(await one.claim(2, cid="another")) == 2


async def test_a_claim_repeated_while_the_first_waits_gives_nothing_twice(
    one: Desk, other: Desk
) -> None:
    """The same claim at two processes at once is one claim."""
    project = await one.project()
    for _ in range(3):
        await one.task(project)
    await one.settle()
    given = await asyncio.gather(*(each.claim(cid="c") for each in (one, other) for _ in range(5)))
    assert len({work.execution_id for answer in given for work in answer}) == 1
    assert all(len(answer) == 1 for answer in given)


async def test_the_slots_of_a_claim_share_a_commit(one: Desk, database_url: str) -> None:
    """However many tasks it is given, they start in one transaction."""
    project = await one.project()
    tasks = [await one.task(project) for _ in range(7)]
    await one.settle()
    assert _ids(await one.claim(7)) == tasks
    admin = await asyncpg.connect(database_url)
    try:
        started = "SELECT count(DISTINCT xmin::text) FROM events WHERE type = 'task.started'"
        assert await admin.fetchval(started) == 1
    finally:
        await admin.close()


async def test_a_repeated_claim_finds_what_it_got_beside_tasks_it_did_not(
    one: Desk, other: Desk
) -> None:
    """A slot whose candidate could not begin is filled by the next one, and each is found again."""
    project = await one.project()
    taken, first, second = [await one.task(project) for _ in range(3)]
    await one.settle()
    await other.ask(OWNER, "task.cancel", target=taken)
    given = await one.claim(2, cid="holes")
    assert sorted(_ids(given)) == [first, second]
    again = await other.claim(2, cid="holes")
    assert {work.execution_id for work in again} == {work.execution_id for work in given}


async def test_a_claim_that_got_nothing_may_be_asked_again(one: Desk) -> None:
    """Nothing is no answer to keep: under the same id there may be work a moment later."""
    project = await one.project()
    await one.settle()
    assert await one.claim(cid="c") == []
    task = await one.task(project)
    await one.settle()
    assert _ids(await one.claim(cid="c")) == [task]


async def test_a_claims_id_belongs_to_one_claim(one: Desk) -> None:
    """Another number of slots under it is another request; another runner has its own ids."""
    project = await one.project()
    tasks = [await one.task(project) for _ in range(2)]
    await one.settle()
    assert _ids(await one.claim(1, cid="c")) == tasks[:1]
    assert _ids(await one.claim(1, cid="c", runner="r2")) == tasks[1:]
    refused = await problem(one.claim(2, cid="c"))
    assert refused.type == "urn:pandar:problem:command-id-reused"


async def test_a_read_model_that_lags_hides_no_work(one: Desk, other: Desk) -> None:
    """Many candidates that are long taken cost a look each, and the next is still found."""
    project = await one.project()
    tasks = [await one.task(project) for _ in range(30)]
    await one.settle()
    assert _ids(await one.claim(25)) == tasks[:25]
    assert _ids(await other.claim(1)) == tasks[25:26]


async def test_a_task_cancelled_before_the_read_model_knows_is_not_given(
    one: Desk, other: Desk
) -> None:
    """The log decides, whatever a cache or a read model says."""
    project = await one.project()
    cancelled, good = await one.task(project), await one.task(project)
    await one.settle()
    await other.ask(OWNER, "task.cancel", target=cancelled)
    assert _ids(await one.claim(2)) == [good]


class Waiting:
    """A claim that waits, and how often it has looked for work."""

    def __init__(self, at: Desk, monkeypatch: pytest.MonkeyPatch, slots: int = 1) -> None:
        self._dispatcher = at.dispatcher
        self.looks = 0
        queue = self._dispatcher._queue
        candidates = queue.candidates

        async def counted(*, limit: int) -> list[int]:
            self.looks += 1
            return await candidates(limit=limit)

        monkeypatch.setattr(queue, "candidates", counted)
        monkeypatch.setattr(dispatcher, "POLL_SEC", 3_600.0)
        self.claim = asyncio.create_task(at.claim(slots, wait_sec=20.0))

    async def begun(self) -> None:
        """Return once it has looked in vain, and waits."""
        await until(lambda: self.looks == 1 and self._dispatcher._changed._waiters)


async def test_new_work_wakes_a_waiting_claim(
    one: Desk, nats_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event on the bus names the task: it is tried without another look at a read model."""
    monkeypatch.setattr(arrivals, "PATIENCE_SEC", PATIENCE_SEC)
    project = await one.project()
    async with connected(nats_url) as bus, asyncio.timeout(PATIENCE_SEC):
        bell, store, database = Bell(NatsWire(bus)), one.log.store, one.log.database
        relay = Relay(
            store=store,
            stream=NatsEventStream(bus),
            told=NatsLive(bus),
            leadership=PgLeadership(database),
            bell=bell,
            clock=one.clock,
            metrics=Metrics(),
            holder="relay",
        )
        arriving = Arrivals(NatsLive(bus), PgProjectReads(database), one.streams, one.dispatcher)
        projector = one.log.projector()
        async with running(relay.run(), arriving.run(), projector.run()):
            await projector.reached(1)
            waiting = Waiting(one, monkeypatch)
            await waiting.begun()
            task = await one.task(project)
            bell.ring(0)
            assert _ids(await waiting.claim) == [task]
    assert waiting.looks == 1


async def test_tasks_that_arrive_together_are_given_together(
    one: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A waiting claim takes what came within a moment, as far as its slots go."""
    project = await one.project()
    await one.settle()
    waiting = Waiting(one, monkeypatch, slots=2)
    await waiting.begun()
    tasks = [await one.task(project) for _ in range(3)]
    monkeypatch.setattr(dispatcher, "GATHER_SEC", 0.0)
    for task in tasks:
        one.dispatcher.work_arrived(task)
    assert _ids(await waiting.claim) == tasks[:2]
    await one.settle()
    assert _ids(await one.claim(2)) == tasks[2:]


async def test_what_arrived_while_nobody_waited_is_given_before_a_read_model_shows_it(
    one: Desk,
) -> None:
    """The next claim tries it, or it would wait for the poll after that."""
    project = await one.project()
    await one.settle()
    tasks = [await one.task(project) for _ in range(3)]
    for task in tasks:
        one.dispatcher.work_arrived(task)
    assert _ids(await one.claim(2)) == tasks[:2]
    await one.settle()
    assert _ids(await one.claim(2)) == tasks[2:]


async def test_what_arrived_is_forgotten_once_a_read_model_must_show_it(
    one: Desk, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its time, and beyond a number, it is the read model that names it."""
    project = await one.project()
    await one.settle()
    tasks = [await one.task(project) for _ in range(3)]
    with monkeypatch.context() as few:
        few.setattr(dispatcher, "CANDIDATES_MAX", 2)
        for task in tasks:
            one.dispatcher.work_arrived(task)
    assert _ids(await one.claim(1)) == tasks[1:2]
    clock.advance(dispatcher.UNSEEN_SEC + 1)
    assert await one.claim(2) == []
    await one.settle()
    assert sorted(_ids(await one.claim(3))) == [tasks[0], tasks[2]]


async def test_only_the_end_of_a_task_with_a_key_may_free_others(one: Desk, nats_url: str) -> None:
    """After it claims look at everything; after the end of any other task they need not."""
    project = await one.project()
    first = await one.task(project, metadata={"concurrency_key": "deploy"})
    plain = await one.task(project)
    second = await one.task(project, metadata={"concurrency_key": "deploy"})
    await one.settle()
    work = await one.claim(3)
    assert sorted(_ids(work)) == [first, plain]
    async with connected(nats_url) as bus, asyncio.timeout(PATIENCE_SEC):
        reads = PgProjectReads(one.log.database)
        arriving = Arrivals(NatsLive(bus), reads, one.streams, one.dispatcher)
        ended = {each.task_id: each for each in work}
        assert not arriving._may_free((await _after_end(one, ended[plain]))[-1])
        assert arriving._may_free((await _after_end(one, ended[first]))[-1])
    assert _ids(await one.claim(1)) == [second]


async def _after_end(at: Desk, work: tell.Assignment) -> list[Recorded]:
    """End an execution; return its task's events."""
    await at.finish(work)
    await at.settle()
    return await at.history(work.task_id)


async def test_a_claim_that_waits_is_answered_when_the_daemon_stops(
    one: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopping keeps nobody waiting; started again, claims wait again."""
    serving = asyncio.create_task(one.dispatcher.run())
    await one.project()
    await one.settle()
    waiting = Waiting(one, monkeypatch)
    await waiting.begun()
    serving.cancel()
    assert await waiting.claim == []
    async with running(one.dispatcher.run()):
        await until(lambda: one.dispatcher._open)
        waiting = Waiting(one, monkeypatch)
        await waiting.begun()
        one.dispatcher.work_arrived()
        await until(lambda: waiting.looks == 2)
        waiting.claim.cancel()


# --- leases ----------------------------------------------------------------------------------


async def test_a_renewal_says_what_became_of_each_lease(one: Desk, other: Desk) -> None:
    """Held, to be cancelled, or lost: of another runner, epoch or execution, or over."""
    work = await _given(one)
    assert await one.renew(work) == [LeaseState.HELD]
    assert await other.renew(work, runner="r2") == [LeaseState.LOST]
    stale = msgspec.structs.replace(work, epoch=work.epoch + 1)
    assert await one.renew(stale) == [LeaseState.LOST]
    foreign = msgspec.structs.replace(work, execution_id=one.clock.new_id())
    assert await one.renew(foreign, work) == [LeaseState.LOST, LeaseState.HELD]
    await other.ask(OWNER, "task.cancel", target=work.task_id)
    assert await one.renew(work) == [LeaseState.CANCEL]
    answer = await one.finish(work, outcome=tell.Outcome.CANCELLED)
    assert answer.status == "cancelled"
    assert await one.renew(work) == [LeaseState.LOST]


@pytest.mark.parametrize(
    ("who", "runner"), [("runner:evil", RUNNER), ("runner:local", "r-another")]
)
async def test_a_lease_is_its_runner_s_alone(one: Desk, who: str, runner: str) -> None:
    """Whoever knows the ids of an execution, but is not its runner, changes nothing."""
    work = await _given(one)
    renew = tell.Renew(leases=[held(work)])
    answer = await one.run("renew", renew, who=who, runner=runner)
    renewed = msgspec.json.decode(answer, type=tell.Renewed)
    assert renewed.leases == {work.execution_id: LeaseState.LOST}
    progress = tell.ReportProgress(
        task_id=work.task_id, execution_id=work.execution_id, epoch=work.epoch, progress=50
    )
    for action, said in (("finish", finished(work)), ("progress", progress)):
        refused = await problem(one.run(action, said, who=who, runner=runner))
        assert refused.status == 409
    assert await one.renew(work) == [LeaseState.HELD]


async def test_a_lease_has_begun_once_it_was_renewed(one: Desk, database_url: str) -> None:
    """Before the first renewal nothing can have been done under it."""
    work = await _given(one)
    administrator = await asyncpg.connect(database_url)
    begun = "SELECT begun FROM leases WHERE task_id = $1"
    assert await administrator.fetchval(begun, work.task_id) is False
    await one.renew(work)
    assert await administrator.fetchval(begun, work.task_id) is True
    await administrator.close()


async def test_an_epoch_that_never_was_is_told_by_its_field(one: Desk) -> None:
    """A number no store holds is refused, not a fault of ours."""
    work = await _given(one)
    for epoch in (2**31, 2**70):
        refused = await problem(one.renew(msgspec.structs.replace(work, epoch=epoch)))
        assert refused.status == 422


async def test_a_cancellation_is_hinted_to_the_runner(
    database_url: str, nats_url: str, clock: ManualClock
) -> None:
    """The runner hears at once what its next renewal would tell it."""
    async with connected(nats_url) as bus, desk(database_url, clock, wire=NatsWire(bus)) as one:
        work = await _given(one)
        async with NatsWire(bus).subscribe(subjects.control("r1", "cancel")) as hints:
            await one.ask(OWNER, "task.cancel", target=work.task_id)
            async with asyncio.timeout(PATIENCE_SEC):
                hint = await anext(hints)
    assert msgspec.json.decode(hint.body) == {
        "task_id": work.task_id,
        "execution_id": str(work.execution_id),
    }


async def test_the_end_is_reported_once_and_repeated_for_ever(one: Desk, other: Desk) -> None:
    """The same report again gets the first answer, though the execution is over."""
    work = await _given(one)
    first = await one.finish(work, cid="end", output_tail="bye")
    assert first.status == "completed"
    assert await one.finish(work, cid="end", output_tail="bye") == first
    assert await other.finish(work, cid="end", output_tail="bye") == first
    assert (await one.told(work.task_id)).count("task.completed") == 1


async def test_what_comes_from_an_execution_that_is_over_is_kept_apart(
    one: Desk, other: Desk, database_url: str
) -> None:
    """It is refused, changes nothing, and lies in `rejected` with everything that was said."""
    work = await _given(one)
    await one.finish(work)
    before = (await one.log.store.head()).position
    refused = await problem(other.finish(work, cid="late", error="so there"))
    assert (refused.status, refused.state) == (409, "completed")
    progress = tell.ReportProgress(
        task_id=work.task_id, execution_id=work.execution_id, epoch=work.epoch, progress=50
    )
    assert (await problem(one.run("progress", progress, cid="slow"))).status == 409
    assert (await one.log.store.head()).position == before
    administrator = await asyncpg.connect(database_url)
    rows = await administrator.fetch("SELECT * FROM rejected ORDER BY id")
    await administrator.close()
    assert [(row["command_id"], row["actor"], row["stream"]) for row in rows] == [
        ("late", "runner:local", task_stream(work.task_id)),
        ("slow", "runner:local", task_stream(work.task_id)),
    ]
    assert msgspec.json.decode(rows[0]["body"])["error"] == "so there"
    assert str(work.execution_id) in rows[0]["reason"]


async def test_a_blocked_attempt_is_recorded_while_it_runs(one: Desk, other: Desk) -> None:
    """By its own runner, once however often that says it; not when the execution is over."""
    work = await _given(one)
    blocked = tell.ReportBlocked(
        task_id=work.task_id,
        execution_id=work.execution_id,
        epoch=work.epoch,
        host="evil.test",
        port=443,
        reason="not among the hosts",
    )
    for desk_ in (one, other):
        await desk_.run("blocked", blocked, cid="blocked")
    recorded = (await one.history(work.task_id))[-1]
    assert recorded.type == "task.egress_blocked"
    told = msgspec.json.decode(recorded.data)
    assert (told["host"], told["port"], told["reason"]) == ("evil.test", 443, "not among the hosts")
    assert (await one.told(work.task_id)).count("task.egress_blocked") == 1
    stale = msgspec.structs.replace(blocked, epoch=work.epoch - 1)
    assert (await problem(one.run("blocked", stale))).status == 409
    await one.finish(work)
    assert (await problem(one.run("blocked", blocked))).status == 409
    assert (await one.told(work.task_id)).count("task.egress_blocked") == 1


async def test_a_retry_waits_for_its_time(one: Desk, clock: ManualClock) -> None:
    """A failed attempt is given again after its pause and not before."""
    work = await _given(one, {"max_retries": 1})
    answer = await one.finish(work, outcome=tell.Outcome.FAILED, exit_code=1)
    assert answer.status == "pending"
    await one.settle()
    clock.advance(9.9)
    assert await one.claim() == []
    clock.advance(0.1)
    again = (await one.claim())[0]
    assert (again.task_id, again.attempt) == (work.task_id, 2)
    assert again.epoch > work.epoch


async def test_without_the_database_runners_are_told_to_ask_again(
    one: Desk, servers: TestServers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Claims, renewals and reports are a 503 meanwhile; repeated later, they are as before."""
    monkeypatch.setattr(lane, "RETRY_SEC", 0.0)
    work = await _given(one)
    await servers.kill_postgres()
    for asked in (one.claim(cid="c"), one.renew(work), one.finish(work, cid="f")):
        refused = await problem(asked)
        assert refused.status == 503
        assert refused.detail.startswith("the database is away")
    await servers.start_postgres()
    assert await one.renew(work) == [LeaseState.HELD]
    assert (await one.finish(work, cid="f")).status == "completed"
    assert await one.claim(cid="c") == []
