"""Every rule about settings for notifications, by example."""

from __future__ import annotations

from events import notification as did
from events import notifying as do
from events.ids import settings_id
from events.notification import NotificationType
from pandar_daemon.domain import notify_settings
from pandar_daemon.domain.channel import fingerprint, mask
from pandar_daemon.domain.notify_settings import DEBOUNCE_SEC
from pandar_daemon.domain.refusals import Invalid, NotFound, Rejected
from tests.support.given import PROJECT_ID, USER
from tests.support.notices import HOOK, SLACK, GivenSettings, settings, stored, to_set

SHA = fingerprint(HOOK)


def broken(reason: str = "answered 500", *, disabled: bool = False) -> do.ReportChannel:
    """Return what says that the webhook takes no messages; without a reason, that it does."""
    return do.ReportChannel(
        user=USER, sha256=SHA, channel=mask(HOOK), reason=reason, disabled=disabled
    )


def test_settings_are_changed_field_by_field() -> None:
    """What is left out stays; no change is no event."""
    change = do.ChangeSettings(channels=[to_set(HOOK)], quiet=[NotificationType.TASK_COMPLETED])
    settings().when(change).then(
        [
            did.SettingsChanged(
                user=USER, channels=[stored(HOOK)], quiet=[NotificationType.TASK_COMPLETED]
            )
        ]
    )
    after = settings(change, do.ChangeSettings(debounce_sec=60)).state
    assert after.channels == (stored(HOOK),)
    assert after.quiet == frozenset({NotificationType.TASK_COMPLETED})
    assert after.debounce_sec == 60
    settings(change).when(change).then_nothing()
    settings().when(do.ChangeSettings()).then_nothing()
    assert settings().state.debounce_sec == DEBOUNCE_SEC


def test_a_channel_is_kept_by_its_hash() -> None:
    """Who changes a list need not know the secrets in it; each channel is in it once."""
    kept = do.SetChannel(sha256=SHA)
    change = do.ChangeSettings(channels=[kept, to_set(SLACK), to_set(SLACK)])
    before = settings(do.ChangeSettings(channels=[to_set(HOOK)]))
    assert before.after(change).state.channels == (stored(HOOK), stored(SLACK))
    settings().when(do.ChangeSettings(channels=[kept])).refuses(
        Invalid, "channels[0]: is to be kept, but there is no such one"
    )


def test_others_settings_are_not_there() -> None:
    """Nobody changes another user's settings."""
    for command in (do.ChangeSettings(debounce_sec=1), do.MarkAllRead()):
        settings().when(command, user="bob").refuses(
            NotFound, f"there is no settings {settings_id(USER)}"
        )


def test_a_project_has_settings_of_its_own() -> None:
    """They belong to the project, and nobody reads on its behalf."""
    of_project = GivenSettings(notify_settings.initial(PROJECT_ID))
    assert of_project.state.project_id == PROJECT_ID
    assert settings().state.project_id == 0
    change = do.ChangeSettings(debounce_sec=1)
    of_project.when(change).then([did.SettingsChanged(debounce_sec=1)])
    of_project.when(do.MarkAllRead()).refuses(Rejected, "a project reads nothing")


def test_a_channel_fails_once() -> None:
    """Its user is told once, however often it fails, and again only when it is gone."""
    failed = did.ChannelFailed(user=USER, channel=mask(HOOK), sha256=SHA, reason="answered 500")
    settings().when(broken()).then([failed])
    known = settings(broken())
    known.when(broken("answered 502")).then_nothing()
    assert len(known.when(broken("answered 410", disabled=True)).happened) == 1
    gone = settings(broken("answered 410", disabled=True))
    gone.when(broken("answered 410", disabled=True)).then_nothing()
    gone.when(broken()).then_nothing()


def test_a_channel_recovers() -> None:
    """One that works again is whole; one that is gone stays gone until settings are saved."""
    works = broken("")
    settings(broken()).when(works).then([did.ChannelRecovered(user=USER, sha256=SHA)])
    assert settings(broken(), works).state.broken == {}
    settings().when(works).then_nothing()
    gone = settings(broken("answered 410", disabled=True))
    gone.when(works).then_nothing()
    assert gone.after(do.ChangeSettings(debounce_sec=DEBOUNCE_SEC)).state.broken == {}


def test_a_channel_is_reported_to_its_user() -> None:
    """A report names whose settings they are."""
    settings().when(do.ReportChannel(user="bob", sha256=SHA, reason="no")).refuses(
        Rejected, "these are not the settings of bob"
    )


def test_all_is_read_up_to_a_position() -> None:
    """It never moves back; without a position it is now, of which the log alone knows."""
    settings().when(do.MarkAllRead(up_to=7)).then([did.ReadAll(user=USER, up_to=7)])
    settings(do.MarkAllRead(up_to=7)).when(do.MarkAllRead(up_to=7)).then_nothing()
    settings(do.MarkAllRead(up_to=7)).when(do.MarkAllRead()).then([did.ReadAll(user=USER)])
