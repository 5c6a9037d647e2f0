"""Usage and cost, from executions that ended to the answers of the API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from events import task as did
from events.running import Outcome
from events.task import Usage
from pandar_daemon.adapters.http.usage import TaskUsage, UsageSums
from pandar_daemon.adapters.postgres.pool import pool
from pandar_daemon.adapters.postgres.usage_reads import PgUsageReads
from pandar_daemon.domain.refusals import Unavailable
from pandar_daemon.ports import UsageBy, UsageFilter
from projections.usage import USAGE
from tests.support.api import Api, Person, running_api
from tests.support.descriptions import keys
from tests.support.lives import created, random_lives
from tests.support.log import assert_folded
from tests.support.reading import Scene, scene
from tests.support.recorded_api import Ran, pandar

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]

Json = Any
DEAR = Usage(
    cpu_sec=1.5, input_tokens=2_000, output_tokens=100, cached_tokens=400, cost_usd=0.123456
)
CHEAP = Usage(cpu_sec=0.25, input_tokens=10, output_tokens=1, thought_tokens=3, cost_usd=0.01)
UNPRICED = Usage(input_tokens=5_000, output_tokens=50)
NOTHING = {
    "executions": 0,
    "unpriced_executions": 0,
    "cpu_sec": 0.0,
    "input_tokens": 0,
    "output_tokens": 0,
    "cached_tokens": 0,
    "thought_tokens": 0,
    "cost_usd": 0.0,
}


def completed(task_id: int, usage: Usage, agent: str | None) -> did.TaskCompleted:
    """Return the end of a task's only execution."""
    return did.TaskCompleted(
        execution_id=execution(task_id),
        exit_code=0,
        output_tail="",
        duration_sec=1.0,
        usage=usage,
        agent=agent,
    )


def execution(task_id: int) -> UUID:
    """Return the id of a task's only execution."""
    return UUID(f"0195512a-7c00-7000-8000-{task_id:012x}")


async def ran(
    given: Scene, task_id: int, usage: Usage, agent: str | None, *, project_id: int = 1
) -> None:
    """Let a task have run."""
    start = did.TaskStarted(
        execution_id=execution(task_id), attempt=1, epoch=1, runner_id="r1", agent=agent
    )
    await given.add(
        task_id,
        created(task_id, project_id=project_id),
        start,
        completed(task_id, usage, agent),
        project_id=project_id,
    )


async def three(given: Scene) -> PgUsageReads:
    """Let three tasks have run; return who reads what they consumed."""
    await ran(given, 1, CHEAP, "claude")
    await ran(given, 2, DEAR, "claude", project_id=2)
    await ran(given, 3, Usage(cpu_sec=9.0), None)
    await given.project()
    return PgUsageReads(given.log.database)


# --- reading ---------------------------------------------------------------------------------


async def test_what_is_served_is_what_folding_gives(database_url: str) -> None:
    """After random legal histories both tables are those the log tells of."""
    async with scene(database_url) as given:
        given.position = await given.log.add_lives(random_lives(5, 20, steps=25))
        await given.project()
        await assert_folded(given.log, USAGE)


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        (UsageBy.AGENT, [{"agent": "claude"}, {"agent": ""}]),
        (UsageBy.PROJECT, [{"project_id": 2}, {"project_id": 1}]),
        (UsageBy.TASK, [{"task_id": 2}, {"task_id": 1}, {"task_id": 3}]),
    ],
)
async def test_the_dearest_comes_first(by: UsageBy, keys: list[Json], database_url: str) -> None:
    """Whatever it is summed by: what costs the most, then the most tokens, then the most time."""
    async with scene(database_url) as given:
        reads = await three(given)
        found = await reads.sums(UsageFilter(by=by))
        (name,) = keys[0]
        assert [{name: item[name]} for item in found["items"]] == keys
        assert sum(item["executions"] for item in found["items"]) == 3
        assert found["has_more"] is False


@pytest.mark.parametrize("by", list(UsageBy))
async def test_the_total_is_of_all(by: UsageBy, database_url: str) -> None:
    """Also where only some sums are shown; nothing is lost in rounding."""
    async with scene(database_url) as given:
        reads = await three(given)
        found = await reads.sums(UsageFilter(by=by, limit=1))
        assert len(found["items"]) == 1
        assert found["has_more"] is (by is not UsageBy.DAY)
        assert found["total"] == {
            "executions": 3,
            "unpriced_executions": 0,
            "cpu_sec": 10.75,
            "input_tokens": 2_010,
            "output_tokens": 101,
            "cached_tokens": 400,
            "thought_tokens": 3,
            "cost_usd": 0.133456,
        }


FILTERS: list[tuple[Json, int]] = [
    ({}, 3),
    ({"agent": "claude"}, 2),
    ({"agent": ""}, 1),
    ({"agent": "codex"}, 0),
    ({"projects": frozenset({2})}, 1),
    ({"projects": frozenset()}, 0),
    ({"first": date(2020, 1, 1), "last": date(9999, 1, 1)}, 3),
    ({"last": date(2020, 1, 1)}, 0),
    ({"first": date(9999, 1, 1)}, 0),
]
"""What is asked for, and how many executions that are of the three."""


async def test_filters(database_url: str) -> None:
    """Every filter holds for every way to sum."""
    async with scene(database_url) as given:
        reads = await three(given)
        for by, (asked, executions) in product(UsageBy, FILTERS):
            found = await reads.sums(UsageFilter(by=by, **asked))
            counts = [item["executions"] for item in found["items"]]
            assert sum(counts) == found["total"]["executions"] == executions, (by, asked)
            assert executions or (counts, found["total"]) == ([], NOTHING)


async def test_a_task_by_itself(database_url: str) -> None:
    """The sum of its executions, and nothing for one that has none."""
    async with scene(database_url) as given:
        reads = await three(given)
        assert (await reads.of_task(2))["cost_usd"] == 0.123456
        assert await reads.of_task(99) == NOTHING


async def test_without_a_database_it_is_unavailable(database_url: str) -> None:
    """An outage is a 503, whatever asyncpg calls it."""
    async with pool(database_url) as database:
        pass
    with pytest.raises(Unavailable):
        await PgUsageReads(database).sums(UsageFilter())


# --- over HTTP -------------------------------------------------------------------------------


@pytest.fixture
async def api(database_url: str, nats_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """Return a running API without a runner."""
    async with running_api(database_url, nats_url, tmp_path) as running:
        yield running


async def run(api: Api, person: Person, project: int, *ends: Usage, agent: str = "demo") -> int:
    """File a task for an agent, and let it end after as many executions as there are usages."""
    metadata = {"agent": agent, "max_retries": len(ends) - 1}
    body = {"command": None, "prompt": "tidy up", "metadata": metadata, "auto_start": True}
    task = await person.task(project, **body)
    for usage in ends[:-1]:
        work = await api.claim()
        until = datetime.now(UTC)
        await api.finish(work, outcome=Outcome.PAUSED, exit_code=None, usage=usage, until=until)
    await api.finish(await api.claim(), usage=ends[-1])
    await api.settle(person)
    return task


def as_described(body: Json, shape: type) -> bool:
    """Return whether an answer has every field of its shape, of the right type, and no other."""
    return keys(msgspec.to_builtins(msgspec.convert(body, shape))) == keys(body)


async def test_usage_over_http(api: Api) -> None:
    """What runners told comes back by day and by task, with what has no price told apart."""
    person = api.person()
    project = await person.project()
    task = await run(api, person, project, DEAR, UNPRICED)
    found = await person.get("/usage")
    assert as_described(found, UsageSums)
    (day,) = found["items"]
    assert abs(date.fromisoformat(day.pop("day")) - datetime.now(UTC).date()).days <= 1
    assert day == found["total"]
    assert (day["executions"], day["unpriced_executions"]) == (2, 1)
    assert (day["input_tokens"], day["cost_usd"], day["cpu_sec"]) == (7_000, 0.123456, 1.5)
    (of_task,) = (await person.get("/usage?by=task"))["items"]
    assert of_task == {"task_id": task, **found["total"]}
    (of_agent,) = (await person.get("/usage?by=agent&agent=demo"))["items"]
    assert of_agent == {"agent": "demo", **found["total"]}


async def test_the_usage_of_a_task(api: Api) -> None:
    """Each execution as its agent told it, ``null`` for what it did not, and all together."""
    person = api.person()
    task = await run(api, person, await person.project(), DEAR, UNPRICED)
    found = await person.get(f"/tasks/{task}/usage")
    assert as_described(found, TaskUsage)
    first, second = found["items"]
    assert (first["attempt"], first["agent"], first["status"]) == (1, "demo", "paused")
    assert (first["cost_usd"], first["thought_tokens"]) == (0.123456, None)
    assert (second["attempt"], second["status"], second["cost_usd"]) == (2, "completed", None)
    assert found["total"]["input_tokens"] == 7_000
    assert found["total"] == (await person.get("/usage"))["total"]


async def test_what_runs_is_shown_and_not_yet_counted(api: Api) -> None:
    """Of an execution that goes on nothing is known."""
    person = api.person()
    task = await person.task(await person.project(), auto_start=True)
    await api.claim()
    await api.settle(person)
    found = await person.get(f"/tasks/{task}/usage")
    (live,) = found["items"]
    assert (live["status"], live["cpu_sec"], live["agent"]) == ("running", None, None)
    assert found["total"] == NOTHING


async def test_only_what_may_be_read_is_summed(api: Api) -> None:
    """Another's project is in no sum, and its task is not there."""
    ann, bob = api.person("1"), api.person("2")
    task = await run(api, ann, await ann.project(), DEAR)
    mine = await run(api, bob, await bob.project(), CHEAP)
    await api.settle(ann)
    assert (await ann.get("/usage"))["total"]["cost_usd"] == 0.123456
    (of_bob,) = (await bob.get("/usage?by=task"))["items"]
    assert of_bob["task_id"] == mine
    await bob.refused("GET", f"/tasks/{task}/usage", 404)
    await bob.refused("GET", "/usage?project_id=1", 404)
    everything = await api.person("9", "admin").get("/usage")
    assert everything["total"]["cost_usd"] == 0.133456


async def test_days_include_both_ends(api: Api) -> None:
    """Today is in a range that begins or ends today, and not in one before."""
    person = api.person()
    await run(api, person, await person.project(), CHEAP)
    (item,) = (await person.get("/usage"))["items"]
    day = date.fromisoformat(item["day"])
    before = day - timedelta(days=1)
    for asked, executions in (
        (f"from={day}&to={day}", 1),
        (f"from={before}", 1),
        (f"to={before}", 0),
        (f"from={before}&to={before}", 0),
    ):
        for by in UsageBy:
            found = await person.get(f"/usage?by={by}&{asked}")
            assert found["total"]["executions"] == executions, (by, asked)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ("by=week", "by"),
        ("from=yesterday", "from"),
        ("from=2026-01-02T00:00:00Z", "from"),
        ("from=2026-01-02&to=2026-01-01", "to"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("project_id=x", "project_id"),
        ("since=30d", "since"),
    ],
)
async def test_what_cannot_be_asked(api: Api, asked: str, field: str) -> None:
    """The parameter at fault is named."""
    problem = await api.person().refused("GET", f"/usage?{asked}", 422)
    assert problem["errors"][0]["field"] == field


# --- by the command line ---------------------------------------------------------------------


async def test_the_command_line_sums_it_up(api: Api) -> None:
    """The table for people, the API's answer for programs, and a line on the task's card."""
    person = api.person()
    task = await run(api, person, await person.project(), DEAR, UNPRICED)
    way = {"PANDAR_URL": api.base_url, "PANDAR_TOKEN": person.token}
    by_task = await pandar(None, "usage", "--by", "task", "--since", "1d", **way)
    assert by_task == Ran(
        0,
        "TASK  RUNS    CPU     IN  CACHED  OUT    USD\n"
        f"{task}        2  1.5 s  7,000     400  150  0.12+\n"
        "1 run used tokens and nobody told what these cost\n",
        "",
    )
    found = await pandar(None, "usage", "--by", "agent", "--agent", "demo", "--json", **way)
    assert json.loads(found.out) == await person.get("/usage?by=agent&agent=demo")
    none = await pandar(None, "usage", "--agent", "", "--project", "1", **way)
    assert none.out.startswith("Nothing has ended since 20")
    card = await pandar(None, "task", "show", str(task), **way)
    assert "used       tokens 7,000 in, 400 cached, 150 out; at least 0.12 USD\n" in card.out
