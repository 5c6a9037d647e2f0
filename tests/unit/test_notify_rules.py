"""Which event tells whom, through which channels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import msgspec
import pytest

from events import notification as noted
from events import project as was
from events import task as did
from events.envelope import Recorded
from events.ids import notification_id
from events.notification import NotificationType, Origin, Resolution
from events.notifying import CreateNotification
from events.project import MemberRole
from events.task import Event, FailureKind, Status
from pandar_daemon.domain import notify_settings, notify_subject
from pandar_daemon.domain import project as project_rules
from pandar_daemon.domain.channel import fingerprint, mask
from pandar_daemon.domain.notify import (
    Scene,
    announcements,
    delivery_id,
    kind_of,
    recipients,
    reminder,
)
from pandar_daemon.domain.notify_settings import Broken, Settings
from pandar_daemon.domain.notify_subject import Subject, closed
from pandar_daemon.domain.project import Project
from tests.support.given import NOW, PROJECT_ID, TASK_ID
from tests.support.lives import Chronicle
from tests.support.notices import HOOK, SLACK, asking, delivery, settings, stored, told

TASK = f"task-{TASK_ID}"
EXECUTION = UUID(int=1)
ASK = UUID(int=2)
TASK_HOOK = "webhook:https://tasks.example.org/in/0123456789"

COMPLETED = did.TaskCompleted(execution_id=EXECUTION, exit_code=0, output_tail="", duration_sec=3.0)
FAILED = did.TaskFailed(
    execution_id=EXECUTION,
    error="exit code 3",
    kind=FailureKind.EXIT_CODE,
    from_status=Status.RUNNING,
    exit_code=3,
)
ASKED = did.ConfirmationRequested(
    confirmation_id=ASK,
    execution_id=EXECUTION,
    gate="git_push_protected",
    card={"command": "git push origin main", "severity": "high"},
    card_sha256="0" * 64,
    expires_at=NOW + timedelta(days=1),
)
ESCALATED = did.ConfirmationEscalated(confirmation_id=ASK, expires_at=NOW + timedelta(days=2))


def filed(**metadata: object) -> did.TaskCreated:
    """Return the filing of a task by ann."""
    return did.TaskCreated(
        task_id=TASK_ID,
        project_id=PROJECT_ID,
        name="tidy up",
        command="",
        created_by="ann",
        metadata=metadata,
        prompt="tidy up",
    )


def project(owner: str = "olga", **members: MemberRole) -> Project:
    """Return a project."""
    made = project_rules.initial(PROJECT_ID)
    events: list[Event] = [was.ProjectCreated(project_id=PROJECT_ID, name="p", owner=owner)]
    events += [was.MemberAdded(user=user, role=role) for user, role in members.items()]
    for event in events:
        made = project_rules.evolve(made, event)
    return made


TEAM = project(
    max=MemberRole.MANAGER, mia=MemberRole.MANAGER, mel=MemberRole.MEMBER, vic=MemberRole.VIEWER
)


def lived(*events: Event) -> tuple[Subject, list[Recorded]]:
    """Return a task after events, and the events as recorded."""
    chronicle = Chronicle()
    recorded = chronicle.add(TASK, *events)
    subject = Subject(TASK_ID)
    for one, event in zip(recorded, events, strict=True):
        subject = notify_subject.evolve(subject, one, event)
    return subject, recorded


def announced(
    *events: Event,
    team: Project = TEAM,
    of_project: Settings | None = None,
    **of_users: Settings,
) -> list[CreateNotification]:
    """Return what the last of a task's events makes the notifier ask for."""
    subject, recorded = lived(*events)
    people = recipients(events[-1], subject, team)
    return announcements(
        Scene(
            recorded=recorded[-1],
            event=events[-1],
            subject=subject,
            project=team,
            of_project=of_project or notify_settings.initial(PROJECT_ID),
            settings={user: of_users.get(user, settings(user=user).state) for user in people},
        )
    )


def having(*channels: str, user: str = "ann", **fields: object) -> Settings:
    """Return a user's settings with these channels."""
    state = settings(user=user).state
    return msgspec.structs.replace(state, channels=tuple(map(stored, channels)), **fields)


def people(asked: Sequence[CreateNotification]) -> list[str]:
    """Return who is told."""
    return [one.user for one in asked]


def sent_to(asked: Sequence[CreateNotification]) -> list[tuple[str, str, Origin]]:
    """Return where messages go: as whom, which channel, from whose settings."""
    return [(one.user, d.channel, d.origin) for one in asked for d in one.deliveries]


# --- who -------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [COMPLETED, FAILED])
def test_how_a_task_ended_is_told_to_whoever_filed_it(event: Event) -> None:
    """And to watchers who belong to the project; a stranger learns nothing."""
    assert people(announced(filed(), event)) == ["ann"]
    watched = filed(watchers=["vic", "eve", "ann", "vic"])
    assert people(announced(watched, event)) == ["ann", "vic"]


def test_a_command_that_succeeded_is_news_for_who_asked() -> None:
    """By a channel, or by naming watchers; a failure is news for everybody it concerns."""
    plain = msgspec.structs.replace(filed(), prompt="", command="true")
    assert announced(plain, COMPLETED) == []
    assert people(announced(plain, FAILED)) == ["ann"]
    assert people(announced(plain, COMPLETED, ann=having(HOOK))) == ["ann"]
    for asked in ({"watchers": ["vic"]}, {"notify": [TASK_HOOK]}):
        wanted = msgspec.structs.replace(plain, metadata=asked)
        assert "ann" in people(announced(wanted, COMPLETED))


def test_a_confirmation_is_told_to_all_who_may_decide() -> None:
    """Whoever filed the task, watchers, and who owns or manages the project; members are not."""
    assert people(announced(filed(watchers=["vic"]), ASKED)) == ["ann", "vic", "olga", "max", "mia"]
    own = project("ann")
    assert people(announced(filed(), ASKED, team=own)) == ["ann"]


def test_an_escalation_is_told_again() -> None:
    """Under ids of its own, with the new deadline."""
    first, second = announced(filed(), ASKED)[0], announced(filed(), ASKED, ESCALATED)[0]
    assert first.notification_id != second.notification_id
    assert (second.confirmation_id, second.expires_at) == (ASK, ESCALATED.expires_at)
    assert second.title == "Still undecided: tidy up"


@pytest.mark.parametrize(
    "event",
    [
        msgspec.structs.replace(FAILED, will_retry=True),
        did.TaskCancelled(from_status=Status.RUNNING),
        did.TaskStarted(execution_id=EXECUTION, attempt=1, epoch=1, runner_id="r"),
        did.TaskConfirmed(confirmation_id=ASK),
    ],
)
def test_nobody_is_told_of_the_rest(event: Event) -> None:
    """A failure that is tried again, or what somebody did, is no news."""
    assert kind_of(event) is None
    assert announced(filed(), event) == []


def test_whose_channel_fails_is_told() -> None:
    """One alert, and not through a channel that fails."""
    event = noted.ChannelFailed(user="ann", channel="slack://ops", sha256="a" * 64, reason="no")
    recorded = Chronicle().add("user_settings-x", event)[0]
    broken = {fingerprint(HOOK): Broken(mask(HOOK), "no", disabled=False)}
    scene = Scene(
        recorded=recorded, event=event, settings={"ann": having(HOOK, SLACK, broken=broken)}
    )
    (alert,) = announcements(scene)
    assert (alert.user, alert.kind) == ("ann", NotificationType.SYSTEM_ALERT)
    assert alert.task_id is None
    assert [one.channel for one in alert.deliveries] == ["slack://ops"]


@pytest.mark.parametrize(
    "metadata",
    [
        {"watchers": "vic", "notify": "slack://ops"},
        {"watchers": [1, None, {"vic": 1}], "notify": [1, None, "no channel", "file:///etc"]},
        {"watchers": {"vic": True}, "notify": {}},
    ],
)
def test_metadata_may_hold_anything(metadata: dict[str, object]) -> None:
    """What is no list of texts, and no channel, counts as absent."""
    (asked,) = announced(filed(**metadata), COMPLETED)
    assert asked.deliveries == []


# --- where to --------------------------------------------------------------------------------


def test_channels_of_task_project_and_user() -> None:
    """Each is used as whose it is: the task's as from who filed it, the project's too."""
    of_project = msgspec.structs.replace(
        notify_settings.initial(PROJECT_ID), channels=(stored(SLACK),)
    )
    asked = announced(filed(notify=[TASK_HOOK]), COMPLETED, of_project=of_project, ann=having(HOOK))
    assert sent_to(asked) == [
        ("ann", mask(TASK_HOOK), Origin.TASK),
        ("ann", SLACK, Origin.PROJECT),
        ("ann", mask(HOOK), Origin.USER),
    ]


def test_a_project_is_asked_as_its_owner() -> None:
    """A link for the project's channel decides in the name of who owns it."""
    of_project = msgspec.structs.replace(
        notify_settings.initial(PROJECT_ID), channels=(stored(SLACK),)
    )
    asked = announced(filed(notify=[TASK_HOOK]), ASKED, of_project=of_project)
    assert sent_to(asked) == [
        ("ann", mask(TASK_HOOK), Origin.TASK),
        ("olga", SLACK, Origin.PROJECT),
    ]


def test_a_channel_gets_an_event_once() -> None:
    """However many people named it."""
    asked = announced(
        filed(notify=[HOOK, HOOK], watchers=["vic"]),
        COMPLETED,
        ann=having(HOOK),
        vic=having(HOOK, user="vic"),
    )
    assert sent_to(asked) == [("ann", mask(HOOK), Origin.TASK)]
    assert people(asked) == ["ann", "vic"]


def test_quiet_types_are_not_sent() -> None:
    """They are there to be read; a task's own channels know no silence."""
    quiet = frozenset({NotificationType.TASK_COMPLETED})
    ann = having(HOOK, quiet=quiet)
    assert sent_to(announced(filed(notify=[SLACK]), COMPLETED, ann=ann)) == [
        ("ann", SLACK, Origin.TASK)
    ]
    assert [d.channel for d in announced(filed(), FAILED, ann=ann)[0].deliveries] == [mask(HOOK)]


def test_a_disabled_channel_gets_nothing() -> None:
    """One that merely fails is tried with every new message."""
    for disabled in (True, False):
        broken = {fingerprint(HOOK): Broken(mask(HOOK), "no", disabled)}
        asked = announced(filed(), COMPLETED, ann=having(HOOK, broken=broken))
        assert len(asked[0].deliveries) == (0 if disabled else 1)


def test_messages_are_held_back_as_settings_say() -> None:
    """But a request for a decision at most a second."""
    ann = having(HOOK, debounce_sec=60)
    for event, wait in ((COMPLETED, 60), (FAILED, 60), (ASKED, 1)):
        asked = announced(filed(), event, ann=ann)[0]
        assert asked.deliveries[0].due_at - asked.at == timedelta(seconds=wait)
    hasty = announced(filed(), ASKED, ann=having(HOOK, debounce_sec=0))[0]
    assert hasty.deliveries[0].due_at == hasty.at


def test_no_secret_is_in_a_command() -> None:
    """A command becomes an event, and stays."""
    asked = announced(filed(notify=[TASK_HOOK]), ASKED, ann=having(HOOK))
    body = msgspec.json.encode(asked)
    for channel in (TASK_HOOK, HOOK):
        assert channel.encode() not in body
        assert channel.rpartition("/")[2].encode() not in body


# --- the same again --------------------------------------------------------------------------


def test_the_same_log_makes_the_same_commands() -> None:
    """Read again after a crash, byte for byte: time and ids are those of the event."""
    events = (filed(notify=[TASK_HOOK], watchers=["vic"]), ASKED)
    first, again = announced(*events, ann=having(HOOK)), announced(*events, ann=having(HOOK))
    assert msgspec.json.encode(first) == msgspec.json.encode(again)
    event_id = first[0].event_id
    assert first[0].notification_id == notification_id(event_id, "ann")
    assert first[0].deliveries[0].delivery_id == delivery_id(event_id, fingerprint(TASK_HOOK))


def test_reminders_are_at_half_and_at_nine_tenths() -> None:
    """Counted from when it was asked, to its deadline."""
    asked = announced(filed(), ASKED)[0]
    whole = ASKED.expires_at - asked.at
    assert [at - asked.at for at in asked.remind_at] == [whole * 0.5, whole * 0.9]
    late = msgspec.structs.replace(ASKED, expires_at=NOW - timedelta(days=999))
    assert {at - one.at for one in announced(filed(), late) for at in one.remind_at} == {
        timedelta()
    }


def test_a_reminder_goes_where_the_first_message_went() -> None:
    """Under an id of its own, which is the same one whenever it is asked for."""
    state = told(asking(delivery(1))).state
    first = reminder(state)
    assert first == reminder(state)
    assert first.number == 1
    (one,) = first.deliveries
    assert one.channel_sha256 == delivery(1).channel_sha256
    assert one.delivery_id not in state.deliveries
    assert one.due_at == state.remind_at[0]
    again = reminder(told(asking(delivery(1)), first).state)
    assert (again.number, len(again.deliveries)) == (2, 1)


# --- what ends a confirmation ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        (did.TaskConfirmed(confirmation_id=ASK, by="bob", reason="fine"), Resolution.APPROVED),
        (did.TaskDenied(confirmation_id=ASK, by="bob", reason="fine"), Resolution.DENIED),
        (did.ChangesRequested(confirmation_id=ASK, by="bob", reason="fine"), Resolution.CHANGES),
        (did.ConfirmationExpired(confirmation_id=ASK), Resolution.EXPIRED),
        (did.ConfirmationWithdrawn(confirmation_id=ASK, reason="fine"), Resolution.WITHDRAWN),
        (did.CancelRequested(), Resolution.OVER),
        (did.TaskCancelled(from_status=Status.PENDING), Resolution.OVER),
        (FAILED, Resolution.OVER),
    ],
)
def test_what_ends_a_confirmation(event: Event, outcome: Resolution) -> None:
    """A decision, its deadline, its asker, or the end of the task; then it is open no more."""
    subject, _ = lived(filed(watchers=["vic"]), ASKED, ESCALATED)
    ((one, how, by, reason),) = closed(subject, event)
    assert how is outcome
    assert by in {"bob", ""}
    assert reason in {"fine", ""}
    assert [each.watchers for each in one.told] == [("vic",), ("vic",)]
    assert lived(filed(), ASKED, event)[0].open == ()


def test_another_confirmation_stays_open() -> None:
    """A decision on one says nothing of another."""
    subject, _ = lived(filed(), ASKED)
    assert closed(subject, did.TaskConfirmed(confirmation_id=UUID(int=9))) == []
    assert lived(filed(), ASKED, did.TaskConfirmed(confirmation_id=UUID(int=9)))[0].open != ()


def test_a_task_is_known_by_its_latest_name_and_metadata() -> None:
    """Watchers and channels may be changed while it runs."""
    update = did.TaskUpdated(name="sweep", metadata={"watchers": ["vic"], "notify": [SLACK]})
    asked = announced(filed(notify=[HOOK]), update, COMPLETED)
    assert asked[0].title == "Completed: sweep"
    assert people(asked) == ["ann", "vic"]
    assert sent_to(asked) == [("ann", SLACK, Origin.TASK)]
