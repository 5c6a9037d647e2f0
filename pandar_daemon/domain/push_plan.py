"""What a push amounts to in one repository: which reference is to be moved where.

Pure. The local side is what the box says, the remote side what we were told by the remote itself;
that the local side may lie does no harm: a name is only a name, and what a commit is will be seen
from the commit.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Final

from msgspec import Struct

from events.calls import MOVES_MAX
from pandar_daemon.domain.push import NotPushed, Push, Refspec

BRANCHES: Final = "refs/heads/"
TAGS: Final = "refs/tags/"
_SHA: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_BAD: Final = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|\Z)|\A[/.-]|[/.]\Z")
_NAME_MAX: Final = 500


class Local(Struct, frozen=True, kw_only=True):
    """The side of the box: where HEAD is (empty when detached), its references, other names.

    ``named`` are the objects that the words of the push, which are no references, stand for.
    """

    head: str = ""
    refs: Mapping[str, str] = {}
    named: Mapping[str, str] = {}


class Wanted(Struct, frozen=True, kw_only=True):
    """One reference to be moved; ``force``: also when that loses what is there."""

    ref: str
    old: str = ""
    new: str = ""
    force: bool = False


def names_in(push: Push) -> list[str]:
    """Return the words that stand for something in the box."""
    return list(dict.fromkeys(each.src for each in push.refspecs if each.src))


def planned(push: Push, local: Local, remote: Mapping[str, str], own: str) -> list[Wanted]:
    """Return what is to be moved, what stays as it is left out; raises `NotPushed`.

    ``own`` is the branch of the task: what a push without names is of, wherever HEAD is.
    """
    wanted = {each.ref: each for each in _all(push, local, remote, own)}
    for each in wanted.values():
        _check(each, push)
    moving = [each for each in wanted.values() if each.old != each.new]
    if len(moving) > MOVES_MAX:
        raise NotPushed(f"this moves {len(moving)} references; at most {MOVES_MAX} at once")
    return moving


def is_protected(ref: str, patterns: Sequence[str]) -> bool:
    """Tell whether a reference is one nothing is pushed to unasked: branches by pattern."""
    name = ref.removeprefix(BRANCHES)
    return any(fnmatchcase(name.casefold(), pattern.casefold()) for pattern in patterns)


def _all(push: Push, local: Local, remote: Mapping[str, str], own: str) -> Iterator[Wanted]:
    refspecs = list(push.refspecs)
    if push.has("mirror"):
        refspecs = [Refspec(src=ref, dst=ref) for ref in local.refs]
        refspecs += [Refspec(dst=ref) for ref in remote if ref not in local.refs]
    elif push.has("all"):
        refspecs = [Refspec(src=ref, dst=ref) for ref in local.refs if ref.startswith(BRANCHES)]
    elif not refspecs and not push.has("tags"):
        refspecs = [_default(local, own)]
    if push.has("tags"):
        refspecs += [Refspec(src=ref, dst=ref) for ref in local.refs if ref.startswith(TAGS)]
    for each in refspecs:
        yield _wanted(each, push, local, remote)


def _default(local: Local, own: str) -> Refspec:
    if not own:
        if not local.head:
            raise NotPushed("HEAD is on no branch: name what to push, and where")
        return Refspec(src=local.head, dst=local.head)
    if BRANCHES + own not in local.refs:
        raise NotPushed(f"there is no branch {own}: commit to it, or name what to push")
    return Refspec(src=BRANCHES + own, dst=BRANCHES + own)


def _wanted(each: Refspec, push: Push, local: Local, remote: Mapping[str, str]) -> Wanted:
    if not each.src:
        ref = _remote_ref(each.dst, remote)
        if ref is None:
            raise NotPushed(f"the remote has no {each.dst!a}, so it cannot be deleted")
        return Wanted(ref=ref, old=remote[ref], force=True)
    source, new = _source(each.src, local)
    ref = _destination(each, source, remote)
    force = each.force or push.forces
    return Wanted(ref=ref, old=remote.get(ref, ""), new=new, force=force)


def _source(src: str, local: Local) -> tuple[str, str]:
    """Return the reference a word is (empty when it is none), and its object."""
    if src in {"HEAD", "@"} and local.head and local.head in local.refs:
        return local.head, local.refs[local.head]
    for ref in (src, f"refs/{src}", TAGS + src, BRANCHES + src):
        if ref in local.refs:
            return ref, local.refs[ref]
    new = local.named.get(src, "")
    if not _SHA.fullmatch(new):
        raise NotPushed(f"there is no {src!a} here to push")
    return "", new


def _destination(each: Refspec, source: str, remote: Mapping[str, str]) -> str:
    if not each.dst:
        if not source:
            raise NotPushed(f"say where {each.src!a} is to go: {each.src}:refs/heads/NAME")
        return source
    if each.dst.startswith("refs/"):
        return each.dst
    found = _remote_ref(each.dst, remote)
    if found is not None:
        return found
    return (TAGS if source.startswith(TAGS) else BRANCHES) + each.dst


def _remote_ref(name: str, remote: Mapping[str, str]) -> str | None:
    spellings = (name, f"refs/{name}", BRANCHES + name, TAGS + name)
    found = [ref for ref in spellings if ref in remote]
    if len(found) > 1:
        raise NotPushed(f"{name!a} is {' and '.join(found)} at the remote: name it in full")
    return found[0] if found else None


def _check(each: Wanted, push: Push) -> None:
    ref = each.ref
    if not ref.startswith((BRANCHES, TAGS)):
        raise NotPushed(f"{ref!a} is neither a branch nor a tag; nothing else is pushed")
    if len(ref) > _NAME_MAX or _BAD.search(ref) or ref.endswith("/"):
        raise NotPushed(f"{ref[:80]!a} is no name for a reference")
    for lease in push.leases:
        _check_lease(lease, each)


def _check_lease(lease: str, each: Wanted) -> None:
    name, colon, expected = lease.partition(":")
    if colon and name in {each.ref, each.ref.removeprefix(BRANCHES)}:
        nothing = not expected or set(expected) == {"0"}
        if not (nothing and not each.old) and (nothing or not each.old.startswith(expected)):
            raise NotPushed(f"{each.ref!a} is not at {expected[:12]!a} (stale info)")
