"""Notifications over HTTP: a user's own, whether they were read, and settings."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from events import subjects
from events.ids import notification_id, settings_id
from events.notification import NotificationType, Origin, Resolution
from events.notifying import (
    CreateNotification,
    Delivery,
    ReportChannel,
    ReportDelivery,
    ResolveNotification,
)
from pandar_daemon.adapters.http import notification_settings, notifications
from pandar_daemon.domain.channel import fingerprint, mask
from pandar_daemon.domain.refusals import Refusal
from tests.support.api import Api, Person, running_api

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]

Json = Any
HOOK = "webhook:https://hooks.example.org/pandar/0123456789"
SLACK = "slack://ops"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
async def api(database_url: str, nats_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """Return a running API with project 1 of user 1."""
    async with running_api(database_url, nats_url, tmp_path) as running:
        await running.person().project()
        yield running


async def ask(api: Api, action: str, command: object, target: UUID | None = None) -> None:
    """Send a command as the notifier does."""
    asker = api.parts.asker("notifier", "system")
    name = f"system-test-{api.parts.clock.new_id().hex}"
    await asker.ask(subjects.command(action, None, target), msgspec.json.encode(command), name)


async def tell(api: Api, n: int = 1, *, user: str = "1", **fields: object) -> UUID:
    """Tell a user of the n-th event; return the notification."""
    whole = {
        "notification_id": notification_id(UUID(int=n), user),
        "user": user,
        "kind": NotificationType.TASK_COMPLETED,
        "title": f"Completed: {n}",
        "event_id": UUID(int=n),
        "at": NOW,
        "task_id": n,
        "project_id": 1,
        **fields,
    }
    command = CreateNotification(**whole)  # type: ignore[arg-type]
    await ask(api, "notification.create", command)
    return command.notification_id


async def inbox(api: Api, person: Person, query: str = "") -> Json:
    """Return a page of a person's notifications, with all that happened until now."""
    await api.settle(person)
    return await person.get(f"/notifications{query}")


def titles(page: Json) -> list[str]:
    """Return the titles on a page."""
    return [item["title"] for item in page["items"]]


# --- the inbox -------------------------------------------------------------------------------


async def test_everybody_sees_their_own(api: Api) -> None:
    """Newest first; an administrator sees no others' either."""
    await tell(api, 1)
    await tell(api, 2)
    await tell(api, 3, user="2")
    assert titles(await inbox(api, api.person("1"))) == ["Completed: 2", "Completed: 1"]
    assert titles(await inbox(api, api.person("2"))) == ["Completed: 3"]
    assert titles(await inbox(api, api.person("3", "admin"))) == []


async def test_a_page_is_as_described(api: Api) -> None:
    """Every field of its shape, with deliveries and what became of them."""
    delivery = Delivery(
        delivery_id=UUID(int=9),
        channel=mask(HOOK),
        channel_sha256=fingerprint(HOOK),
        origin=Origin.USER,
        due_at=NOW,
    )
    one = await tell(
        api,
        kind=NotificationType.CONFIRMATION_REQUIRED,
        confirmation_id=UUID(int=5),
        expires_at=NOW,
        deliveries=[delivery, msgspec.structs.replace(delivery, delivery_id=UUID(int=10))],
    )
    report = ReportDelivery(delivery_id=UUID(int=9), attempt=1, message_id=UUID(int=9))
    await ask(api, "notification.report", report, one)
    await ask(
        api, "notification.resolve", ResolveNotification(outcome=Resolution.DENIED, by="2"), one
    )
    person = api.person()
    page = await inbox(api, person)
    assert msgspec.convert(page, notifications.NotificationPage).unread == 1
    (item,) = page["items"]
    assert item.keys() == set(notifications.Notification.__struct_fields__)
    assert item["deliveries"][0].keys() == set(notifications.Delivery.__struct_fields__)
    assert [each["status"] for each in item["deliveries"]] == ["sent", "dropped"]
    assert (item["outcome"], item["decided_by"]) == ("denied", "2")
    assert item["sent_at"] is not None
    assert HOOK not in str(page)
    marked = await person.post(f"/notifications/{one}/read")
    assert marked == {**item, "is_read": True}


async def test_pages_by_cursor(api: Api) -> None:
    """Each notification once, whatever comes meanwhile."""
    for n in range(1, 6):
        await tell(api, n)
    person = api.person()
    first = await inbox(api, person, "?limit=2")
    await tell(api, 6)
    second = await inbox(api, person, f"?limit=2&cursor={first['next_cursor']}")
    third = await inbox(api, person, f"?limit=2&cursor={second['next_cursor']}")
    found = titles(first) + titles(second) + titles(third)
    assert found == [f"Completed: {n}" for n in (5, 4, 3, 2, 1)]
    assert third["next_cursor"] is None


@pytest.mark.parametrize(
    "query", ["?limit=0", "?limit=101", "?cursor=x", "?type=nonsense", "?unread=maybe", "?page=1"]
)
async def test_what_cannot_be_asked_for(api: Api, query: str) -> None:
    """A misspelt or impossible parameter is named."""
    await api.person().refused("GET", f"/notifications{query}", 422)


async def test_filters(api: Api) -> None:
    """By type, and what was not read."""
    one = await tell(api, 1)
    await tell(api, 2, kind=NotificationType.SYSTEM_ALERT, title="Alert")
    person = api.person()
    assert titles(await inbox(api, person, "?type=system_alert")) == ["Alert"]
    assert len(titles(await inbox(api, person, "?type=system_alert,task_completed"))) == 2
    await person.post(f"/notifications/{one}/read")
    assert titles(await inbox(api, person, "?unread=true")) == ["Alert"]
    assert (await inbox(api, person))["unread"] == 1


# --- reading ---------------------------------------------------------------------------------


async def test_one_is_marked(api: Api) -> None:
    """Read, and new again; twice is no mistake."""
    one = await tell(api)
    person = api.person()
    for _ in range(2):
        assert (await person.post(f"/notifications/{one}/read"))["is_read"] is True
    assert (await inbox(api, person))["items"][0]["is_read"] is True
    assert (await person.post(f"/notifications/{one}/unread"))["is_read"] is False
    assert (await inbox(api, person))["items"][0]["is_read"] is False


async def test_all_are_marked(api: Api) -> None:
    """As they are now; what comes later is new, and so is what is marked new again."""
    one = await tell(api, 1)
    await tell(api, 2)
    person = api.person()
    await person.post("/notifications/read")
    assert (await inbox(api, person))["unread"] == 0
    await tell(api, 3)
    await person.post(f"/notifications/{one}/unread")
    page = await inbox(api, person, "?unread=true")
    assert titles(page) == ["Completed: 3", "Completed: 1"]
    assert page["unread"] == 2


async def test_all_that_were_seen_are_marked(api: Api) -> None:
    """Up to a position: what came after the caller looked stays new."""
    await tell(api, 1)
    person = api.person()
    seen = (await inbox(api, person))["items"][0]["position"]
    await tell(api, 2)
    assert await person.post("/notifications/read", {"up_to": seen}) == {"read_up_to": seen}
    assert titles(await inbox(api, person, "?unread=true")) == ["Completed: 2"]


async def test_others_are_not_there(api: Api) -> None:
    """Who guesses an id learns nothing, nor with an id that is none."""
    one = await tell(api, user="2")
    for path in (f"/notifications/{one}/read", "/notifications/x/unread"):
        await api.person().refused("POST", path, 404)
    await api.person("3", "admin").refused("POST", f"/notifications/{one}/read", 404)


async def test_a_viewer_reads_and_marks(api: Api) -> None:
    """To mark one's own changes nothing for others; settings take more."""
    one = await tell(api, user="7")
    viewer = api.person("7", "viewer")
    assert (await viewer.post(f"/notifications/{one}/read"))["is_read"] is True
    await viewer.get("/notifications/settings")
    await viewer.refused("POST", "/notifications/settings", 403, json={"debounce_sec": 1})
    await api.person("r", "runner").refused("GET", "/notifications", 403)


async def test_only_the_notifier_tells(api: Api) -> None:
    """Nobody else makes notifications, or reports on them."""
    one = await tell(api)
    body = msgspec.json.encode(ResolveNotification(outcome=Resolution.OVER))
    subject = subjects.command("notification.resolve", None, one)
    with pytest.raises(Refusal) as refused:
        await api.parts.asker("1", "admin").ask(subject, body, "mine")
    assert refused.value.problem.status == 403


# --- settings --------------------------------------------------------------------------------


async def test_settings_begin_with_nothing(api: Api) -> None:
    """No channels, no silence."""
    assert await api.person().get("/notifications/settings") == {
        "channels": [],
        "quiet": [],
        "debounce_sec": 5,
        "broken": [],
    }


async def test_settings_are_changed(api: Api) -> None:
    """Channels come back masked, and can be kept without knowing them."""
    person = api.person()
    shown = await person.post(
        "/notifications/settings", {"channels": [HOOK], "quiet": ["task_completed"]}
    )
    msgspec.convert(shown, notification_settings.NotificationSettings)
    sha256 = fingerprint(HOOK)
    assert shown["channels"] == [{"channel": mask(HOOK), "sha256": sha256}]
    kept = {"channels": [f"kept:{sha256}", SLACK], "debounce_sec": 60}
    shown = await person.post("/notifications/settings", kept)
    assert [one["channel"] for one in shown["channels"]] == [mask(HOOK), SLACK]
    assert (shown["quiet"], shown["debounce_sec"]) == (["task_completed"], 60)
    assert await person.get("/notifications/settings") == shown
    assert await api.person("2").get("/notifications/settings") != shown


async def test_no_channel_can_be_read_in_the_log(api: Api) -> None:
    """Nor on the bus: it was sealed before it was sent."""
    await api.person().post("/notifications/settings", {"channels": [HOOK]})
    await api.person().post("/projects/1/notifications", {"channels": [HOOK]})
    events = await api.parts.store.read_all(after=0, limit=100)
    assert [event.type for event in events].count("settings.changed") == 2
    assert all(b"0123456789" not in bytes(event.data) for event in events)


async def test_the_same_change_again_is_the_same(api: Api) -> None:
    """A repeated key gets the first answer: the same channel is sealed the same way."""
    person, key = api.person(), {"Idempotency-Key": "settings-1"}
    first = await person.post("/notifications/settings", {"channels": [HOOK]}, headers=key)
    again = await person.post("/notifications/settings", {"channels": [HOOK]}, headers=key)
    assert first == again
    other = {"json": {"channels": []}, "headers": key}
    await person.refused("POST", "/notifications/settings", 409, **other)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"channels": ["nonsense"]}, "channels[0]"),
        ({"channels": [SLACK, "gopher://x"]}, "channels[1]"),
        ({"channels": ["webhook:http://example.org/"]}, "channels[0]"),
        ({"channels": [f"kept:{'0' * 64}"]}, "channels[0]"),
        ({"channels": ["kept:nonsense"]}, "channels"),
        ({"channels": [SLACK] * 21}, "channels"),
        ({"quiet": ["nonsense"]}, "quiet"),
        ({"debounce_sec": 301}, "debounce_sec"),
        ({"debounce_sec": -1}, "debounce_sec"),
        ({"chanels": []}, "chanels"),
    ],
)
async def test_settings_that_cannot_be(api: Api, body: Json, field: str) -> None:
    """Each is refused with the field and the rule; nothing is changed."""
    person = api.person()
    problem = await person.refused("POST", "/notifications/settings", 422, json=body)
    assert problem["errors"][0]["field"].startswith(field)
    assert (await person.get("/notifications/settings"))["channels"] == []


async def test_an_unknown_scheme_is_told_the_known_ones(api: Api) -> None:
    """So a misspelt one is found."""
    body = {"channels": ["slak://ops"]}
    problem = await api.person().refused("POST", "/notifications/settings", 422, json=body)
    assert "ntfy://" in problem["errors"][0]["rule"]


async def test_what_fails_is_shown_until_settings_are_saved(api: Api) -> None:
    """With its reason; to save them is to try again."""
    person = api.person()
    await person.post("/notifications/settings", {"channels": [HOOK]})
    failed = ReportChannel(
        user="1",
        sha256=fingerprint(HOOK),
        channel=mask(HOOK),
        reason="answered 410",
        disabled=True,
    )
    await ask(api, "notification.channel", failed, settings_id("1"))
    shown = await person.get("/notifications/settings")
    assert shown["broken"] == [
        {
            "channel": mask(HOOK),
            "sha256": fingerprint(HOOK),
            "reason": "answered 410",
            "disabled": True,
        }
    ]
    assert (await person.post("/notifications/settings", {}))["broken"] == []


async def test_settings_of_a_project(api: Api) -> None:
    """Who manages it changes them, who belongs to it sees them, masked."""
    owner = api.person()
    for user, role in (("2", "manager"), ("3", "member")):
        await owner.post("/projects/1/members", {"user": user, "role": role})
    manager, member, stranger = (api.person(user) for user in ("2", "3", "4"))
    shown = await manager.post("/projects/1/notifications", {"channels": [HOOK, SLACK]})
    assert [one["channel"] for one in shown["channels"]] == [mask(HOOK), SLACK]
    await api.settle(member)
    assert await member.get("/projects/1/notifications") == shown
    await member.refused("POST", "/projects/1/notifications", 403, json={"channels": []})
    await stranger.refused("GET", "/projects/1/notifications", 404)
    await stranger.refused("POST", "/projects/1/notifications", 404, json={"channels": []})
    await api.person("5", "admin").refused("GET", "/projects/9/notifications", 404)
    kept = {"channels": [f"kept:{fingerprint(SLACK)}"]}
    assert len((await owner.post("/projects/1/notifications", kept))["channels"]) == 1
