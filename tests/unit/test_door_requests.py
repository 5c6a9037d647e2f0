"""What programs of an agent ask for at a door, by example."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from events.calls import Scope, Verdict
from events.commands import Decision
from events.task import Usage
from pandar_daemon.domain import hearing as heard
from pandar_daemon.domain import talking as talk
from pandar_daemon.domain.conversation import Phase
from pandar_daemon.domain.door_requests import ordered
from tests.support.calls import command
from tests.support.talks import (
    CANCELLED,
    GATE,
    LOOK,
    OTHER_PUSH,
    PUSH,
    SUDO,
    Chat,
    asked,
    call_of,
    confirmation,
    decided,
    denied,
    resume,
    settled,
)

AT_DOOR = asked(PUSH, "door:1")


def test_it_is_judged_like_the_agent() -> None:
    """Allowed, refused, asked about."""
    chat = Chat.begun()
    assert settled(chat.hear(asked(LOOK, "door:1"))).verdict is Verdict.ALLOW
    assert settled(chat.hear(asked(SUDO, "door:2"))).verdict is Verdict.DENY
    assert call_of(chat.hear(asked(PUSH, "door:3"))) == PUSH
    assert chat.conversation.phase is Phase.WAITING


def test_an_approval_is_answered_there() -> None:
    """Recorded under the request made at the door."""
    chat = Chat.begun(AT_DOOR)
    settle = settled(chat.answer(decided()))
    assert (settle.request_id, settle.verdict) == ("door:1", Verdict.ALLOW)
    assert settle.confirmation_id == confirmation(1)


@pytest.mark.parametrize("softly", [True, False])
def test_a_denial_with_words_ends_no_turn(softly: bool) -> None:
    """Whoever is at the door hears them, whatever the agent could."""
    (settle,) = Chat.begun(AT_DOOR, denies_softly=softly).answer(denied("not now"))
    assert isinstance(settle, talk.Settle)
    assert (settle.quiet, "not now" in settle.text) == (False, True)


def test_what_is_never_done_ends_no_turn_either() -> None:
    """Also with an agent that takes a refusal for the end."""
    (settle,) = Chat.begun(denies_softly=False).hear(asked(SUDO, "door:1"))
    assert isinstance(settle, talk.Settle)
    assert not settle.quiet


def test_they_take_turns_with_the_agent() -> None:
    """Whoever comes second waits."""
    chat = Chat.begun(asked(PUSH, "1"))
    assert chat.hear(AT_DOOR) == []
    settle, ask = chat.answer(decided())
    assert isinstance(settle, talk.Settle)
    assert isinstance(ask, talk.AskCall)
    assert settle.request_id == "1"


def test_a_cancelled_turn_refuses_in_words() -> None:
    """Whoever waits, and whoever comes until it has ended."""
    chat = Chat.begun(AT_DOOR, max_cost_usd=1.0)
    chat.answer(decided())
    chat.hear(asked(LOOK, "2"))
    effects = chat.hear(heard.Used(usage=Usage(cost_usd=5.0)))
    assert effects == [talk.CancelTurn()]
    (refuse,) = chat.hear(asked(PUSH, "door:9"))
    assert isinstance(refuse, talk.Refuse)
    assert "cancelled" in refuse.text


def test_the_end_of_a_turn_refuses_who_waits() -> None:
    """With whom the agent said nothing about."""
    chat = Chat.begun(AT_DOOR)
    effects = chat.hear(CANCELLED)
    assert [type(each) for each in effects] == [talk.Withdraw, talk.Refuse, talk.Conclude]


def test_who_goes_away_needs_no_decision() -> None:
    """What was asked is withdrawn."""
    effects = Chat.begun(AT_DOOR).hear(heard.Withdrawn(request_id="door:1"))
    assert [type(each) for each in effects] == [talk.Withdraw]


def test_before_the_first_turn_only_people_are_waited_for() -> None:
    """What needs no people is done at once."""
    chat = Chat()
    assert settled(chat.hear(asked(LOOK, "door:1"))).verdict is Verdict.ALLOW
    assert chat.hear(asked(PUSH, "door:2")) == []
    *_, ask = chat.hear(heard.Ready(session_id="s-1"))
    assert isinstance(ask, talk.AskCall)


def test_an_approval_made_while_it_was_parked_is_used_once() -> None:
    """By the first call with its hash, wherever that is asked."""
    chat = Chat.begun(resume=resume(decided()))
    first = settled(chat.hear(AT_DOOR))
    assert (first.verdict, first.confirmation_id) == (Verdict.ALLOW, confirmation(9))
    assert call_of(chat.hear(asked(PUSH, "door:2"))) == PUSH


def test_an_approval_that_is_void_asks_anew() -> None:
    """At the door, too; whoever left meanwhile is not asked about."""
    chat = Chat.begun(AT_DOOR)
    chat.answer(decided())
    assert call_of(chat.unrecorded(PUSH, "door:1")) == PUSH
    assert settled(chat.answer(decided(Decision.DENY))).verdict is Verdict.DENY


def test_what_the_door_asks_is_not_asked_twice() -> None:
    """The agent's own wish is allowed, on record, where its gate is one of the door's."""
    chat = Chat.begun(doors=frozenset({GATE}))
    settle = settled(chat.hear(asked(PUSH)))
    assert (settle.verdict, settle.rule, settle.gates) == (Verdict.ALLOW, "door", (GATE,))
    assert call_of(chat.hear(AT_DOOR)) == PUSH


def test_a_door_of_another_gate_changes_nothing() -> None:
    """Every gate must be asked about there."""
    chat = Chat.begun(doors=frozenset({"package_publish"}))
    assert call_of(chat.hear(asked(PUSH))) == PUSH


def foreseen(request_id: str = "1") -> heard.Asked:
    """Return that the agent wants what will come to the door."""
    return replace(asked(PUSH, request_id), foreseen=True)


def test_what_comes_to_the_door_is_approved_before() -> None:
    """The agent is let on; the approval is used at the door, once."""
    chat = Chat.begun(foreseen())
    own = settled(chat.answer(decided()))
    assert (own.verdict, own.rule, own.confirmation_id) == (Verdict.ALLOW, "door", None)
    at_door = settled(chat.hear(AT_DOOR))
    assert (at_door.verdict, at_door.confirmation_id) == (Verdict.ALLOW, confirmation(1))
    assert call_of(chat.hear(asked(PUSH, "door:2"))) == PUSH


def test_another_question_voids_what_did_not_come_to_the_door() -> None:
    """As the log has it: an approval is for what comes next."""
    chat = Chat.begun(foreseen())
    chat.answer(decided())
    chat.hear(asked(OTHER_PUSH, "2"))
    chat.answer(denied())
    assert call_of(chat.hear(AT_DOOR)) == PUSH


def test_what_was_denied_before_comes_to_no_door() -> None:
    """It is asked about there as ever."""
    chat = Chat.begun(foreseen())
    assert settled(chat.answer(denied())).verdict is Verdict.DENY
    assert call_of(chat.hear(AT_DOOR)) == PUSH


def test_an_approval_made_while_it_was_parked_is_used_at_the_door() -> None:
    """Also when the agent asks again by itself."""
    chat = Chat.begun(resume=resume(decided()))
    own = settled(chat.hear(foreseen()))
    assert (own.verdict, own.rule, own.confirmation_id) == (Verdict.ALLOW, "door", None)
    assert settled(chat.hear(AT_DOOR)).confirmation_id == confirmation(9)


def test_a_wider_approval_is_used_at_the_door_too() -> None:
    """And reaches as far."""
    chat = Chat.begun(foreseen())
    chat.answer(decided(scope=Scope.EXECUTION))
    assert settled(chat.hear(AT_DOOR)).confirmation_id == confirmation(1)
    assert settled(chat.hear(asked(OTHER_PUSH, "door:2"))).verdict is Verdict.ALLOW


ORDERED = {
    "git push origin main": ("git", "push", "origin", "main"),
    "/usr/bin/git push 'a b'": ("/usr/bin/git", "push", "a b"),
    "git push && ls": (),
    "git push $BRANCH": (),
    "A=b git push": (),
    "git push > log": (),
    "sh -c 'git push'": (),
    "": (),
}


@pytest.mark.parametrize("text", ORDERED)
def test_plain_commands(text: str) -> None:
    """Are the ones of which one can tell what comes to the door."""
    assert ordered(command(text)) == ORDERED[text]
