"""What a ``git push`` says, word by word, as git reads it.

Pure, and strict: what is not known here is refused with a sentence, never guessed. What the words
amount to in a repository, `push_plan` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

WORDS_MAX: Final = 200
_SETTINGS_TAKEN: Final = (
    *("user.", "color.", "advice.", "core.quotepath=", "http.postbuffer=", "push.default=simple"),
    *("push.default=current", "push.autosetupremote=", "safe.directory=", "protocol.version="),
)
"""How a setting may begin that is given for one push; it changes nothing of what is pushed."""
_BEFORE: Final = {
    **dict.fromkeys(("-C", "--git-dir", "--work-tree"), True),
    **dict.fromkeys(
        (
            *("-P", "--no-pager", "--no-optional-locks", "--no-replace-objects", "--no-lazy-fetch"),
            *("--literal-pathspecs", "--no-advice"),
        ),
        False,
    ),
}
"""Options of git itself that may be given, and whether they take a value."""
_FLAGS: Final = (
    *("all", "branches", "mirror", "delete", "tags", "dry-run", "porcelain", "force", "prune"),
    *("follow-tags", "no-follow-tags", "set-upstream", "atomic", "no-atomic", "thin", "no-thin"),
    *("verbose", "quiet", "progress", "no-progress", "verify", "no-verify", "no-signed", "ipv4"),
    *("ipv6", "force-if-includes", "no-force-if-includes", "no-force-with-lease"),
    *("no-recurse-submodules", "no-force", "no-tags", "no-dry-run", "no-all", "no-mirror"),
)
_VALUED: Final = ("push-option", "repo", "recurse-submodules", "receive-pack", "exec")
_EITHER: Final = ("force-with-lease", "signed")
_LETTERS: Final = {
    "d": "delete",
    "n": "dry-run",
    "f": "force",
    "u": "set-upstream",
    "v": "verbose",
    "q": "quiet",
    "4": "ipv4",
    "6": "ipv6",
    "o": "push-option",
}
_SUBMODULES: Final = frozenset({"check", "no"})


class NotPushed(Exception):
    """The push is not done; the message says why, and what to do instead."""


class Refspec(Struct, frozen=True, kw_only=True):
    """What is to be where: without ``src`` it is to be gone."""

    src: str = ""
    dst: str = ""
    force: bool = False


class Push(Struct, frozen=True, kw_only=True):
    """The words of one push. ``folders`` are gone into first, ``git_dir`` as it was given."""

    folders: tuple[str, ...] = ()
    git_dir: str = ""
    work_tree: str = ""
    repository: str = ""
    refspecs: tuple[Refspec, ...] = ()
    options: tuple[str, ...] = ()
    leases: tuple[str, ...] = ()
    flags: frozenset[str] = frozenset()

    def has(self, flag: str) -> bool:
        """Tell whether an option without a value is given."""
        return flag in self.flags

    @property
    def forces(self) -> bool:
        """Tell whether all it moves may be overwritten."""
        return self.has("force") or self.has("mirror") or bool(self.leases)


def parse(argv: Sequence[str]) -> Push:
    """Return what the arguments of ``git`` say, one of which is ``push``; raises `NotPushed`."""
    if len(argv) > WORDS_MAX:
        raise NotPushed(f"a push of more than {WORDS_MAX} words is not offered; name fewer")
    words = iter(argv)
    push = _before(words)
    operands: list[str] = []
    for word in words:
        if word == "--":
            operands += words
        elif word.startswith("--"):
            push = _long(push, word[2:], words)
        elif word.startswith("-") and word != "-":
            push = _short(push, word[1:], words)
        else:
            operands.append(word)
    return _checked(_with_operands(push, operands))


def _before(words: Iterator[str]) -> Push:
    """Return what stands before the word ``push``, which is taken too."""
    push = Push()
    for word in words:
        if word == "push":
            return push
        name, equals, value = word.partition("=")
        if name == "-c":
            _check_setting(next(words, ""))
        elif name not in _BEFORE or (equals and not _BEFORE[name]):
            raise NotPushed(f"the option {_named(word)} of git is not offered with push")
        elif _BEFORE[name]:
            push = _into(push, name, value if equals else next(words, ""))
    raise NotPushed("that is no push")


def _into(push: Push, name: str, value: str) -> Push:
    if name == "-C":
        return replace(push, folders=(*push.folders, value))
    return replace(push, **{name[2:].replace("-", "_"): value})


def _check_setting(setting: str) -> None:
    if not setting.lower().startswith(_SETTINGS_TAKEN):
        raise NotPushed(f"the setting {_named(setting)} for one push is not offered; push without")


def _long(push: Push, text: str, words: Iterator[str]) -> Push:
    stated, equals, value = text.partition("=")
    name = _full(stated)
    if name in _VALUED:
        return _valued(push, name, value if equals else _next(words, name))
    if name == "force-with-lease":
        return replace(push, leases=(*push.leases, value))
    if name == "signed":
        raise NotPushed("a signed push is not offered: push without --signed")
    if equals:
        raise NotPushed(f"the option --{name} takes no value")
    return _flag(push, name)


def _full(stated: str) -> str:
    """Return the option a beginning stands for."""
    known = (*_FLAGS, *_VALUED, *_EITHER)
    found = [name for name in known if name == stated] or [n for n in known if n.startswith(stated)]
    if len(found) != 1 or not stated:
        raise NotPushed(f"the option --{_named(stated)} of push is not known here")
    return found[0]


def _short(push: Push, letters: str, words: Iterator[str]) -> Push:
    for at, letter in enumerate(letters):
        name = _LETTERS.get(letter)
        if name is None:
            raise NotPushed(f"the option -{_named(letter)} of push is not known here")
        if name == "push-option":
            return _valued(push, name, letters[at + 1 :] or _next(words, name))
        push = _flag(push, name)
    return push


def _next(words: Iterator[str], name: str) -> str:
    value = next(words, None)
    if value is None:
        raise NotPushed(f"the option --{name} takes a value")
    return value


def _flag(push: Push, name: str) -> Push:
    if name.startswith("no-") and name[3:] in {*_FLAGS, *_EITHER}:
        leases = () if name == "no-force-with-lease" else push.leases
        return replace(push, flags=push.flags - {name[3:]}, leases=leases)
    return replace(push, flags=push.flags | {"all" if name == "branches" else name})


def _valued(push: Push, name: str, value: str) -> Push:
    match name:
        case "push-option":
            return replace(push, options=(*push.options, value))
        case "repo":
            return replace(push, repository=push.repository or value)
        case "recurse-submodules" if value in _SUBMODULES:
            return push
        case "recurse-submodules":
            raise NotPushed("submodules are not pushed along: push each by itself")
        case _:
            raise NotPushed(f"the option --{name} of push is not offered")


def _with_operands(push: Push, operands: Sequence[str]) -> Push:
    words = iter(operands[1:])
    refspecs = [_refspec(_tag(words) if word == "tag" else word) for word in words]
    if push.has("delete"):
        if not refspecs or any(each.dst or each.force or not each.src for each in refspecs):
            raise NotPushed("--delete takes plain names of what to delete")
        refspecs = [Refspec(dst=each.src) for each in refspecs]
    repository = operands[0] if operands else push.repository
    return replace(push, repository=repository, refspecs=tuple(refspecs))


def _tag(words: Iterator[str]) -> str:
    return f"refs/tags/{_next(words, 'tag')}"


def _refspec(word: str) -> Refspec:
    plain = word.removeprefix("+")
    src, colon, dst = plain.partition(":")
    if plain in {":", ""}:
        raise NotPushed("pushing all that match is not offered: name what to push")
    if plain.startswith("^") or "*" in plain:
        raise NotPushed(f"the pattern {_named(word)} is not offered: name what to push")
    if colon and not dst:
        raise NotPushed(f"{_named(word)} does not say where to push")
    return Refspec(src=src, dst=dst, force=word.startswith("+"))


def _checked(push: Push) -> Push:
    whole = [flag for flag in ("all", "mirror") if push.has(flag)]
    if whole and (push.refspecs or push.has("delete")):
        raise NotPushed(f"--{whole[0]} goes with no names of what to push")
    if len(whole) > 1 or (whole and push.has("tags")):
        raise NotPushed(f"--{whole[0]} goes with neither --mirror nor --tags")
    if push.has("follow-tags"):
        raise NotPushed("--follow-tags is not offered: push the tags by name")
    if push.has("prune"):
        raise NotPushed("--prune is not offered: delete by name")
    return push


def _named(word: str) -> str:
    return ascii(word[:80])[1:-1]
