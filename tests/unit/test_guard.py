"""The command guard: every attack of a corpus is stopped, all ordinary work passes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

import pytest

from events.calls import GateRule, Match, Rules
from pandar_daemon.domain.guard import Decision, check, refusal

CORPUS: Final = Path(__file__).parent / "corpus"


def corpus(name: str) -> list[tuple[str, str]]:
    """Return every text of a corpus, each with its class."""
    found = tomllib.loads((CORPUS / f"{name}.toml").read_text("utf-8"))
    return [(each, text) for each, texts in found.items() for text in texts["texts"]]


@pytest.mark.parametrize(("kind", "text"), corpus("attacks"))
def test_an_attack_is_stopped(kind: str, text: str) -> None:
    """Whatever its class: denied, at a gate or asked about."""
    assert check(text).decision is not Decision.ALLOW, kind


@pytest.mark.parametrize(("kind", "text"), corpus("ordinary"))
def test_ordinary_work_passes(kind: str, text: str) -> None:
    """Commands of development and sentences of people stop nobody."""
    found = check(text)
    assert found.decision is Decision.ALLOW, (kind, found)


def test_what_is_filed_is_refused_with_a_reason() -> None:
    """A task's command is refused for what the guard denies, and for every forced deletion."""
    assert refusal("rm -rf build") == "must not run rm -rf"
    assert refusal("mkfs.ext4 /dev/sda1") == "is refused: it writes to a disk itself"
    assert refusal("git push --force") is None


ALLOWING: Final = Rules(allowed=[GateRule(name="seed", match=Match(commands=["./seed *", "rm *"]))])


@pytest.mark.parametrize(
    ("text", "decision"),
    [
        ("./seed small", Decision.ALLOW),
        ("./seed", Decision.ALLOW),
        ("./seed $x", Decision.ASK),
        ("./seed small; ./other", Decision.ASK),
        ("./seed small > /opt/x", Decision.GATE),
        ("./seed 'unclosed", Decision.ASK),
        ("rm -r build", Decision.ALLOW),
        ("rm -r /", Decision.DENY),
        ("./seeds", Decision.ASK),
    ],
)
def test_allowing_is_narrow(text: str, decision: Decision) -> None:
    """A rule that allows is for one simple command, and never for what is denied."""
    assert check(text, ALLOWING).decision is decision


def test_a_project_denies_and_gates() -> None:
    """What a project's file denies is denied; its own gates are named."""
    no_make = Rules(denied=[GateRule(name="no_make", match=Match(commands=["make *"]))])
    deploy = Rules(own=[GateRule(name="ship", match=Match(commands=["./ship*"]), why="ships")])
    assert check("make x", no_make).rule == "deny.no_make"
    found = check("./ship it", deploy)
    assert (found.decision, found.gates, found.rule) == (Decision.GATE, ["ship"], "own.ship")
