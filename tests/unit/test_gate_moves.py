"""What a push touches, by what it moves."""

from __future__ import annotations

import pytest

from events.calls import Allowance, CallKind, GateRule, Match, RefMove, Rules, ToolCall, Verdict
from pandar_daemon.domain.judging import judge
from tests.support.calls import HOME, WORKSPACE

OWN, MAIN = "refs/heads/pandar/1-x", "refs/heads/main"
A, B = "a" * 40, "b" * 40


def push(*moves: RefMove, command: str = "git push", paths: tuple[str, ...] = ()) -> ToolCall:
    """Return a push that was looked at."""
    return ToolCall(
        kind=CallKind.EXECUTE,
        tool="git",
        command=command,
        cwd=WORKSPACE,
        moves=list(moves),
        paths=list(paths),
        input="https://example.com/a",
    )


FORWARD = RefMove(ref=OWN, old=A, new=B, own=True)
MOVES = {
    "own, forward": (FORWARD, "policy.auto_with_gates"),
    "own, new": (RefMove(ref=OWN, new=B, own=True), "policy.auto_with_gates"),
    "own, forced": (RefMove(ref=OWN, old=A, new=B, own=True, forced=True), "force"),
    "own, gone": (RefMove(ref=OWN, old=A, own=True), "delete"),
    "own, protected": (RefMove(ref=OWN, new=B, own=True, protected=True), "branch"),
    "protected": (RefMove(ref=MAIN, old=A, new=B, protected=True), "branch"),
    "protected, forced": (RefMove(ref=MAIN, old=A, new=B, protected=True, forced=True), "force"),
    "another": (RefMove(ref="refs/heads/y", new=B), "push"),
    "a tag": (RefMove(ref="refs/tags/v1", new=B), "push"),
}


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("command", ["git push", "git push --force origin main"])
def test_moves_decide_and_not_words(name: str, command: str) -> None:
    """The task's own branch goes forward unasked."""
    move, rule = MOVES[name]
    judged = judge(push(move, command=command), Rules(), [], WORKSPACE, HOME)
    asked = not rule.startswith("policy")
    assert judged.rule == (f"git_push_protected.{rule}" if asked else rule)
    assert judged.verdict is (Verdict.ASK if asked else Verdict.ALLOW)


def test_one_move_is_enough() -> None:
    """To be asked about all."""
    judged = judge(push(FORWARD, MOVES["protected"][0]), Rules(), [], WORKSPACE, HOME)
    assert judged.verdict is Verdict.ASK


def test_policy_manual_asks_about_every_push() -> None:
    """Also of the own branch."""
    assert judge(push(FORWARD), Rules(policy="manual"), [], "/", "/").verdict is Verdict.ASK


def test_a_secret_that_is_pushed_is_asked_about() -> None:
    """Whatever branch it goes to."""
    judged = judge(push(FORWARD, paths=(".env",)), Rules(), [], WORKSPACE, HOME)
    assert judged.gates == ["secrets_access"]


def test_what_is_never_done_is_seen_in_the_moves() -> None:
    """However it is spelled."""
    denied = Rules(denied=[GateRule(name="main", match=Match(commands=["git push * main"]))])
    move = MOVES["protected"][0]
    judged = judge(push(move, command="git push origin @"), denied, [], WORKSPACE, HOME)
    assert judged.verdict is Verdict.DENY


def test_consent_given_before_is_for_moves() -> None:
    """A pattern of the plain command fits them; its force must be named."""
    wide = [Allowance(gates=["git_push_protected"], pattern="git push origin main")]
    forward, forced = MOVES["protected"][0], MOVES["protected, forced"][0]
    for command in ("git push", "git push -f origin HEAD:main"):
        allowed = judge(push(forward, command=command), Rules(), wide, WORKSPACE, HOME)
        asked = judge(push(forced, command=command), Rules(), wide, WORKSPACE, HOME)
        assert (allowed.verdict, asked.verdict) == (Verdict.ALLOW, Verdict.ASK)


def test_the_hash_is_of_the_moves() -> None:
    """Other words, the same; another commit, reference or remote, another."""
    first = push(FORWARD)
    assert first.sha256 == push(FORWARD, command="git push origin").sha256
    others = [
        push(RefMove(ref=OWN, old=A, new=A, own=True)),
        push(RefMove(ref=OWN, old=B, new=B, own=True)),
        push(RefMove(ref=MAIN, old=A, new=B, own=True)),
        ToolCall(command="git push", moves=[FORWARD], input="https://example.com/b"),
    ]
    assert len({first.sha256, *(each.sha256 for each in others)}) == 5
