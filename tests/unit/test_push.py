"""The words of a push, and what they amount to."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandar_daemon.domain.push import NotPushed, Push, Refspec, parse
from pandar_daemon.domain.push_plan import Local, Wanted, is_protected, planned
from pandar_daemon.domain.remotes import is_local, is_same, protocol_of

A, B, C = "a" * 40, "b" * 40, "c" * 40
LOCAL = Local(
    head="refs/heads/develop",
    refs={
        "refs/heads/develop": B,
        "refs/heads/main": A,
        "refs/heads/pandar/1-x": C,
        "refs/tags/v1": A,
    },
    named={"HEAD~1": A, "nothing": ""},
)
REMOTE = {"refs/heads/main": A, "refs/tags/v0": B}
OWN = "pandar/1-x"


def wanted(words: str, *, own: str = OWN, local: Local = LOCAL) -> list[Wanted]:
    """Return what a push wants to move."""
    return planned(parse(words.split()), local, REMOTE, own)


def refused(words: str) -> str:
    """Return why a push is refused."""
    with pytest.raises(NotPushed) as why:
        wanted(words)
    return str(why.value)


SPELLINGS = {
    "push": Push(),
    "push origin": Push(repository="origin"),
    "push --repo=origin": Push(repository="origin"),
    "push --repo x origin": Push(repository="origin"),
    "push origin main": Push(repository="origin", refspecs=(Refspec(src="main"),)),
    "push origin +a:b": Push(
        repository="origin", refspecs=(Refspec(src="a", dst="b", force=True),)
    ),
    "push origin :b": Push(repository="origin", refspecs=(Refspec(dst="b"),)),
    "push origin -d b": Push(
        repository="origin", refspecs=(Refspec(dst="b"),), flags=frozenset({"delete"})
    ),
    "push origin tag v1": Push(repository="origin", refspecs=(Refspec(src="refs/tags/v1"),)),
    "push -fu -o ci.skip": Push(flags=frozenset({"force", "set-upstream"}), options=("ci.skip",)),
    "push -oci.skip --push-option=x": Push(options=("ci.skip", "x")),
    "push --force --no-force": Push(),
    "push --force-with-lease=main:abc": Push(leases=("main:abc",)),
    "push --force-with-lease --no-force-with-lease": Push(),
    "push --dele origin b": Push(
        repository="origin", refspecs=(Refspec(dst="b"),), flags=frozenset({"delete"})
    ),
    "-C a -C b --git-dir=g --work-tree w push": Push(
        folders=("a", "b"), git_dir="g", work_tree="w"
    ),
    "-c user.name=x -P push": Push(),
    "push -- origin -x": Push(repository="origin", refspecs=(Refspec(src="-x"),)),
}


@pytest.mark.parametrize("words", SPELLINGS)
def test_spellings(words: str) -> None:
    """As git reads them."""
    assert parse(words.split()) == SPELLINGS[words]


NOT_OFFERED = [
    *("push --receive-pack=x", "push --exec x", "push --exec", "push --signed", "push --prune"),
    *("push --forc", "push --what", "push -x", "push origin :", "push origin +:", "push origin a:"),
    *("push origin ^a", "push origin refs/heads/*", "push --all origin main", "push --all --tags"),
    *("push --mirror --all", "push -d", "push -d origin +a", "push --recurse-submodules=only"),
    *("push --follow-tags", "push --all=x", "push origin tag", "push -o", "status", ""),
    *("-c remote.origin.url=x push", "-c core.sshCommand=x push", "-c alias.x=!sh push", "-c push"),
    *(
        "--exec-path=x push",
        "--namespace x push",
        "--config-env=a=b push",
        "-p push",
        "--bare push",
    ),
]


@pytest.mark.parametrize("words", NOT_OFFERED)
def test_what_is_not_known_is_refused(words: str) -> None:
    """With a sentence."""
    assert len(refused(words)) > 10


def test_too_many_words() -> None:
    """Nothing takes long."""
    assert "200 words" in refused("push origin" + " a" * 300)


@given(st.lists(st.text(max_size=12), max_size=8))
def test_any_words_whatever(words: list[str]) -> None:
    """Are read or refused, and nothing else happens."""
    with suppress(NotPushed):
        planned(parse(["push", *words]), LOCAL, REMOTE, OWN)


PLANS = {
    "push": [Wanted(ref=f"refs/heads/{OWN}", new=C)],
    "push origin": [Wanted(ref=f"refs/heads/{OWN}", new=C)],
    "push origin HEAD": [Wanted(ref="refs/heads/develop", new=B)],
    "push origin @:main": [Wanted(ref="refs/heads/main", old=A, new=B)],
    "push origin HEAD:refs/heads/x": [Wanted(ref="refs/heads/x", new=B)],
    "push origin HEAD:x": [Wanted(ref="refs/heads/x", new=B)],
    "push origin heads/develop": [Wanted(ref="refs/heads/develop", new=B)],
    "push origin v1": [Wanted(ref="refs/tags/v1", new=A)],
    "push origin v1:v2": [Wanted(ref="refs/tags/v2", new=A)],
    "push origin HEAD:v0": [],
    "push origin HEAD~1:main": [],
    "push origin HEAD~1:new": [Wanted(ref="refs/heads/new", new=A)],
    "push origin +develop:main": [Wanted(ref="refs/heads/main", old=A, new=B, force=True)],
    "push -f origin develop:main": [Wanted(ref="refs/heads/main", old=A, new=B, force=True)],
    "push --force-with-lease=main:aaaa origin develop:main": [
        Wanted(ref="refs/heads/main", old=A, new=B, force=True)
    ],
    "push --force-with-lease=x: origin develop:x": [Wanted(ref="refs/heads/x", new=B, force=True)],
    "push origin :main": [Wanted(ref="refs/heads/main", old=A, force=True)],
    "push -d origin v0": [Wanted(ref="refs/tags/v0", old=B, force=True)],
    "push --tags": [Wanted(ref="refs/tags/v1", new=A)],
    "push --all": [
        Wanted(ref="refs/heads/develop", new=B),
        Wanted(ref=f"refs/heads/{OWN}", new=C),
    ],
    "push --mirror": [
        Wanted(ref="refs/heads/develop", new=B, force=True),
        Wanted(ref=f"refs/heads/{OWN}", new=C, force=True),
        Wanted(ref="refs/tags/v1", new=A, force=True),
        Wanted(ref="refs/tags/v0", old=B, force=True),
    ],
}


@pytest.mark.parametrize("words", PLANS)
def test_plans(words: str) -> None:
    """What is moved, and where to; without names it is the task's branch, wherever HEAD is."""
    assert wanted(words) == PLANS[words]


UNPLANNED = {
    "push origin nothing": "there is no",
    "push origin gone": "there is no",
    "push origin HEAD~1": "say where",
    "push origin :gone": "has no",
    "push origin HEAD:refs/notes/x": "neither a branch nor a tag",
    "push origin HEAD:refs/heads/..": "no name",
    "push origin HEAD:refs/heads/a..b": "no name",
    "push origin HEAD:a.lock": "no name",
    "push origin HEAD:refs/heads/a\x07": "no name",
    "push --force-with-lease=main:bbbb origin develop:main": "stale info",
    "push --force-with-lease=main: origin develop:main": "stale info",
}


@pytest.mark.parametrize("words", UNPLANNED)
def test_what_amounts_to_nothing_is_refused(words: str) -> None:
    """With a sentence."""
    assert UNPLANNED[words] in refused(words)


def test_names_at_the_remote_may_be_ambiguous() -> None:
    """Then it is to be named in full."""
    both = {"refs/heads/x": A, "refs/tags/x": B}
    with pytest.raises(NotPushed, match="in full"):
        planned(parse(["push", "origin", "HEAD:x"]), LOCAL, both, OWN)


def test_without_a_branch_of_its_own() -> None:
    """HEAD says what is pushed; detached it says nothing."""
    assert [each.ref for each in wanted("push", own="")] == ["refs/heads/develop"]
    with pytest.raises(NotPushed, match="no branch"):
        wanted("push", own="", local=Local(refs=LOCAL.refs))
    with pytest.raises(NotPushed, match="there is no branch"):
        wanted("push", local=Local())


def test_too_many_references() -> None:
    """What nobody could look through is not asked."""
    many = Local(refs={f"refs/heads/{n}": A for n in range(60)})
    with pytest.raises(NotPushed, match="at most 50"):
        wanted("push --all", local=many)


def test_protected_branches() -> None:
    """By pattern, in whatever case a forge may take them."""
    patterns = ["main", "release/*"]
    assert is_protected("refs/heads/main", patterns)
    assert is_protected("refs/heads/MAIN", patterns)
    assert is_protected("refs/heads/release/1/2", patterns)
    assert not is_protected("refs/heads/mainly", patterns)


SAME = [
    ("https://example.com/a/b.git", "https://example.com/a/b"),
    ("https://example.com/a/b.git", "git@example.com:a/b.git"),
    ("ssh://git@example.com:22/a/b", "git@example.com:/a/b.git"),
    ("https://user:pass@Example.com:443/a/b/", "https://example.com/a/b"),
    ("/srv/x.git", "file:///srv/x.git"),
    ("/srv/x/.git", "/srv/x"),
    ("/srv/../srv/x", "/srv/x"),
]
OTHER = [
    ("https://example.com/a/b", "https://example.com/a/c"),
    ("https://example.com:8443/a/b", "https://example.com/a/b"),
    ("https://example.com.evil/a/b", "https://example.com/a/b"),
    ("https://example.com@evil/a/b", "https://example.com/a/b"),
    ("/srv/x", "https://srv/x"),
    ("", ""),
    ("origin", "/srv/x"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_the_same_repository(one: str, other: str) -> None:
    """However it is spelled."""
    assert is_same(one, other)
    assert is_same(other, one)


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_another_repository(one: str, other: str) -> None:
    """However much it looks like it."""
    assert not is_same(one, other)


def test_protocols() -> None:
    """As git names them; a helper of git's is no folder."""
    named = ["https://a/b", "a@b:c", "/a", "file:///a", "ssh://a/b"]
    assert [protocol_of(url) for url in named] == ["https", "ssh", "file", "file", "ssh"]
    assert is_local("../x")
    assert not any(map(is_local, ["ext::sh -c x", "a@b:c", "git://x/y", "https://[/"]))
