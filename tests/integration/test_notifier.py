"""The notifier: from events in a real log to calls of receivers on this machine, and back.

Time is the test's own: nothing waits for real seconds, however long a retry takes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from events import notification as noted
from events import task as did
from events.ids import notification_id
from events.notification import NotificationType, Resolution
from events.project import MemberAdded, MemberRemoved, MemberRole
from events.task import Event
from pandar_daemon.domain.channel import mask
from pandar_daemon.domain.outbox import RETRY_SEC
from tests.support.notifying import DAY, Newsroom, hook, newsroom, notifications, titles
from tests.support.receiver import Receiver, receiving
from tests.support.servers import TestServers
from tests.support.waiting import until

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """Return a server of somebody who wants to be told."""
    async with receiving() as one:
        yield one


@pytest.fixture
async def room(database_url: str) -> AsyncIterator[Newsroom]:
    """Return a log with project 1 of olga."""
    async with newsroom(database_url) as made:
        await made.project(max=MemberRole.MANAGER, mel=MemberRole.MEMBER)
        yield made


async def test_an_event_becomes_a_notification_and_a_message(
    room: Newsroom, receiver: Receiver
) -> None:
    """Whoever filed the task is told, through the task's channel; each step is recorded."""
    await room.task(notify=[hook(receiver)])
    async with room.telling():
        await room.complete()
        await room.happened(noted.DeliveryRequested)
        room.clock.advance(6)
        (call,) = await receiver.called()
        await room.happened(noted.DeliverySent)
    (told,) = await room.told()
    assert told.notification.user == "ann"
    assert told.notification.kind is NotificationType.TASK_COMPLETED
    assert [type(event).__name__ for event in told.events] == [
        "NotificationCreated",
        "DeliveryRequested",
        "DeliverySent",
    ]
    (item,) = call.json["data"]["notifications"]
    assert item["id"] == str(told.notification.notification_id)
    assert item["url"] == "https://pandar.example.org/tasks/42"
    (sent,) = told.of(noted.DeliverySent)
    assert isinstance(sent, noted.DeliverySent)
    assert call.headers["webhook-id"] == str(sent.message_id)


async def test_no_secret_is_recorded(room: Newsroom, receiver: Receiver) -> None:
    """Channels stand masked in all that the notifier and settings write; in settings, sealed."""
    channel = hook(receiver, "/in/secret-of-ann")
    await room.settings("ann", channel)
    await room.task()
    async with room.telling():
        await room.fail()
        room.clock.advance(6)
        await receiver.called()
        await room.happened(noted.DeliverySent)
    for recorded in await room.at.log.everything():
        assert b"secret-of-ann" not in bytes(recorded.data), recorded.type
    requested = (await room.happened(noted.DeliveryRequested))[0]
    assert isinstance(requested, noted.DeliveryRequested)
    assert requested.channel == mask(channel)


async def test_a_confirmation_is_told_to_all_with_links_of_their_own(
    room: Newsroom, receiver: Receiver
) -> None:
    """Each approver's link speaks for them; who may not decide gets one that shows only."""
    await room.project_settings(hook(receiver, "/project"))
    await room.settings("max", hook(receiver, "/max"))
    await room.settings("watcher", hook(receiver, "/watcher"))
    await room.add("project-1", *joined("watcher"))
    await room.task(notify=[hook(receiver, "/task")], watchers=["watcher"])
    async with room.telling():
        confirmation = await room.ask()
        await room.happened(noted.DeliveryRequested, 4)
        room.clock.advance(1.1)
        calls = await receiver.called(4)
        await room.happened(noted.DeliverySent, 4)
    links = {call.path: call.json["data"]["notifications"][0]["url"] for call in calls}
    assert links["/watcher"] == "https://pandar.example.org/tasks/42"
    for path, user in (("/task", "ann"), ("/project", "olga"), ("/max", "max")):
        assert links[path].startswith(f"https://pandar.example.org/a/{user}-")
    assert {user for _, _, user in room.links.issued} == {"ann", "olga", "max"}
    assert {one for _, one, _ in room.links.issued} == {confirmation}
    assert {one.notification.user for one in await room.told()} == {"ann", "olga", "max", "watcher"}


def joined(*users: str) -> list[Event]:
    """Return that users became viewers of the project."""
    return [MemberAdded(user=user, role=MemberRole.VIEWER) for user in users]


# --- once ------------------------------------------------------------------------------------


async def test_a_channel_gets_an_event_once(room: Newsroom, receiver: Receiver) -> None:
    """However many people and places name it."""
    await room.settings("ann", hook(receiver))
    await room.settings("mel", hook(receiver))
    await room.task(notify=[hook(receiver)], watchers=["mel"])
    async with room.telling():
        await room.complete()
        await room.happened(noted.NotificationCreated, 2)
        room.clock.advance(6)
        await receiver.called()
        await room.settled()
    assert len(receiver.calls) == 1
    assert len(await room.happened(noted.DeliveryRequested)) == 1


async def test_one_that_goes_on_tells_nothing_twice(room: Newsroom, receiver: Receiver) -> None:
    """Stopped before it kept how far it was: what it tells again changes nothing."""
    await room.task(notify=[hook(receiver)])
    async with room.telling():
        await room.complete()
        await room.happened(noted.NotificationCreated)
    before = await room.told()
    async with room.telling("two"):
        room.clock.advance(6)
        await room.happened(noted.DeliverySent)
        await room.settled()
    after = await room.told()
    assert len(before) == len(after) == 1
    assert len(receiver.calls) == 1


async def test_what_happened_while_nobody_told_is_told(room: Newsroom, receiver: Receiver) -> None:
    """The checkpoint is durable; and a first one begins where the log ended when it was made."""
    await room.task(1, notify=[hook(receiver)])
    await room.task(2, notify=[hook(receiver)])
    await room.complete(1)
    async with room.telling():
        room.clock.advance(6)
        await room.happened(noted.DeliverySent)
        await room.settled()
    await room.complete(2)
    async with room.telling("two"):
        room.clock.advance(6)
        await room.happened(noted.DeliverySent, 2)
    assert titles(receiver) == ["Completed: task 1", "Completed: task 2"]


async def test_a_message_under_way_is_sent_again(room: Newsroom, receiver: Receiver) -> None:
    """Dying between sending and saying so repeats it, under the id the receiver has seen."""
    await room.task(notify=[hook(receiver)])
    receiver.hold.clear()
    async with room.telling():
        await room.complete()
        await room.happened(noted.DeliveryRequested)
        room.clock.advance(6)
        await receiver.called()
    receiver.hold.set()
    async with room.telling("two"):
        await room.settled()
        first, again = await receiver.called(2)
        await room.happened(noted.DeliverySent)
    assert first.headers["webhook-id"] == again.headers["webhook-id"]
    assert first.body == again.body
    assert len(await room.happened(noted.DeliverySent)) == 1


async def test_one_of_two_leads(room: Newsroom, receiver: Receiver) -> None:
    """The second waits; when the first ends, it goes on where that was."""
    await room.task(1, notify=[hook(receiver)])
    await room.task(2, notify=[hook(receiver)])
    async with room.telling("two"):
        async with room.telling("one"):
            await room.complete(1)
            await room.happened(noted.DeliveryRequested)
            room.clock.advance(6)
            await room.happened(noted.DeliverySent)
        await room.complete(2)
        await room.happened(noted.DeliveryRequested, 2)
        room.clock.advance(6)
        await room.happened(noted.DeliverySent, 2)
    assert titles(receiver) == ["Completed: task 1", "Completed: task 2"]


# --- what fails ------------------------------------------------------------------------------


async def test_a_failed_message_is_tried_again(room: Newsroom, receiver: Receiver) -> None:
    """After 5 s, then 5 min, under the same id; each attempt is recorded with its reason."""
    await room.task(notify=[hook(receiver)])
    receiver.say(500)
    receiver.say(503)
    async with room.telling():
        await room.complete()
        await room.happened(noted.DeliveryRequested)
        for n, pause in enumerate((6, 6, 331), 1):
            room.clock.advance(pause)
            await receiver.called(n)
            await room.happened(noted.DeliveryFailed, min(n, 2))
        await room.happened(noted.DeliverySent)
    assert len({call.headers["webhook-id"] for call in receiver.calls}) == 1
    (told,) = await room.told()
    failures = told.of(noted.DeliveryFailed)
    assert [getattr(one, "error", "") for one in failures] == ["answered 500", "answered 503"]
    assert [getattr(one, "attempt", 0) for one in told.of(noted.DeliverySent)] == [3]


async def test_a_dead_channel_is_one_alert(room: Newsroom, receiver: Receiver) -> None:
    """After the last attempt its user is told, through another channel, once."""
    async with receiving() as dead:
        for _ in range(2 * (len(RETRY_SEC) + 1)):
            dead.say(500)
        await room.settings("ann", hook(dead), hook(receiver, "/alerts"))
        await room.task(1)
        await room.task(2)
        async with room.telling():
            for number in (1, 2):
                await room.complete(number)
                await room.happened(noted.DeliveryRequested, 2 * number)
                room.clock.advance(6)
                await receiver.called(number if number == 1 else 3)
                for n, pause in enumerate(RETRY_SEC, 1):
                    await room.happened(noted.DeliveryFailed, (number - 1) * 8 + n)
                    room.clock.advance(pause * 1.1 + 1)
                await room.happened(noted.DeliveryFailed, number * 8)
                await room.happened(noted.ChannelFailed)
                await receiver.called(number + 1)
            await room.settled()
    assert len(dead.calls) == 16
    assert len(await room.happened(noted.ChannelFailed)) == 1
    kinds = [one["type"] for one in notifications(receiver)]
    assert sorted(kinds) == ["system_alert", "task_completed", "task_completed"]
    alert = next(one for one in notifications(receiver) if one["type"] == "system_alert")
    assert mask(hook(dead)) in alert["title"]
    assert "answered 500" in alert["content"]


async def test_410_disables_a_channel(room: Newsroom, receiver: Receiver) -> None:
    """Nothing is sent to it any more, until settings are saved; its user is told."""
    await room.settings("ann", hook(receiver))
    receiver.say(410)
    await room.task(1)
    await room.task(2)
    await room.task(3)
    async with room.telling():
        await room.complete(1)
        await room.happened(noted.DeliveryRequested)
        room.clock.advance(6)
        (failed,) = await room.happened(noted.ChannelFailed)
        assert isinstance(failed, noted.ChannelFailed)
        assert (failed.user, failed.disabled) == ("ann", True)
        await room.happened(noted.NotificationCreated, 2)
        await room.complete(2)
        await room.happened(noted.NotificationCreated, 3)
        await room.settled()
        assert len(receiver.calls) == 1
        await room.settings("ann", hook(receiver))
        await room.complete(3)
        await room.happened(noted.DeliveryRequested, 2)
        room.clock.advance(6)
        await receiver.called(2)
    alerts = [one for one in await room.told() if one.notification.task_id is None]
    assert [one.notification.user for one in alerts] == ["ann"]


async def test_a_channel_that_works_again_is_whole(room: Newsroom, receiver: Receiver) -> None:
    """What is refused for good is told once; a success ends that, without anybody's help."""
    await room.settings("ann", "slack://ops")
    await room.task(1)
    await room.task(2)
    async with room.telling():
        await room.complete(1)
        await room.happened(noted.DeliveryRequested)
        room.clock.advance(6)
        await room.happened(noted.ChannelFailed)
    slack = {"ops": "slack://xoxb-123456789/#ops"}
    room.options = type(room.options)(
        secrets=room.options.secrets,
        allowed=room.options.allowed,
        slack=slack,
        slack_api=receiver.url,
    )
    receiver.say(200, {"ok": True, "ts": "1.2"})
    async with room.telling("two"):
        await room.complete(2)
        await room.happened(noted.DeliveryRequested, 2)
        room.clock.advance(6)
        await room.happened(noted.ChannelRecovered)


async def test_a_channel_nobody_names_any_more_gets_nothing(
    room: Newsroom, receiver: Receiver
) -> None:
    """Who takes it out of the settings ends messages that wait."""
    await room.settings("ann", hook(receiver))
    await room.task()
    async with room.telling():
        await room.complete()
        await room.happened(noted.DeliveryRequested)
        await room.settings("ann")
        room.clock.advance(6)
        (failed,) = await room.happened(noted.DeliveryFailed)
    assert isinstance(failed, noted.DeliveryFailed)
    assert failed.error == "nobody names this channel any more"
    assert failed.next_at is None
    assert receiver.calls == []


async def test_one_channel_does_not_hold_up_another(room: Newsroom, receiver: Receiver) -> None:
    """Nor does it hold up the log: what happens meanwhile is told."""
    async with receiving() as slow:
        slow.hold.clear()
        await room.task(1, notify=[hook(slow), hook(receiver)])
        await room.task(2, notify=[hook(receiver)])
        async with room.telling():
            await room.complete(1)
            await room.happened(noted.DeliveryRequested, 2)
            room.clock.advance(6)
            await slow.called()
            await receiver.called()
            await room.ask(2)
            await room.happened(noted.DeliveryRequested, 3)
            room.clock.advance(1.1)
            await receiver.called(2)
        slow.hold.set()
    assert titles(receiver) == ["Completed: task 1", "Approval needed: task 2"]


async def test_a_request_waits_for_no_other_message(room: Newsroom, receiver: Receiver) -> None:
    """Not even for one that hangs in the same channel; other messages wait for that one."""
    await room.settings("ann", hook(receiver), debounce_sec=0)
    for number in (1, 2, 3):
        await room.task(number)
    receiver.hold.clear()
    async with room.telling():
        await room.complete(1)
        await receiver.called()
        await room.complete(2)
        await room.happened(noted.DeliveryRequested, 2)
        await room.ask(3)
        await receiver.called(2)
        receiver.hold.set()
        await receiver.called(3)
        await room.happened(noted.DeliverySent, 3)
    assert titles(receiver) == [
        "Completed: task 1",
        "Approval needed: task 3",
        "Completed: task 2",
    ]


async def test_a_daemon_that_is_away_is_waited_for(room: Newsroom, receiver: Receiver) -> None:
    """Nothing is left out, and a message that was sent is reported, not sent again."""
    await room.task(1, notify=[hook(receiver)])
    await room.task(2, notify=[hook(receiver)])
    async with room.telling():
        await room.complete(1)
        await room.happened(noted.DeliveryRequested)
        receiver.hold.clear()
        room.clock.advance(6)
        await receiver.called()
        room.sender.away = True
        receiver.hold.set()
        await room.complete(2)
        await until(lambda: room.sender.refused >= 5)
        room.sender.away = False
        await room.happened(noted.DeliverySent)
        await room.happened(noted.DeliveryRequested, 2)
        room.clock.advance(6)
        await room.happened(noted.DeliverySent, 2)
    assert titles(receiver) == ["Completed: task 1", "Completed: task 2"]


async def test_a_database_that_restarts_is_waited_for(
    room: Newsroom, receiver: Receiver, servers: TestServers
) -> None:
    """The notifier goes on by itself, where it was."""
    await room.task(1, notify=[hook(receiver)])
    async with room.telling():
        await room.happened(did.TaskStarted)
        await servers.restart_postgres()
        await room.complete(1)
        room.clock.advance(6)
        await room.happened(noted.DeliverySent)
    assert titles(receiver) == ["Completed: task 1"]


# --- together --------------------------------------------------------------------------------


async def test_messages_of_one_task_become_one(room: Newsroom, receiver: Receiver) -> None:
    """What happens to a task within the settings' seconds is one message, the urgent first."""
    await room.settings("ann", hook(receiver), debounce_sec=300)
    await room.task()
    async with room.telling():
        await room.fail()
        await room.add(
            "task-42",
            did.TaskRetried(from_status=did.Status.FAILED, attempt=2, not_before=room.clock.now()),
        )
        await room.ask()
        await room.happened(noted.DeliveryRequested, 2)
        room.clock.advance(1.1)
        await receiver.called()
        await room.happened(noted.DeliverySent, 2)
    (call,) = receiver.calls
    assert call.json["data"]["title"] == "Approval needed: task 42 (and 1 more)"
    assert [one["type"] for one in notifications(receiver)] == [
        "confirmation_required",
        "task_failed",
    ]


async def test_a_flood_is_a_digest(room: Newsroom, receiver: Receiver) -> None:
    """Ten messages a minute through one channel, the last of them with all the rest."""
    await room.settings("ann", hook(receiver), debounce_sec=300)
    for number in range(1, 31):
        await room.task(number)
    async with room.telling():
        for number in range(1, 31):
            await room.complete(number)
        await room.happened(noted.DeliveryRequested, 30)
        room.clock.advance(301)
        await room.happened(noted.DeliverySent, 30)
        await room.ask(30)
        await room.happened(noted.DeliveryRequested, 31)
        room.clock.advance(1.1)
        await room.happened(noted.DeliverySent, 31)
    digests = [call.json["data"] for call in receiver.calls if call.json["data"]["digest"]]
    assert [len(one["notifications"]) for one in digests] == [21]
    assert len(receiver.calls) == 11
    assert titles(receiver)[-1] == "Approval needed: task 30"


# --- decided ---------------------------------------------------------------------------------


async def test_reminders_until_it_is_decided(room: Newsroom, receiver: Receiver) -> None:
    """At half of the time, and at nine tenths; then the decision is recorded, and nothing sent."""
    await room.task(notify=[hook(receiver)])
    async with room.telling():
        confirmation = await room.ask(time=timedelta(hours=10))
        await room.happened(noted.DeliveryRequested)
        room.clock.advance(2)
        for n, hours in enumerate((5, 4), 2):
            await receiver.called(n - 1)
            room.clock.advance(hours * 3_600)
        await receiver.called(3)
        await room.decide(confirmation)
        decided = await room.happened(noted.NotificationDecided, 3)
    assert titles(receiver) == [
        "Approval needed: task 42",
        "Reminder: Approval needed: task 42",
        "Reminder: Approval needed: task 42",
    ]
    assert {getattr(one, "outcome", None) for one in decided} == {Resolution.APPROVED}
    assert {getattr(one, "by", None) for one in decided} == {"olga"}
    links = {one["url"] for one in notifications(receiver)}
    assert len(links) == 1


async def test_what_was_decided_is_not_asked_for(room: Newsroom, receiver: Receiver) -> None:
    """A message that waits is dropped with the decision, and so are reminders."""
    await room.task(notify=[hook(receiver)])
    receiver.say(500)
    async with room.telling():
        confirmation = await room.ask()
        await room.happened(noted.DeliveryRequested)
        room.clock.advance(1.1)
        await room.happened(noted.DeliveryFailed)
        await room.decide(confirmation)
        await room.happened(noted.NotificationDecided, 3)
        room.clock.advance(2 * DAY.total_seconds())
        await room.complete()
        await room.happened(noted.DeliverySent)
    assert titles(receiver) == ["Approval needed: task 42", "Completed: task 42"]


async def test_decided_before_it_was_told(room: Newsroom, receiver: Receiver) -> None:
    """Nobody was there to tell: the notifications are decided at once, and no message is sent."""
    await room.task(notify=[hook(receiver)])
    confirmation = await room.ask()
    await room.decide(confirmation)
    room.clock.advance(DAY.total_seconds())
    async with room.telling():
        await room.happened(noted.NotificationDecided, 3)
        await room.complete()
        await room.happened(noted.DeliveryRequested, 2)
        room.clock.advance(6)
        await receiver.called()
        await room.settled()
    assert titles(receiver) == ["Completed: task 42"]


async def test_who_was_told_is_told_of_the_end(room: Newsroom, receiver: Receiver) -> None:
    """Also who left the project meanwhile, and watchers of then."""
    await room.task(watchers=["mel"])
    async with room.telling():
        confirmation = await room.ask()
        await room.happened(noted.NotificationCreated, 4)
        await room.add("project-1", MemberRemoved(user="max"))
        await room.add("task-42", did.TaskUpdated(metadata={}))
        await room.decide(confirmation)
        await room.happened(noted.NotificationDecided, 4)
    assert all(one.of(noted.NotificationDecided) for one in await room.told())


async def test_the_same_event_makes_the_same_ids(room: Newsroom, receiver: Receiver) -> None:
    """A notification's id is made of the event and its user: any reader of the log knows it."""
    await room.task()
    async with room.telling():
        await room.complete()
        await room.happened(noted.NotificationCreated)
    (event,) = [e for e in await room.at.log.everything() if e.type == "task.completed"]
    (told,) = await room.told()
    assert told.notification.notification_id == notification_id(event.event_id, "ann")
    assert told.notification.event_id == event.event_id
