"""What a project may name as its repository, and how branches of tasks are named."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pandar_daemon.domain.repository import (
    branch_fault,
    local_path,
    scheme_of,
    task_branch,
    url_fault,
    without_credentials,
)

GOOD = {
    "https://example.org/a/b.git": "https",
    "HTTPS://example.org:8443/a": "https",
    "https://user@example.org/a": "https",
    "http://127.0.0.1:8000/a.git": "http",
    "http://localhost/a": "http",
    "ssh://git@example.org:22/a": "ssh",
    "git@example.org:a/b.git": "ssh",
    "example.org:a": "ssh",
    "/srv/a repository.git": "file",
    "file:///srv/a%20b": "file",
}
BAD = [
    *("ext::sh -c true", "fd::7", "transport::address", "git://example.org/a", "ftp://x/a"),
    *("-oProxyCommand=x", "--upload-pack=x", "ssh://-oProxyCommand=x/a", "-x@example.org:a"),
    *("git@example.org:-x", "https://user:hunter2@example.org/a", "http://example.org/a"),
    *("http://127.0.0.1.example.org/a", "relative", "../up", "file://example.org/a", "https://"),
    *("https://exa mple.org/a", "https://example.org/a\nb", "/srv/a\nb", "https://example.org:x/a"),
    *("https://[::1/a", "c:/windows path", ":a", "host:"),
]


@pytest.mark.parametrize(("url", "scheme"), GOOD.items())
def test_what_can_be_named(url: str, scheme: str) -> None:
    """Each is reached in one way."""
    assert (url_fault(url), scheme_of(url)) == ("", scheme)


@pytest.mark.parametrize("url", BAD)
def test_what_cannot_be_named(url: str) -> None:
    """Nothing that git would take for an option, or for a program to run."""
    assert url_fault(url)


def test_paths_and_their_urls() -> None:
    """Both forms are one path."""
    assert local_path("file:///srv/a%20b") == "/srv/a b"
    assert local_path("/srv/a%20b") == "/srv/a%20b"
    assert local_path("https://example.org/") == ""


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:pass@example.org/a@b", "https://example.org/a@b"),
        ("https://token@example.org/a", "https://example.org/a"),
        ("ssh://git:pass@example.org:22/a", "ssh://git@example.org:22/a"),
        ("git@example.org:a", "git@example.org:a"),
        ("/srv/a", "/srv/a"),
    ],
)
def test_what_is_written_down(url: str, shown: str) -> None:
    """No password, and no user that may be a token."""
    assert without_credentials(url) == shown


@given(st.text(max_size=40))
def test_any_text_is_judged(text: str) -> None:
    """Whatever it is: neither function raises."""
    url_fault(text)
    branch_fault(text)
    without_credentials(text)


def of_git(name: str) -> bool:
    """Return what git itself says of a branch's name."""
    told = subprocess.run(["git", "check-ref-format", "--branch", name], capture_output=True)  # noqa: PLW1510
    return told.returncode == 0


@pytest.mark.skipif(shutil.which("git") is None, reason="compares with git")
@pytest.mark.parametrize(
    "name",
    [
        *(
            "main",
            "a/b/c",
            "feature/x-1",
            "ž",
            "a@b",
            "@",
            "HEAD",
            "-a",
            "a..b",
            "a b",
            "a~1",
            "a^",
        ),
        *("a:b", "a?", "a*", "a[", "a\\b", "a.lock", "a.lock/b", ".a", "a/.b", "a.", "/a", "a/"),
        *("a//b", "a@{1}", "a\tb", "a\x7f", "refs/heads/main", "a]", "a{b}"),
    ],
)
def test_branches_are_those_of_git(name: str) -> None:
    """What git refuses we refuse, and the name that is a revision too."""
    assert (branch_fault(name) == "") == (of_git(name) and name != "@")


@pytest.mark.parametrize(
    ("name", "branch"),
    [
        ("Fix the tests!", "pandar/7-fix-the-tests"),
        ("  Žluťoučký kůň  ", "pandar/7-zlutoucky-kun"),
        ("日本語", "pandar/7"),
        ("../../x.lock", "pandar/7-x-lock"),
        ("a" * 100, f"pandar/7-{'a' * 40}"),
        (f"{'a' * 39} b", f"pandar/7-{'a' * 39}"),
    ],
)
def test_the_branch_of_a_task(name: str, branch: str) -> None:
    """Its number and its words."""
    assert task_branch(7, name) == branch


@given(st.text(max_size=200))
def test_every_task_has_a_branch(name: str) -> None:
    """Whatever it is called, git takes it."""
    assert branch_fault(task_branch(1, name)) == ""
