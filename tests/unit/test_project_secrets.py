"""Every rule about the secrets of a project, by example."""

from __future__ import annotations

from collections.abc import Sequence

from events import secret as did
from events.secret import (
    SECRETS_MAX,
    MakeKey,
    RemoveSecret,
    ResealKey,
    SecretEvent,
    SecretUse,
    SetSecret,
)
from pandar_daemon.domain import project_secrets
from pandar_daemon.domain.project_secrets import (
    PAGE_MAX,
    ProjectSecrets,
    SecretCommand,
    evolve,
    initial,
    key_of,
    page,
)
from pandar_daemon.domain.refusals import NotFound, Refusal, Rejected
from tests.support.given import PROJECT_ID, USER, When, prove_told_truly

KEY, OTHER_KEY = "0" * 16, "1" * 16
MADE = did.KeyMade(key_id=KEY, sealed="k1.m.a")


def sealed(body: str = "a", key: str = KEY) -> str:
    """Return what looks like a sealed value."""
    return f"v1.{key}.{body}"


def given_secrets(events: Sequence[SecretEvent]) -> ProjectSecrets:
    """Return the secrets these events make."""
    state = initial(PROJECT_ID)
    for event in events:
        state = evolve(state, event)
    return state


def when(events: Sequence[SecretEvent], command: SecretCommand) -> When:
    """Return what the rules say to a command after some events."""
    state = given_secrets(events)
    try:
        happened = tuple(project_secrets.decide(state, command, USER))
    except Refusal as refusal:
        return When(state, refusal=refusal)
    prove_told_truly(state, happened, evolve)
    return When(state, happened)


TOKEN = did.SecretSet(name="TOKEN", sealed=sealed())


def test_a_secret_is_set() -> None:
    """With all that is known of it."""
    command = SetSecret(name="TOKEN", sealed=sealed(), use=SecretUse.GIT, description="d")
    when([MADE], command).then(
        [did.SecretSet(name="TOKEN", sealed=sealed(), use=SecretUse.GIT, description="d")]
    )


def test_the_same_value_again_is_nothing() -> None:
    """Another value, use or description is something."""
    same = SetSecret(name="TOKEN", sealed=sealed())
    when([MADE, TOKEN], same).then_nothing()
    for other in (
        SetSecret(name="TOKEN", sealed=sealed("b")),
        SetSecret(name="TOKEN", sealed=sealed(), use=SecretUse.GIT),
        SetSecret(name="TOKEN", sealed=sealed(), description="d"),
    ):
        assert len(when([MADE, TOKEN], other).happened) == 1


def test_what_another_key_sealed_is_refused() -> None:
    """Also where there is no key at all: nobody could ever read it."""
    detail = "TOKEN is not sealed with the data key of project 1: set it again"
    when([], SetSecret(name="TOKEN", sealed=sealed())).refuses(Rejected, detail)
    other = SetSecret(name="TOKEN", sealed=sealed(key=OTHER_KEY))
    when([MADE], other).refuses(Rejected, detail)


def test_a_project_has_a_hundred_at_most() -> None:
    """A new name is refused; another value of an old one is not, and one removed makes room."""
    full: list[SecretEvent] = [MADE]
    full += [did.SecretSet(name=f"S{n}", sealed=sealed()) for n in range(SECRETS_MAX)]
    one_more = SetSecret(name="ONE_MORE", sealed=sealed())
    detail = "project 1 has 100 secrets, the most there can be: remove one"
    when(full, one_more).refuses(Rejected, detail)
    assert len(when(full, SetSecret(name="S0", sealed=sealed("b"))).happened) == 1
    assert len(when([*full, did.SecretRemoved(name="S0")], one_more).happened) == 1


def test_a_repository_takes_one() -> None:
    """A second one is refused by the name of the first; the first may change."""
    first = did.SecretSet(name="LOGIN", sealed=sealed(), use=SecretUse.GIT)
    second = SetSecret(name="KEY", sealed=sealed(), use=SecretUse.GIT)
    detail = "project 1 has LOGIN for its repository: set that one, or remove it"
    when([MADE, first], second).refuses(Rejected, detail)
    again = SetSecret(name="LOGIN", sealed=sealed("b"), use=SecretUse.GIT)
    assert len(when([MADE, first], again).happened) == 1
    assert len(when([MADE, first, did.SecretRemoved(name="LOGIN")], second).happened) == 1


def test_a_secret_is_removed() -> None:
    """One that is not there was perhaps misspelt: to say yes would leave it in use."""
    when([MADE, TOKEN], RemoveSecret(name="TOKEN")).then([did.SecretRemoved(name="TOKEN")])
    missing = "there is no secret TOKEN in project 1"
    when([MADE], RemoveSecret(name="TOKEN")).refuses(NotFound, missing)


def test_a_key_is_made_once() -> None:
    """Who comes second uses the key there is."""
    command = MakeKey(key_id=OTHER_KEY, sealed="k1.m.b")
    when([], command).then([did.KeyMade(key_id=OTHER_KEY, sealed="k1.m.b")])
    when([MADE], command).then_nothing()


def test_a_lost_key_is_replaced_while_nothing_needs_it() -> None:
    """And only the one that is meant."""
    command = MakeKey(key_id=OTHER_KEY, sealed="k1.m.b", replaces=KEY)
    made = did.KeyMade(key_id=OTHER_KEY, sealed="k1.m.b")
    when([MADE], command).then([made])
    when([MADE, TOKEN], command).then_nothing()
    when([MADE, made], command).then_nothing()
    when([MADE, TOKEN, did.SecretRemoved(name="TOKEN")], command).then([made])


def test_a_key_gets_another_master_key() -> None:
    """The same key, or it is refused; the same again is nothing."""
    command = ResealKey(key_id=KEY, sealed="k1.n.a")
    resealed = did.KeyResealed(key_id=KEY, sealed="k1.n.a")
    when([MADE, TOKEN], command).then([resealed])
    when([MADE, resealed], command).then_nothing()
    for events in ([], [did.KeyMade(key_id=OTHER_KEY, sealed="k1.m.b")]):
        when(events, command).refuses(Rejected, "project 1 has another data key")


def test_pages_fit_a_message() -> None:
    """All are told, each once, by name; one that is larger than a page is a page."""
    large = [
        did.SecretSet(name=f"S{n:02}", sealed=sealed("x" * (PAGE_MAX // 3))) for n in range(10)
    ]
    state = given_secrets([MADE, *large, did.SecretSet(name="T", sealed=sealed("x" * PAGE_MAX))])
    names: list[str] = []
    more, pages = True, 0
    while more:
        items, more = page(state, names[-1] if names else "")
        names += [item.name for item in items]
        pages += 1
    assert names == sorted(state.held)
    assert pages == 6
    assert page(initial(1), "") == ([], False)


def test_the_key_of_what_is_no_sealed_text() -> None:
    """It is none."""
    assert key_of(sealed()) == KEY
    for text in ("", "v1", "v1.only", "plain text"):
        assert key_of(text) == ""
