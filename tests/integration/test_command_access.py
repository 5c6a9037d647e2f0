"""Who may send which command, as the log stands; the same at every door."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from events import commands as do
from events import subjects
from events.project import MemberRole
from pandar_daemon.domain.access import ACTION_PERMISSION
from tests.support.clock import ManualClock
from tests.support.desk import OWNER, Desk, desk, filing, finished, problem

ADMIN = "admin:root"


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


async def _let_in(at: Desk, project: int, user: str, role: MemberRole) -> None:
    await at.ask(OWNER, "project.add_member", do.AddMember(user=user, role=role), target=project)


async def test_what_one_may_not_know_of_is_not_there(one: Desk) -> None:
    """A stranger is told of a task or project exactly what is told of one that never was."""
    project = await one.project()
    task = await one.task(project)
    for action, there, absent in (
        ("task.start", task, 9_999),
        ("task.cancel", task, 9_999),
        ("project.remove_member", project, 9_999),
    ):
        body = do.RemoveMember(user="x") if action.startswith("project") else b"{}"
        seen = await problem(one.ask("user:eve", action, body, target=there))
        unseen = await problem(one.ask("user:eve", action, body, target=absent))
        assert seen.status == unseen.status == 404
        assert seen.detail.replace(str(there), "N") == unseen.detail.replace("9999", "N")
    filed = await problem(one.ask("user:eve", "task.create", filing(project)))
    never = await problem(one.ask("user:eve", "task.create", filing(9_999)))
    assert filed.detail == f"there is no project {project}"
    assert never.detail == "there is no project 9999"


@pytest.mark.parametrize(
    ("role", "action", "permission"),
    [
        (MemberRole.VIEWER, "task.create", "task:write"),
        (MemberRole.VIEWER, "task.update", "task:write"),
        (MemberRole.VIEWER, "task.start", "task:execute"),
        (MemberRole.VIEWER, "task.delete", "task:delete"),
        (MemberRole.MEMBER, "task.confirm", "task:manage"),
        (MemberRole.MEMBER, "project.update", "project:write"),
        (MemberRole.MEMBER, "project.add_member", "project:manage"),
        (MemberRole.MANAGER, "task.lose", "system:run"),
        (MemberRole.MANAGER, "task.expire", "system:run"),
    ],
)
async def test_what_one_may_see_but_not_do_names_the_permission(
    one: Desk, role: MemberRole, action: str, permission: str
) -> None:
    """A member of each role is told which permission their role lacks."""
    project = await one.project()
    task = await one.task(project)
    await _let_in(one, project, "bob", role)
    bodies: dict[str, do.Command] = {
        "task.create": filing(project),
        "project.add_member": do.AddMember(user="x"),
        "task.expire": do.ExpireConfirmation(confirmation_id=one.clock.new_id()),
        "task.lose": do.LoseExecution(
            execution_id=one.clock.new_id(),
            epoch=1,
            begun=True,
            confirmation_id=one.clock.new_id(),
            expires_at=one.clock.now(),
        ),
    }
    target = None if action == "task.create" else task
    target = project if action.startswith("project.") else target
    refused = await problem(one.ask("user:bob", action, bodies.get(action, b"{}"), target=target))
    assert (refused.status, refused.detail) == (403, f"this needs the permission {permission}")
    assert ACTION_PERMISSION[action] == permission


@pytest.mark.parametrize(
    ("role", "action"),
    [
        (MemberRole.MEMBER, "task.cancel"),
        (MemberRole.MANAGER, "task.update"),
        (MemberRole.MANAGER, "task.delete"),
    ],
)
async def test_a_member_does_what_their_role_allows(
    one: Desk, role: MemberRole, action: str
) -> None:
    """Each role in a project is good for something."""
    project = await one.project()
    task = await one.task(project)
    await _let_in(one, project, "bob", role)
    assert (await one.ask("user:bob", action, target=task)).id == task


async def test_a_token_is_a_ceiling(one: Desk) -> None:
    """An owner with a viewer's token only looks; an administrator needs no role anywhere."""
    project = await one.project()
    task = await one.task(project)
    refused = await problem(one.ask("viewer:ann", "task.cancel", target=task))
    assert (refused.status, refused.detail) == (403, "this needs the permission task:execute")
    refused = await problem(one.ask("viewer:ann", "project.create", do.CreateProject(name="p")))
    assert (refused.status, refused.detail) == (403, "this needs the permission project:write")
    assert (await one.ask(ADMIN, "task.cancel", target=task)).status == "cancelled"


async def test_a_runner_and_a_person_do_not_do_each_others_work(one: Desk) -> None:
    """A runner's token opens no command of people, a person's none of a runner."""
    project = await one.project()
    task = await one.task(project)
    await one.settle()
    work = (await one.claim())[0]
    assert (await problem(one.ask("runner:r", "task.cancel", target=task))).status == 404
    body = b'{"leases":[]}'
    for who in (OWNER, ADMIN, "viewer:vic"):
        headers = {"Pandar-Token": one.token(who)}
        for action in ("renew", "claim"):
            refused = await problem(one.handle(subjects.run(action, "r"), body, headers))
            assert refused.status in {403, 422}
        refused = await problem(
            one.handle(subjects.run("finish", "r"), msgspec.json.encode(finished(work)), headers)
        )
        assert (refused.status, refused.detail) == (403, "this needs the permission runner:run")


async def test_who_was_let_in_elsewhere_is_in_at_once(one: Desk, other: Desk) -> None:
    """A process that still remembers somebody as a stranger looks again before it says so."""
    project = await one.project()
    task = await one.task(project)
    assert (await problem(one.ask("user:bob", "task.cancel", target=task))).status == 404
    await _let_in(other, project, "bob", MemberRole.VIEWER)
    assert (await problem(one.ask("user:bob", "task.cancel", target=task))).status == 403
    await _let_in(other, project, "bob", MemberRole.MEMBER)
    assert (await one.ask("user:bob", "task.create", filing(project))).status == "pending"
    assert (await one.ask("user:bob", "task.cancel", target=task)).status == "cancelled"


async def test_who_was_removed_elsewhere_is_out_within_a_second(
    one: Desk, other: Desk, clock: ManualClock
) -> None:
    """A remembered membership counts for a second and no longer; here it counts for nothing."""
    project = await one.project()
    task = await one.task(project)
    await _let_in(one, project, "bob", MemberRole.MEMBER)
    await other.ask("user:bob", "task.update", do.UpdateTask(name="a"), target=task)
    await one.ask(OWNER, "project.remove_member", do.RemoveMember(user="bob"), target=project)
    clock.advance(1.01)
    for at in (one, other):
        assert (await problem(at.ask("user:bob", "task.start", target=task))).status == 404


async def test_a_stale_manager_changes_nothing(one: Desk, other: Desk) -> None:
    """Acts on the project itself are judged by its version: no grace of a second there."""
    project = await one.project()
    await _let_in(one, project, "bob", MemberRole.MANAGER)
    rename = do.UpdateProject(name="bob's")
    await other.ask("user:bob", "project.update", rename, target=project)
    await one.ask(OWNER, "project.remove_member", do.RemoveMember(user="bob"), target=project)
    add = do.AddMember(user="eve")
    assert (
        await problem(other.ask("user:bob", "project.add_member", add, target=project))
    ).status == 404


async def test_the_project_in_the_subject_must_be_the_right_one(one: Desk) -> None:
    """A bus account that is granted one project's subjects reaches no other project with them."""
    mine, theirs = await one.project(), await one.project()
    task = await one.task(theirs)
    refused = await problem(one.ask(OWNER, "task.cancel", project=mine, target=task))
    assert refused.status == 404
    rename = do.UpdateProject(name="x")
    refused = await problem(one.ask(OWNER, "project.update", rename, project=mine, target=theirs))
    assert refused.status == 404
    refused = await problem(one.ask(OWNER, "task.create", filing(theirs), project=mine))
    assert [error.field for error in refused.errors] == ["project_id"]
    assert (await one.ask(OWNER, "task.cancel", project=theirs, target=task)).status == "cancelled"


async def test_nobody_takes_the_ids_of_pandar_itself(one: Desk) -> None:
    """A command id that a service will use can be spent by no one else, whatever their role."""
    task = await one.task(await one.project())
    for who in (OWNER, ADMIN):
        refused = await problem(one.ask(who, "task.cancel", target=task, cid="system-due-1-1"))
        assert refused.status == 400
    started = await one.ask("system:scheduler", "task.start", target=task, cid="system-due-1-1")
    assert started.status == "pending"
