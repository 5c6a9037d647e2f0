"""Pushes with a real git: what is moved, what is asked, and what is not done."""

from __future__ import annotations

from pathlib import Path

import pytest

from events.calls import ToolCall
from pandar_daemon.domain.hearing import Asked
from pandar_daemon.ports import Order, Permission
from pandar_daemon.services.broker import Broker
from pandar_daemon.services.git_orders import GitOrders
from tests.support.calls import command
from tests.support.pushes import OWN, Ground, Screen, git, no

OURS = f"refs/heads/{OWN}"


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    """Return a repository with one commit, and a clone on the task's branch."""
    return Ground(tmp_path)


async def test_the_own_branch(ground: Ground) -> None:
    """A new branch, then forward: what was seen is what was moved, and recorded."""
    first = ground.commit("one")
    ending, shown = await ground.push("push", "-u", "origin", "HEAD")
    assert (ending.exit_code, ground.remote()[OURS]) == (0, first), shown
    assert "[new branch]" in shown
    (move,) = ground.asked[0].moves
    assert (move.ref, move.old, move.new) == (OURS, "", first)
    assert (move.own, move.protected) == (True, False)
    assert (move.commits, move.files, move.subjects) == (1, 1, ["add one"])
    assert ground.asked[0].paths == ["one"]
    second = ground.commit("two")
    ending, _ = await ground.push("push")
    assert (ending.exit_code, ground.remote()[OURS]) == (0, second)
    (move,) = ground.asked[1].moves
    assert (move.old, move.new, move.forced, move.commits) == (first, second, False, 1)
    assert [each.refs[0].new for each in ground.reported] == [first, second]
    assert ground.reported[1].call_sha256 == ground.asked[1].sha256
    assert ground.at(f"refs/remotes/origin/{OWN}") == second


async def test_what_is_denied_is_not_moved(ground: Ground) -> None:
    """And whoever pushed is told why."""
    ground.allows = no
    ground.commit("one")
    before = ground.remote()
    ending, shown = await ground.push("push", "origin", "HEAD:main")
    assert (ending.exit_code, ground.remote()) == (1, before)
    assert "This was denied." in shown
    assert ground.asked[0].moves[0].protected
    assert ground.reported == []
    assert not list((ground.data / "quarantine").iterdir())


async def test_only_what_was_approved_is_moved(ground: Ground) -> None:
    """Whatever the branch is moved to while people look."""
    approved = ground.commit("one")

    async def meanwhile(call: ToolCall) -> Permission:
        ground.commit("evil")
        assert call.moves[0].new == approved
        return Permission(allowed=True)

    ground.allows = meanwhile
    ending, _ = await ground.push("push", "origin", "HEAD:main")
    assert (ending.exit_code, ground.remote()["refs/heads/main"]) == (0, approved)


async def test_a_remote_that_moved_is_not_overwritten(ground: Ground) -> None:
    """An approval is for where it comes from, too."""
    ground.commit("one")
    other = git(ground.tree, "commit-tree", "-m", "other", "HEAD^{tree}", "-p", "main")

    async def meanwhile(_call: ToolCall) -> Permission:
        git(ground.tree, "push", "-q", "origin", f"{other}:refs/heads/main")
        return Permission(allowed=True)

    ground.allows = meanwhile
    ending, shown = await ground.push("push", "origin", "HEAD:main")
    assert (ending.exit_code, ground.remote()["refs/heads/main"]) == (1, other)
    assert "stale info" in shown
    assert ground.reported == []


FORCED = [
    "push --force origin HEAD:main",
    "push -f origin HEAD:main",
    "push origin +HEAD:main",
    "push -uf origin HEAD:refs/heads/main",
    "push --force-with-lease origin HEAD:main",
    "push --force-w=main origin HEAD:main",
    "push --force-with-lease --force-if-includes origin @:main",
    "--no-pager push origin +HEAD:refs/heads/main",
    "-C . push --repo=origin -f origin HEAD:main",
    "push -fo ci.skip origin HEAD:main",
    "push -f -- origin HEAD:main",
    "-c user.name=x push origin --force HEAD:main",
]


@pytest.mark.parametrize("words", FORCED)
async def test_force_by_many_spellings(ground: Ground, words: str) -> None:
    """Each is the same move over the same protected branch, and none is done when it is denied."""
    ground.allows = no
    git(ground.tree, "commit", "-q", "--amend", "-m", "rewritten")
    before = ground.remote()
    ending, _ = await ground.push(*words.split())
    assert (ending.exit_code, ground.remote()) == (1, before)
    (call,) = ground.asked
    (move,) = call.moves
    assert (move.ref, move.forced, move.protected) == ("refs/heads/main", True, True)
    assert move.old == before["refs/heads/main"]


async def test_force_that_is_approved(ground: Ground) -> None:
    """It is done."""
    git(ground.tree, "commit", "-q", "--amend", "-m", "rewritten")
    ending, shown = await ground.push("push", "-f", "origin", "HEAD:main")
    assert (ending.exit_code, ground.remote()["refs/heads/main"]) == (0, ground.at("HEAD")), shown


async def test_what_loses_commits_is_not_even_asked(ground: Ground) -> None:
    """Git itself would refuse it."""
    git(ground.tree, "commit", "-q", "--amend", "-m", "rewritten")
    ending, shown = await ground.push("push", "origin", "HEAD:main")
    assert (ending.exit_code, ground.asked) == (1, [])
    assert "fetch first" in shown


@pytest.mark.parametrize("words", ["push origin :main", "push -d origin main"])
async def test_deletion(ground: Ground, words: str) -> None:
    """A move to nothing."""
    git(ground.bare, "symbolic-ref", "HEAD", "refs/heads/other")
    ending, shown = await ground.push(*words.split())
    assert ground.asked[0].moves[0].new == ""
    assert (ending.exit_code, ground.remote()) == (0, {}), shown


async def test_mirror_all_and_tags(ground: Ground) -> None:
    """Every reference by itself."""
    git(ground.tree, "tag", "v1")
    await ground.push("push", "--tags")
    assert [move.ref for move in ground.asked[0].moves] == ["refs/tags/v1"]
    ground.commit("one")
    await ground.push("push", "--all")
    assert [move.ref for move in ground.asked[1].moves] == [OURS]
    git(ground.tree, "branch", "-D", "main")
    ground.allows = no
    await ground.push("push", "--mirror")
    assert {(move.ref, move.new) for move in ground.asked[2].moves} == {("refs/heads/main", "")}


async def test_nothing_to_push(ground: Ground) -> None:
    """It says what git says, and nobody is asked."""
    await ground.push("push", "origin", OWN)
    ending, shown = await ground.push("push", "origin", OWN)
    assert (ending.exit_code, shown) == (0, "Everything up-to-date\n")
    assert len(ground.asked) == 1


async def test_dry_run(ground: Ground) -> None:
    """It tells, asks nobody, moves nothing."""
    ground.commit("one")
    ending, shown = await ground.push("push", "-n", "origin", "HEAD:main")
    assert (ending.exit_code, ground.asked, len(ground.remote())) == (0, [], 1)
    assert "main (protected)" in shown


async def test_another_repository(ground: Ground, tmp_path: Path) -> None:
    """A folder is the box's own affair; any other machine is refused."""
    git(tmp_path, "init", "-q", "--bare", "mine.git")
    ending, _ = await ground.push("push", str(tmp_path / "mine.git"), "HEAD")
    assert ending.argv == ("push", str(tmp_path / "mine.git"), "HEAD")
    for url in ("https://evil.example/x.git", "git@evil.example:x", "ext::sh -c x"):
        ending, shown = await ground.push("push", url, "HEAD")
        assert (ending.exit_code, ending.argv, ground.asked) == (1, None, [])
        assert "not the repository" in shown


async def test_a_lying_clone(ground: Ground) -> None:
    """Settings and names of the clone change nothing of what is pushed, and where."""
    ground.commit("one")
    git(ground.tree, "config", "push.default", "matching")
    git(ground.tree, "config", "remote.origin.receivepack", "touch evil;")
    git(ground.tree, "config", "core.sshCommand", "touch evil")
    git(ground.tree, "checkout", "-q", "-B", "develop", "main")
    await ground.push("push")
    assert [move.ref for move in ground.asked[0].moves] == [OURS]
    assert not (ground.tree / "evil").exists()


async def test_broken_commits(ground: Ground) -> None:
    """What is no sound object does not come in."""
    bad = b"tree " + b"0" * 40 + b"\nauthor x\ncommitter y\n\nz"
    (ground.tree / "bad").write_bytes(bad)
    commit = git(ground.tree, "hash-object", "-t", "commit", "-w", "--literally", "bad")
    git(ground.tree, "update-ref", "refs/heads/bad", commit)
    ending, _ = await ground.push("push", "origin", "bad")
    assert (ending.exit_code, ground.asked, len(ground.remote())) == (1, [], 1)


async def test_an_approval_is_for_the_commits(ground: Ground) -> None:
    """The same words for other commits are another call; other words for the same are not."""
    ground.allows = no
    ground.commit("one")
    await ground.push("push", "origin", "HEAD:main")
    await ground.push("push", "origin", f"{OWN}:refs/heads/main")
    ground.commit("two")
    await ground.push("push", "origin", "HEAD:main")
    one, same, other = (call.sha256 for call in ground.asked)
    assert one == same != other


@pytest.mark.parametrize("words", ["fetch", "pull --rebase origin main", "-C x ls-remote -q"])
async def test_fetching_says_why_not(ground: Ground, words: str) -> None:
    """What the box cannot reach is told, before it tries."""
    orders, screen = GitOrders(ground.pushing), Screen()
    ending = await orders.order(Order(tool="git", argv=tuple(words.split())), screen)
    assert (ending.exit_code, b"cannot be reached" in screen.err) == (126, True)
    elsewhere = ("fetch", "https://example.com/x.git")
    ending = await orders.order(Order(tool="git", argv=elsewhere), screen)
    assert ending.argv == elsewhere


async def test_what_comes_to_the_door_is_foreseen(ground: Ground) -> None:
    """The very call that will be asked about; nothing for what asks nobody, or is refused."""
    broker = Broker({"git": GitOrders(ground.pushing)}, GitOrders(None))
    ground.commit("one")
    wanted = Asked(request_id="1", call=command("git push origin HEAD:main", cwd=""))
    seen = await broker.foresee(wanted, str(ground.tree))
    await ground.push("push", "origin", "HEAD:main")
    assert (seen.foreseen, seen.call) == (True, ground.asked[0])
    for text in ("git push -n origin HEAD:x", "git push origin nope", "ls", "git status", "npm x"):
        asked = Asked(request_id="1", call=command(text))
        assert await broker.foresee(asked, str(ground.tree)) == asked
    assert not list((ground.data / "quarantine").iterdir())
