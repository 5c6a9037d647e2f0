"""The command guard: every attack of a corpus is stopped, all ordinary work passes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


def test_an_agent_may_delete_in_its_workspace() -> None:
    """What no task's command may do is a gate to an agent, whatever letters stand beside it."""
    for text in ("rm -rf build", "rm -rf build && echo '\u2713 done \u2014 it is gone'"):
        assert check(text, filed=False).decision is Decision.GATE
        assert check(text).decision is Decision.DENY
    assert check("\uff52\uff4d -rf build", filed=False).decision is Decision.DENY


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


PIECES: Final = st.sampled_from(
    [
        *("rm", "-rf", "/", "~", "sudo", "git", "push", "-f", "sh", "-c", "eval", "env", "xargs"),
        *("the", "please", "don't", "fix", "it's", "python", "curl", "x=1", "$x", "${IFS}", "cat"),
        *(" ", " ", "\n", ";", "|", "&", "&&", "(", ")", "{", "}", "$(", "`", "'", '"', "<<E\n"),
        *("<(", "<<<", ">", "\\", "#", "!", "[[", "]]", "case x in", "esac", "\u200b", "\uff52"),
    ]
)
TEXTS: Final = st.lists(PIECES, max_size=30).map("".join) | st.text(max_size=80)


@given(TEXTS)
def test_it_never_raises(text: str) -> None:
    """Whatever the text is, there is a decision, and a gate is named where it says gate."""
    found = check(text)
    assert found.decision is not Decision.GATE or found.gates
    assert found.rule
    assert refusal(text) is None or found.decision is Decision.DENY


SUDO: Final = st.sampled_from(["sudo id", "rm -rf /", "mkfs.ext4 /dev/sda", "reboot"])
WHOLE: Final = st.sampled_from(["ls", "fix the bug", "echo 'a b'", "make x > y", "it is fine"])


@given(WHOLE, st.sampled_from([";", "\n", " && ", " || ", " & ", " | "]), SUDO)
def test_nothing_whole_hides_what_comes_after_it(before: str, between: str, bad: str) -> None:
    """What is denied alone is denied behind anything that is complete, sentences too."""
    assert check(f"{before}{between}{bad}").decision is Decision.DENY


@pytest.mark.parametrize(
    "piece",
    [
        *("$(", "`", "(", '"$(', "! ", "env ", "x=1 ", "rm -r ", "a=(", "|", "|a", "$[", "<<a "),
        *("sh -c '", "f() ", ":(){ ", "'", "don't ", "the rm ", "é ", "\u200b", "A ", "a;", "\\"),
        *("sudo ", "rm x y: ", "[[ ", "case a in ", "${", "python -c '", "\n- ", "find . -exec "),
    ],
)
def test_length_is_no_trap(piece: str) -> None:
    """The longest text made of one piece is judged like any other; a longer one is not read."""
    assert check((piece * 10_000)[:10_000]).decision in Decision
    assert check((piece * 100_001)[:100_001]).decision is not Decision.ALLOW
