"""The page of an approval link: whole, harmless and plain, whatever stands on the card."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from events.instant import text as rfc3339
from events.task import Json, Usage
from pandar_daemon.adapters.http.guesses import ADDRESSES_MAX, GUESSES_MAX, Guesses
from pandar_daemon.adapters.http.pages import blocks, html, page, patterns, texts
from pandar_daemon.adapters.http.pages.form import Entered
from pandar_daemon.adapters.http.pages.page import Approval
from pandar_daemon.domain import links
from pandar_daemon.domain.card import Deadline, Subject, budget_card, question_card
from pandar_daemon.domain.shell_runs import runs
from tests.support.approvals import push_card
from tests.support.clock import ManualClock

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
DEADLINE = Deadline(expires_at=NOW)
WHOSE = Subject(task_id=42, task_name="Audit", project_id=1, agent="claude", branch="b")


def approval(card: Json | None = None, **changes: object) -> Approval:
    """Return what a page is about: a push that waits, unless told otherwise."""
    fields = {
        "task_id": 42,
        "project_id": 1,
        "gate": "git_push_protected",
        "card": push_card() if card is None else card,
        "card_sha256": "5a" * 32,
        "expires_at": rfc3339(NOW + timedelta(hours=2)),
        "on_timeout": "deny",
        "escalated": False,
        "quorum": 1,
        "votes": [],
        "prevent_self_approval": False,
        "status": "pending",
        "decided_by": None,
        "decided_at": None,
        "reason": None,
        "scope": None,
        "pattern": None,
    }
    task = {"id": 42, "name": "Audit", "status": "waiting_confirmation", "created_by": "ann"}
    return Approval(
        confirmation={**fields, **changes}, task=task, approver="ann", now=NOW, proof="p"
    )


# --- markup ----------------------------------------------------------------------------------


def test_what_is_no_html_becomes_text() -> None:
    """Children and values of attributes are escaped; names of attributes are as HTML has them."""
    made = html.el("p", "<b>&", html.el("br"), None, ["x"], class_='a"b', data_n=1, hidden=True)
    assert made == '<p class="a&quot;b" data-n="1" hidden>&lt;b&gt;&amp;<br>x</p>'
    assert html.el("input", name="x", checked=False, value=None) == '<input name="x">'


def test_what_shows_nothing_is_named_once() -> None:
    """A card has it named already; naming it again changes nothing."""
    named = html.harmless("a\u202eb\u200b\x1b\r\nc")
    assert named == "a⟨U+202E⟩b⟨U+200B⟩⟨U+001B⟩\nc"
    assert html.harmless(named) == named


HOSTILE = "</script><script>alert(1)</script>\" onload='x' \u202e\x1b[31m<!-- ]]> &amp;"


@pytest.mark.parametrize("status", ["pending", "approved"])
def test_a_hostile_card_stays_text(status: str) -> None:
    """Whatever an agent, a user or a runner of somebody else's writes, wherever it stands."""
    for kind in ("call", "question", "budget", "lost_runner", HOSTILE):
        card: Json = dict.fromkeys(push_card(), HOSTILE) | {
            "kind": kind,
            "gates": [HOSTILE],
            "paths": [HOSTILE],
            "choices": [HOSTILE],
            "question": HOSTILE,
            "diff": f"+{HOSTILE}",
            "input": HOSTILE,
            "spent": {HOSTILE: HOSTILE},
            "cut": [HOSTILE],
        }
        entered = Entered(reason=HOSTILE, choice=HOSTILE, pattern=HOSTILE, scope=HOSTILE)
        made = approval(
            card, gate=HOSTILE, status=status, reason=HOSTILE, decided_by=HOSTILE, pattern=HOSTILE
        )
        shown = page.shown(made, entered=entered, problem=HOSTILE)
        assert shown.count("<script") == 1
        assert "<!--" not in shown
        assert "onload='x'" not in shown.replace("onload='x' ⟨", "")
        assert not set(shown) & {"\u202e", "\x1b"}


@pytest.mark.parametrize(
    "card",
    [
        {},
        {"command": "git push"},
        {"kind": "call", "gates": "x", "paths": {}, "severity": 7, "spent": [1], "cut": True},
        {"kind": "budget", "spent": "x", "limits": {"max_cost_usd": "much", "x": None}},
        {"kind": "question", "choices": [1, None, {"a": []}]},
        {"anything": [{"deep": {"er": 1}}], "why": ["x"], "title": {"a": 1}},
    ],
)
def test_cards_of_others(card: Json) -> None:
    """A card of any shape is a page, on which at least its JSON can be read."""
    shown = page.shown(approval(card, gate="their_own"))
    assert blocks.has_more(card) == ('class="whole-card" open' in shown)
    assert 'value="approve"' in shown or 'value="changes"' in shown
    for name in card:
        assert f"&quot;{name}&quot;" in shown or f'"{name}"' in shown


def test_a_card_of_ours_has_nothing_hidden() -> None:
    """All that stands on it has its place; of a card with more, the whole is opened."""
    for card in (push_card(), question_card(WHOSE, "?", ["a"], DEADLINE)):
        assert not blocks.has_more(card)
    spent = budget_card(WHOSE, Usage(cost_usd=1.5), {"max_tokens": 5}, DEADLINE, why="much")
    assert not blocks.has_more(spent)
    assert blocks.has_more({**push_card(), "also": "this"})
    assert 'class="whole-card" open' not in page.shown(approval())


# --- words -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("card", "gate", "title"),
    [
        ({"agent": "claude"}, "git_push_protected", "Claude wants to push to a remote"),
        ({"agent": "codex", "call_kind": "edit"}, "manual", "Codex wants to edit a file"),
        ({"command": "x"}, "unclassified", "The agent wants to run a command"),
        ({}, "their_own", "The agent wants to go on"),
        ({"kind": "question", "agent": "gemini"}, "question", "Gemini has a question"),
        ({"kind": "question"}, "question", "The task has a question"),
        ({"kind": "budget", "agent": "claude"}, "budget", "Claude has used up its budget"),
        ({"gate": "lost_runner"}, "lost_runner", "The runner was lost. Run it again?"),
    ],
)
def test_titles(card: Json, gate: str, title: str) -> None:
    """The first line says who wants what."""
    assert texts.title(card, gate) == title


@pytest.mark.parametrize(
    ("seconds", "left"),
    [
        (90_000, "1 d 1 h left"),
        (7_260, "2 h 1 min left"),
        (61, "1 min 1 s left"),
        (59, "59 s left"),
        (0, "Time is up"),
        (-5, "Time is up"),
    ],
)
def test_how_long_is_left(seconds: int, left: str) -> None:
    """In two units at most."""
    assert texts.left(NOW + timedelta(seconds=seconds), NOW) == left


def test_how_a_task_is() -> None:
    """Its status in words, and what is worth saying with it."""
    for task, said in (
        ({"status": "running", "progress": 40}, "The task goes on, 40 %"),
        ({"status": "running", "status_reason": "resuming"}, "The task goes on: resuming"),
        ({"status": "failed", "exit_code": 3}, "The task failed: exit code 3"),
        (
            {"status": "pending", "status_reason": "retry_at"},
            "The task waits for its turn: retry at",
        ),
        ({"status": "of the future"}, "of the future"),
        (None, "The task is not shown any more"),
    ):
        assert texts.of_task(task) == said


# --- the form --------------------------------------------------------------------------------


def test_enter_presses_a_button_that_does_nothing() -> None:
    """The first button of the form has no decision, and nobody sees it."""
    shown = page.shown(approval())
    first = shown[shown.index("<button") :].partition(">")[0]
    assert 'class="hidden"' in first
    assert "decision" not in first
    assert "autofocus" not in shown


@pytest.mark.parametrize(
    ("card", "gate", "decisions"),
    [
        (None, "git_push_protected", ["deny", "changes", "approve"]),
        ({"kind": "question", "question": "?"}, "question", ["deny", "approve", "changes"]),
        ({"kind": "budget"}, "budget", ["deny", "approve"]),
        ({"gate": "lost_runner"}, "lost_runner", ["deny", "approve"]),
    ],
)
def test_ways_to_decide(card: Json | None, gate: str, decisions: list[str]) -> None:
    """Those that make sense; the one that goes on is the last, under the thumb."""
    shown = page.shown(approval(card, gate=gate))
    found = [part.partition('"')[0] for part in shown.split('name="decision" value="')[1:]]
    assert found == decisions


@pytest.mark.parametrize(
    ("card", "pattern"),
    [
        ({"command": "git push origin main"}, "git push origin main"),
        ({"command": "rm -rf 'a b'"}, ""),
        ({"command": "rm -rf *"}, ""),
        ({"command": "rm 'what*'"}, "rm what[*]"),
        ({"command": "cd x && git push"}, ""),
        ({"command": "echo $HOME"}, ""),
        ({"command": "git push", "cut": ["command"]}, ""),
        ({"command": "git ⟨U+202E⟩"}, ""),
        ({"paths": ["/etc/hosts"]}, "/etc/hosts"),
        ({"paths": ["a", "b"]}, ""),
        ({"hosts": ["example.com"]}, "example.com"),
        ({}, ""),
    ],
)
def test_the_suggested_pattern(card: Json, pattern: str) -> None:
    """It fits what the card shows and nothing else; where that cannot be written, there is none."""
    assert patterns.suggested(card) == pattern
    for run in runs(pattern):
        assert run.written


# --- links -----------------------------------------------------------------------------------


def test_the_text_of_a_link() -> None:
    """It has 256 bits, is as long always, and is known by its hash."""
    ids = [UUID(int=n) for n in range(links.IDS)]
    token = links.secret(ids)
    assert links.is_secret(token)
    assert links.secret(ids) == token != links.secret(reversed(ids))
    assert len(links.sha256(token)) == 64
    assert links.address("https://pandar.example/", token) == f"https://pandar.example/a/{token}"
    for text in ("", token[:-1], f"{token}x", f"{token[:-1]}\n", f"{token[:-1]}/"):
        assert not links.is_secret(text)


def test_the_proof_of_a_form() -> None:
    """It is good for one link and one card."""
    proof = links.form_proof("t", "c")
    assert links.is_form_proof(proof, "t", "c")
    for text, token, card in (
        (proof, "u", "c"),
        (proof, "t", "d"),
        ("", "t", "c"),
        ("é", "t", "c"),
    ):
        assert not links.is_form_proof(text, token, card)


def test_guesses_are_counted_by_address(clock: ManualClock) -> None:
    """So many, then a minute's wait; others, and the same one later, are free."""
    guesses = Guesses(clock)
    for _ in range(GUESSES_MAX):
        assert guesses.wait_sec("a") == 0
        guesses.note("a")
    assert guesses.wait_sec("a") == 60
    assert guesses.wait_sec("b") == 0
    clock.advance(61)
    assert guesses.wait_sec("a") == 0
    guesses.note("a")
    assert guesses.wait_sec("a") == 0


def test_only_so_many_addresses_are_remembered(clock: ManualClock) -> None:
    """Who guesses from ever new addresses costs no more memory than this."""
    guesses = Guesses(clock)
    for number in range(ADDRESSES_MAX + 5):
        guesses.note(str(number))
    assert len(guesses._counts) == ADDRESSES_MAX
