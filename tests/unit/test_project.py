"""Every rule about a project and its members, by example."""

from __future__ import annotations

from events import commands as do
from events import project as did
from events import task
from events.project import MemberRole
from pandar_daemon.domain.project import evolve
from pandar_daemon.domain.refusals import NotFound, Rejected
from tests.support.given import PROJECT_ID, USER, given_project

MADE: list[did.ProjectEvent] = [
    did.ProjectCreated(project_id=PROJECT_ID, name="site", owner=USER, git_url="https://g/site")
]
JOINED: list[did.ProjectEvent] = [*MADE, did.MemberAdded(user="bob", role=MemberRole.MEMBER)]


def test_who_makes_it_owns_it() -> None:
    """The owner is who asks."""
    given_project([]).when(do.CreateProject(name="site", git_url="https://g/site")).then(MADE)


def test_it_is_made_once() -> None:
    """The same stream is no second project."""
    given_project(MADE).when(do.CreateProject(name="site")).refuses(
        Rejected, f"project {PROJECT_ID} exists already"
    )


def test_what_is_not_there_is_not_found() -> None:
    """Every other command on a project nobody made is a 404."""
    for command in (
        do.UpdateProject(name="x"),
        do.AddMember(user="bob"),
        do.RemoveMember(user="bob"),
    ):
        given_project([]).when(command).refuses(NotFound, f"there is no project {PROJECT_ID}")


def test_update_says_what_changed_only() -> None:
    """Fields that stay as they are are not in the event, and no change is no event."""
    given_project(MADE).when(do.UpdateProject(name="site", description="all of it")).then(
        [did.ProjectUpdated(description="all of it")]
    )
    given_project(MADE).when(do.UpdateProject(name="site")).then_nothing()
    given_project(MADE).when(do.UpdateProject()).then_nothing()


def test_update_keeps_the_rest() -> None:
    """What an update does not name stays as it was."""
    project = given_project([*JOINED, did.ProjectUpdated(name="home")]).project
    assert (project.name, project.git_url, project.owner) == ("home", "https://g/site", USER)
    assert project.members == {"bob": MemberRole.MEMBER}


def test_a_member_joins() -> None:
    """Somebody joins, and joining again in the same role is silent."""
    given_project(MADE).when(do.AddMember(user="bob")).then(JOINED[1:])
    given_project(JOINED).when(do.AddMember(user="bob")).then_nothing()


def test_a_member_changes_role() -> None:
    """Joining in another role changes it."""
    promoted = did.MemberAdded(user="bob", role=MemberRole.MANAGER)
    given_project(JOINED).when(do.AddMember(user="bob", role=MemberRole.MANAGER)).then([promoted])
    assert given_project([*JOINED, promoted]).project.role_of("bob") == "manager"


def test_the_owner_is_no_member() -> None:
    """An owner cannot be made less than what they are."""
    given_project(MADE).when(do.AddMember(user=USER, role=MemberRole.VIEWER)).refuses(
        Rejected, "the owner of a project may do everything and is no member of it"
    )


def test_a_member_leaves() -> None:
    """Somebody leaves; who does not belong has nothing to leave."""
    left = did.MemberRemoved(user="bob")
    given_project(JOINED).when(do.RemoveMember(user="bob")).then([left])
    given_project([*JOINED, left]).when(do.RemoveMember(user="bob")).then_nothing()
    given_project(MADE).when(do.RemoveMember(user=USER)).then_nothing()


def test_roles() -> None:
    """Everybody has exactly one role, strangers and the nameless have none."""
    project = given_project(JOINED).project
    assert [project.role_of(user) for user in (USER, "bob", "eve", "")] == [
        "owner",
        "member",
        None,
        None,
    ]
    assert given_project([]).project.role_of("") is None


def test_an_event_of_another_kind_changes_nothing() -> None:
    """The state accepts whatever a stream holds, also what no rule knows."""
    project = given_project(JOINED).project
    assert evolve(project, task.StartRequested()) == project
