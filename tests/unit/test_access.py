"""Who may do what: the matrix here is the reference page."""

from __future__ import annotations

from typing import Final

import pytest

from events.commands import ACTIONS
from events.project import MemberRole
from events.running import RUNNER_ACTIONS
from pandar_daemon.domain.access import (
    ACTION_PERMISSION,
    Permission,
    Principal,
    ProjectRole,
    Role,
    may,
    require,
    require_action,
)
from pandar_daemon.domain.refusals import Forbidden, NotFound

# One letter a project role: (o)wner, (m)anager, me(b)er, (v)iewer, (n)one of them.
LETTERS: Final = {"o": "owner", "m": "manager", "b": "member", "v": "viewer", "n": None}

# permission            admin    user     viewer   runner   system
MATRIX = """
task:read            |  ombvn  | ombv   | ombv   | -      | ombvn
task:write           |  ombvn  | omb    | -      | -      | ombvn
task:delete          |  ombvn  | omb    | -      | -      | ombvn
task:execute         |  ombvn  | omb    | -      | -      | ombvn
task:manage          |  ombvn  | om     | -      | -      | ombvn
notification:read    |  ombvn  | ombv   | ombv   | -      | ombvn
notification:write   |  ombvn  | om     | -      | -      | ombvn
notification:manage  |  ombvn  | om     | -      | -      | ombvn
project:read         |  ombvn  | ombv   | ombv   | -      | ombvn
project:write        |  ombvn  | om     | -      | -      | ombvn
project:delete       |  ombvn  | o      | -      | -      | ombvn
project:manage       |  ombvn  | om     | -      | -      | ombvn
system:read          |  ombvn  | -      | -      | -      | ombvn
system:manage        |  ombvn  | -      | -      | -      | ombvn
system:run           |  -      | -      | -      | -      | ombvn
runner:run           |  -      | -      | -      | ombvn  | ombvn
"""
ROLES = [Role.ADMIN, Role.USER, Role.VIEWER, Role.RUNNER, Role.SYSTEM]
TABLE = {
    Permission(line.split("|")[0].strip()): dict(
        zip(ROLES, (cell.strip() for cell in line.split("|")[1:]), strict=True)
    )
    for line in MATRIX.strip().splitlines()
}


def who(*roles: Role) -> Principal:
    """Return somebody with these token roles."""
    return Principal("7", frozenset(roles))


def test_the_matrix_is_complete() -> None:
    """Every permission has its line, every role its column."""
    assert set(TABLE) == set(Permission)
    assert set(ROLES) == set(Role)
    known = {str(role) for role in ProjectRole}
    assert {name for name in LETTERS.values() if name} == known
    assert {str(role) for role in MemberRole} == known - {"owner"}


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("permission", list(Permission))
def test_the_matrix(permission: Permission, role: Role) -> None:
    """Each cell is exactly what the rules say."""
    allowed = {letter for letter, name in LETTERS.items() if may(who(role), permission, name)}
    assert allowed == set(TABLE[permission][role]) - {"-"}


def test_roles_add_up() -> None:
    """Two token roles are worth what each is, and none nothing."""
    assert may(who(Role.VIEWER, Role.USER), Permission.TASK_WRITE, "owner")
    assert may(who(Role.VIEWER, Role.RUNNER), Permission.RUNNER_RUN, None)
    assert not may(who(Role.VIEWER, Role.RUNNER), Permission.TASK_READ, None)
    assert not may(who(), Permission.TASK_READ, "owner")


def test_an_unknown_project_role_grants_nothing() -> None:
    """A role of a newer release is worth nothing here."""
    assert not may(who(Role.USER), Permission.TASK_READ, "emperor")


def test_every_command_has_its_permission() -> None:
    """No command of the language is without a rule, and no rule without a command."""
    assert set(ACTION_PERMISSION) == set(ACTIONS) | {f"run.{name}" for name in RUNNER_ACTIONS}


# What the asker learns: "" = may, F = 403, N = 404.
# Columns: admin, owner, manager, member, viewer, stranger, owner with a viewer token, runner,
# system (the last, always empty).
ANSWERS = """
task.create            |       |      |       |      | F     | N  | F | N |
task.update            |       |      |       |      | F     | N  | F | N |
task.delete            |       |      |       |      | F     | N  | F | N |
task.start             |       |      |       |      | F     | N  | F | N |
task.confirm           |       |      |       | F    | F     | N  | F | N |
task.cancel            |       |      |       |      | F     | N  | F | N |
task.retry             |       |      |       |      | F     | N  | F | N |
task.lose              | F     | F    | F     | F    | F     | N  | F | N |
task.expire            | F     | F    | F     | F    | F     | N  | F | N |
task.link              |       |      |       | F    | F     | N  | F | N |
project.create         |       |      |       |      |       |    | F | F |
project.update         |       |      |       | F    | F     | N  | F | N |
project.add_member     |       |      |       | F    | F     | N  | F | N |
project.remove_member  |       |      |       | F    | F     | N  | F | N |
project.set_secret     |       |      |       | F    | F     | N  | F | N |
project.remove_secret  |       |      |       | F    | F     | N  | F | N |
project.make_key       | F     | F    | F     | F    | F     | N  | F | N |
project.reseal_key     | F     | F    | F     | F    | F     | N  | F | N |
notification.create    | F | F | F | F | F | F | F | F |
notification.report    | F | F | F | F | F | F | F | F |
notification.remind    | F | F | F | F | F | F | F | F |
notification.resolve   | F | F | F | F | F | F | F | F |
notification.click     | F | F | F | F | F | F | F | F |
notification.channel   | F | F | F | F | F | F | F | F |
notification.mark      |   |   |   |   |   |   |   | F |
notification.read_all  |   |   |   |   |   |   |   | F |
notification.settings  |   |   |   |   |   |   | F | F |
notification.project_settings |   |   |   | F | F | N | F | N |
grant.create           |   |   |   | F | F | N | F | N |
grant.use              | F | F | F | F | F | F | F |   |
grant.revoke           |   |   |   | F | F | N | F | N |
run.grants             | F | F | F | F | F | F | F |   |
run.secrets            | F | F | F | F | F | F | F |   |
run.claim              | F     | F    | F     | F    | F     | F  | F |   |
run.renew              | F     | F    | F     | F    | F     | F  | F |   |
run.progress           | F     | F    | F     | F    | F     | F  | F |   |
run.ask                | F     | F    | F     | F    | F     | F  | F |   |
run.withdraw           | F     | F    | F     | F    | F     | F  | F |   |
run.decision           | F     | F    | F     | F    | F     | F  | F |   |
run.record             | F     | F    | F     | F    | F     | F  | F |   |
run.session            | F     | F    | F     | F    | F     | F  | F |   |
run.answered           | F     | F    | F     | F    | F     | F  | F |   |
run.switch             | F     | F    | F     | F    | F     | F  | F |   |
run.blocked            | F     | F    | F     | F    | F     | F  | F |   |
run.pushed             | F     | F    | F     | F    | F     | F  | F |   |
run.finish             | F     | F    | F     | F    | F     | F  | F |   |
run.ended              | F     | F    | F     | F    | F     | F  | F |   |
run.narrowed           | F     | F    | F     | F    | F     | F  | F |   |
run.checkpoint         | F     | F    | F     | F    | F     | F  | F |   |
"""
ASKERS: list[tuple[Principal, str | None]] = [
    (who(Role.ADMIN), None),
    (who(Role.USER), "owner"),
    (who(Role.USER), "manager"),
    (who(Role.USER), "member"),
    (who(Role.USER), "viewer"),
    (who(Role.USER), None),
    (who(Role.VIEWER), "owner"),
    (who(Role.RUNNER), None),
    (who(Role.SYSTEM), None),
]


def answer(asker: Principal, action: str, project_role: str | None) -> str:
    """Return how the attempt is answered."""
    try:
        require_action(asker, action, project_role, "task 42")
    except NotFound:
        return "N"
    except Forbidden:
        return "F"
    return ""


def test_refusals_say_what() -> None:
    """A 403 names the permission, a 404 the thing, as if it did not exist."""
    with pytest.raises(NotFound, match="there is no task 42"):
        require_action(who(Role.USER), "task.start", None, "task 42")
    with pytest.raises(Forbidden, match="task:execute"):
        require_action(who(Role.USER), "task.start", "viewer", "task 42")


@pytest.mark.parametrize("line", ANSWERS.strip().splitlines(), ids=lambda line: line.split()[0])
def test_the_answers(line: str) -> None:
    """404 for what one may not know of, 403 for what one may only see."""
    action, *expected = (cell.strip() for cell in line.split("|"))
    assert [answer(asker, action, role) for asker, role in ASKERS] == expected


def test_the_answers_are_complete() -> None:
    """Every action has its line."""
    assert {line.split()[0] for line in ANSWERS.strip().splitlines()} == set(ACTION_PERMISSION)


def test_reading_is_asked_for_by_permission() -> None:
    """A query names its permission; system matters hide nothing."""
    require(who(Role.USER), Permission.TASK_READ, "viewer", "task 42")
    with pytest.raises(NotFound):
        require(who(Role.USER), Permission.TASK_READ, None, "task 42")
    with pytest.raises(Forbidden):
        require(who(Role.USER), Permission.SYSTEM_READ, None, "log")


def test_actors() -> None:
    """An event says who it is by, and as what."""
    assert who(Role.USER).actor == "user:7"
    assert who(Role.ADMIN).actor == "user:7"
    assert who(Role.USER, Role.RUNNER).actor == "runner:7"
    assert Principal("reaper", frozenset({Role.SYSTEM})).actor == "system:reaper"


@pytest.mark.parametrize("role", ROLES)
def test_who_sees_every_project(role: Role) -> None:
    """Exactly those who may read tasks without belonging anywhere."""
    assert who(role).everywhere == may(who(role), Permission.TASK_READ, None)
