"""A policy tried on a real log: as a service, and from the command line."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from events.calls import ToolCall, Verdict
from events.ids import task_stream
from events.task import CallDecided, Event, Json, TaskCreated, TaskUpdated
from pandar_daemon.configuration import Configuration, parse
from pandar_daemon.domain.replaying import Totals, Tried, totals
from pandar_daemon.services import policy_trial
from pandar_daemon.services.policy_trial import PolicyTrial
from tests.support.calls import command
from tests.support.daemon import Roles
from tests.support.log import Log, open_log

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]

EXECUTION, CONFIRMATION = UUID(int=1), UUID(int=2)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
CWD = "/data/workspaces/task-1"


def filed(task_id: int, metadata: Json | None = None, *, project_id: int = 1) -> Event:
    """Return the beginning of a task."""
    return TaskCreated(
        task_id=task_id,
        project_id=project_id,
        name="t",
        command="",
        created_by="ann",
        metadata=metadata or {},
    )


def decided(
    what: ToolCall | str, verdict: Verdict, rule: str, *gates: str, asked: bool = False
) -> CallDecided:
    """Return what was done about a call."""
    call = command(what, cwd=CWD) if isinstance(what, str) else what
    return CallDecided(
        execution_id=EXECUTION,
        call=call,
        call_sha256=call.sha256,
        verdict=verdict,
        rule=rule,
        gates=list(gates),
        confirmation_id=CONFIRMATION if asked else None,
    )


ASKED = f"confirmation.{CONFIRMATION}"
HISTORY: list[Event] = [
    filed(1, {"gates": ["git_push_protected"]}),
    decided("pytest -q", Verdict.ALLOW, "policy.auto_with_gates"),
    decided("git push origin x", Verdict.ALLOW, ASKED, "git_push_protected", asked=True),
    decided("git push origin x", Verdict.ALLOW, f"allowance.{CONFIRMATION}", "git_push_protected"),
    decided("cat .env", Verdict.ALLOW, "policy.auto_with_gates", "secrets_access"),
    decided("./x.sh", Verdict.DENY, ASKED, "unclassified", asked=True),
    decided("kubectl delete pod x", Verdict.DENY, "deny.production", "production"),
    decided("touch /data/homes/task-1/x", Verdict.ALLOW, "policy.auto_with_gates"),
]


@asynccontextmanager
async def history(database_url: str) -> AsyncIterator[Log]:
    """Yield a log in which a task of project 1 made calls, and one of project 2 made one."""
    async with open_log(database_url) as log:
        for event in HISTORY:
            await log.add(task_stream(1), event)
        other = [filed(2, project_id=2), decided("git push", Verdict.ALLOW, "policy.auto")]
        await log.add(task_stream(2), *other, project_id=2)
        yield log


async def tried(log: Log, content: str, project_id: int | None = 1) -> list[Tried]:
    """Return every call of a project, judged by what a file says."""
    trial = PolicyTrial(log.store, parse(content.encode(), "x.toml"))
    return [call async for call in trial.calls(LONG_AGO, project_id)]


def now(calls: list[Tried]) -> list[tuple[str, str, str]]:
    """Return what was done about each call, what would be, and by which rule."""
    return [(str(call.then), str(call.now), call.now_rule) for call in calls]


async def test_without_anything_stated_it_is_as_it_was(database_url: str) -> None:
    """An empty file leaves policy and gates to each task; only what it denied is gone."""
    async with history(database_url) as log:
        assert now(await tried(log, "")) == [
            ("allow", "allow", "policy.auto_with_gates"),
            ("ask", "ask", "git_push_protected.push"),
            ("allow", "allow", f"allowance.{CONFIRMATION}"),
            ("allow", "allow", "policy.auto_with_gates"),
            ("ask", "ask", "unclassified.script"),
            ("deny", "allow", "policy.auto_with_gates"),
            ("allow", "allow", "policy.auto_with_gates"),
        ]


async def test_other_gates(database_url: str) -> None:
    """What the file states replaces what the task stated: one prompt saved, one new."""
    async with history(database_url) as log:
        calls = await tried(log, 'gates = ["secrets_access"]')
    assert [(call.what, call.now) for call in calls if call.changed] == [
        ("git push origin x", Verdict.ALLOW),
        ("cat .env", Verdict.ASK),
        ("kubectl delete pod x", Verdict.ALLOW),
    ]
    assert totals(calls) == Totals(
        calls=7,
        then={Verdict.ALLOW: 4, Verdict.ASK: 2, Verdict.DENY: 1},
        now={Verdict.ALLOW: 5, Verdict.ASK: 2, Verdict.DENY: 0},
        prompts_saved=1,
        newly_asked=1,
    )


async def test_another_policy(database_url: str) -> None:
    """Under `manual` every call is asked about but what consent covered; `auto` asks nothing."""
    deny = '\n[deny.clusters]\nmatch = {commands = ["kubectl delete *"]}'
    async with history(database_url) as log:
        manual = await tried(log, 'policy = "manual"' + deny)
        auto = await tried(log, 'policy = "auto"' + deny)
    assert [str(c.now) for c in manual] == ["ask", "ask", "allow", "ask", "ask", "deny", "ask"]
    assert [str(c.now) for c in auto] == ["allow"] * 5 + ["deny", "allow"]
    assert totals(auto).prompts_saved == 2


async def test_consent_covers_no_more_than_it_did(database_url: str) -> None:
    """A call that consent let pass is asked about where it would stop at another gate."""
    rule = f"allowance.{CONFIRMATION}"
    async with open_log(database_url) as log:
        pushed = decided("cat .env && git push", Verdict.ALLOW, rule, "git_push_protected")
        await log.add(task_stream(1), filed(1), pushed)
        (call,) = await tried(log, "")
    assert (call.then, call.now) == (Verdict.ALLOW, Verdict.ASK)


async def test_projects_are_kept_apart(database_url: str) -> None:
    """Calls of one project or of all; each by the gates of its own project."""
    own = '[projects.2.gates.mine]\nmatch = {commands = ["git push"]}'
    async with history(database_url) as log:
        (call,) = await tried(log, own, 2)
        everything = await tried(log, own, None)
    assert (call.task_id, call.project_id) == (2, 2)
    assert call.gates == ["git_push_protected", "mine"]
    assert len(everything) == 8
    assert "mine" not in {gate for one in everything[:-1] for gate in one.gates}


async def test_a_tasks_last_metadata_counts(database_url: str) -> None:
    """What a task stated last is what it states."""
    async with open_log(database_url) as log:
        events = [
            filed(1, {"approval_policy": "auto"}),
            TaskUpdated(name="other"),
            TaskUpdated(metadata={"approval_policy": "manual"}),
            decided("ls", Verdict.ALLOW, "policy.auto"),
        ]
        await log.add(task_stream(1), *events)
        (call,) = await tried(log, "")
    assert (call.now, call.now_rule) == (Verdict.ASK, "policy.manual")


async def test_only_what_is_young_enough(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first call that is young enough is found, wherever it stands, in batches of any size."""
    monkeypatch.setattr(policy_trial, "BATCH", 3)
    start = datetime(2026, 1, 1, tzinfo=UTC)
    async with open_log(database_url) as log:
        for n in range(10):
            await log.add(task_stream(1), decided(f"echo {n}", Verdict.ALLOW, "policy.auto"))
        admin = await asyncpg.connect(database_url)
        await admin.execute(
            "UPDATE events SET recorded_at = $1::timestamptz + position * interval '1 day'", start
        )
        await admin.close()
        trial = PolicyTrial(log.store, Configuration())
        for days in range(13):
            since = start + timedelta(days=days)
            found = [call.position async for call in trial.calls(since)]
            assert found == list(range(max(days, 1), 11))


async def test_from_the_command_line(database_url: str, nats_url: str, tmp_path: Path) -> None:
    """It shows what changes, then and now, with the sums; as JSON all of it on request."""
    async with history(database_url):
        pass
    roles = Roles(tmp_path, database_url, nats_url)
    file = tmp_path / "new.toml"
    file.write_text('policy = "auto_with_gates"\ngates = ["secrets_access"]\n')
    code, printed = await roles.run("policy", "try", str(file), "--project", "1")
    assert code == 0, printed
    lines = [line.split() for line in printed.splitlines()]
    assert ["1", "cat", ".env", "allow", "ask", "secrets_access.file"] in lines
    assert ["now", "5", "2", "0"] in lines
    assert "prompts saved: 1, newly asked: 1, newly denied: 0" in printed
    assert "4 calls as before" in printed

    code, printed = await roles.run("policy", "try", str(file), "--json", "--all")
    found = json.loads(printed)
    assert (code, len(found["calls"]), found["totals"]["calls"]) == (0, 8, 8)

    file.write_text("gatse = []\n")
    code, printed = await roles.run("policy", "try", str(file))
    assert (code, "gatse: is not known here" in printed) == (2, True)
    code, printed = await roles.run("policy", "try", str(tmp_path / "none.toml"))
    assert (code, "there is no such file" in printed) == (2, True)
