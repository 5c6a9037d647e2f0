"""What git commands touch: pushes in all spellings, lost work, settings that run programs."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from pandar_daemon.domain.gate_tables import names
from pandar_daemon.domain.shell_words import Word
from pandar_daemon.domain.shell_wrappers import options

_OPTIONS: Final = options(
    "-C -c --git-dir --work-tree --namespace --config-env --attr-source --list-cmds",
    "-p --paginate -P --no-pager --bare --no-replace-objects --literal-pathspecs --glob-pathspecs"
    " --noglob-pathspecs --icase-pathspecs --no-optional-locks --no-lazy-fetch --html-path"
    " --man-path --info-path --exec-path --version -v --help -h",
)
_PLAIN: Final = names(
    "status diff log show add commit branch checkout switch restore merge rebase cherry-pick"
    " revert stash tag blame annotate grep ls-files ls-tree rev-parse rev-list describe"
    " shortlog reflog worktree init mv rm apply am format-patch archive cat-file hash-object"
    " show-ref for-each-ref merge-base name-rev notes check-ignore check-attr diff-tree diff-"
    " index diff-files whatchanged var version help gc fsck count-objects cherry range-diff"
    " merge-tree merge-file write-tree read-tree mktree bundle bugreport interpret-trailers"
    " column stripspace sparse-checkout verify-commit verify-tag clean reset bisect submodule"
    " remote config ls-remote citool pack-refs repack prune commit-graph rerere request-pull"
    " show-branch unpack-file fmt-merge-msg get-tar-commit-id patch-id diagnose update-index"
    " commit-tree multi-pack-index"
)
_REMOTE: Final = frozenset({"fetch", "pull", "clone", "ls-remote", "fetch-pack", "archive-remote"})
_RULES: Final = {
    "send-pack": "git_push_protected.push",
    "http-push": "git_push_protected.push",
    "receive-pack": "git_push_protected.refs",
    "send-email": "git_push_protected.push",
    "imap-send": "git_push_protected.push",
    "update-ref": "git_push_protected.refs",
    "symbolic-ref": "git_push_protected.refs",
    "replace": "git_push_protected.refs",
    "fast-import": "git_push_protected.refs",
    "filter-branch": "destructive_fs.git_history",
    "filter-repo": "destructive_fs.git_history",
    "credential": "secrets_access.store",
    "credential-store": "secrets_access.store",
    "credential-cache": "secrets_access.store",
    "daemon": "network_egress.upload",
    "instaweb": "network_egress.upload",
    "annex": "network_egress.upload",
}
_HARMLESS_KEYS: Final = re.compile(
    r"(?:user\.|color\.|advice\.|column\.|log\.|commit\.(?:gpgsign|verbose|cleanup)|tag\.(?:gpgsign"
    r"|sort)|init\.defaultbranch|pull\.(?:rebase|ff)|merge\.(?:ff|conflictstyle|renamelimit)"
    r"|diff\.(?:renames|renamelimit|algorithm|noprefix|context|colormoved|mnemonicprefix)"
    r"|core\.(?:quotepath|autocrlf|safecrlf|eol|filemode|ignorecase|precomposeunicode|abbrev"
    r"|longpaths|symlinks|whitespace|preloadindex|untrackedcache|compression|bare)"
    r"|safe\.directory|branch\.(?:autosetupmerge|autosetuprebase|sort)|rebase\.(?:autostash"
    r"|autosquash)|rerere\.|status\.|stash\.|gc\.|pack\.|index\.|feature\.|help\.autocorrect"
    r"|fetch\.prune|format\.pretty|grep\.(?:linenumber|patterntype|extendedregexp)"
    r"|apply\.|blame\.|interactive\.singlekey|versionsort\.|worktree\.)",
    re.IGNORECASE,
)
_PUSH_KEYS: Final = re.compile(r"(?:remote|url|push|branch)\.", re.IGNORECASE)


def git(words: Sequence[Word]) -> Iterator[str]:
    """Yield the rules that a git command touches; ``words`` begin with the program."""
    at = _OPTIONS.skip(words, 1)
    if at is None:
        yield "unclassified.options"
        yield from _hinted(words)
        return
    yield from _settings(words[1:at])
    if at >= len(words):
        return
    if not words[at].fixed:
        yield "unclassified.expansion"
        return
    yield from _verb(words[at].text, words[at + 1 :])


def _hinted(words: Sequence[Word]) -> Iterator[str]:
    if any(word.text == "push" for word in words):
        yield "git_push_protected.push"


def _settings(words: Sequence[Word]) -> Iterator[str]:
    """Yield what settings for this one command touch."""
    for i, word in enumerate(words):
        text = word.text
        if text == "-c":
            text = words[i + 1].text if i + 1 < len(words) else "="
        elif text.startswith("-c") and not text.startswith("--"):
            text = text[2:]
        elif text.startswith("--config-env"):
            text = "="
        elif text.startswith("--exec-path="):
            yield "unclassified.settings"
            continue
        else:
            continue
        yield from _key(text.partition("=")[0])


def _key(key: str) -> Iterator[str]:
    if _PUSH_KEYS.match(key) and not _HARMLESS_KEYS.match(key):
        yield "git_push_protected.remote"
    elif not _HARMLESS_KEYS.match(key):
        yield "unclassified.settings"


def _verb(verb: str, arguments: Sequence[Word]) -> Iterator[str]:
    if verb in _RULES:
        yield _RULES[verb]
    elif verb in _SPECIAL:
        yield from _SPECIAL[verb](arguments)
    elif verb not in _PLAIN | _REMOTE:
        yield "unclassified.verb"
    if verb in _REMOTE:
        yield "network_egress.git"
    for word in arguments:
        if word.text.startswith("ext::") or _runs_program(verb, word.text):
            yield "unclassified.options"


_PROGRAMS: Final = {
    "grep": ("-O", "--open-files-in-pager"),
    "rebase": ("-x", "--exec"),
    "archive": ("--exec", "--remote"),
    "fetch": ("--upload-pack",),
    "pull": ("--upload-pack",),
    "clone": ("-u", "--upload-pack", "-c", "--config", "--template"),
    "ls-remote": ("--upload-pack", "--exec"),
    "init": ("--template", "--separate-git-dir"),
    "apply": ("--unsafe-paths",),
    "difftool": ("-x", "--extcmd"),
    "diff": ("--ext-diff",),
    "show": ("--ext-diff",),
    "log": ("--ext-diff",),
    "push": ("--receive-pack", "--exec"),
}
"""Options with which a git command runs another program."""


def _runs_program(verb: str, argument: str) -> bool:
    return any(
        _is_option(argument, option) if option.startswith("--") else argument.startswith(option)
        for option in _PROGRAMS.get(verb, ())
    )


def _is_option(argument: str, name: str) -> bool:
    """Tell whether an argument is a long option; git takes its beginning for it."""
    stated = argument.partition("=")[0]
    return len(stated) > 2 and stated.startswith("--") and name.startswith(stated)  # noqa: PLR2004


def _texts(arguments: Sequence[Word]) -> list[str]:
    return [word.text for word in arguments]


def _has(arguments: Sequence[Word], letters: str, *names: str) -> bool:
    """Tell whether one of the options stands there, a letter also among others."""
    for text in _texts(arguments):
        if text == "--":
            return False
        short = text.startswith("-") and not text.startswith("--")
        if any(letter in text for letter in letters if short):
            return True
        if any(_is_option(text, name) for name in names):
            return True
    return False


def _push(arguments: Sequence[Word]) -> Iterator[str]:
    operands = [text for text in _texts(arguments) if not text.startswith("-")]
    if _has(
        arguments, "f", "--force", "--force-with-lease", "--force-if-includes", "--mirror"
    ) or any(ref.startswith("+") for ref in operands[1:]):
        yield "git_push_protected.force"
    elif _has(arguments, "d", "--delete", "--prune") or any(
        ref.startswith(":") for ref in operands[1:]
    ):
        yield "git_push_protected.delete"
    else:
        yield "git_push_protected.push"


def _reset(arguments: Sequence[Word]) -> Iterator[str]:
    if _has(arguments, "", "--hard", "--merge", "--keep", "--reset"):
        yield "destructive_fs.git_reset"


def _clean(arguments: Sequence[Word]) -> Iterator[str]:
    if _has(arguments, "f", "--force"):
        yield "destructive_fs.git_clean"


def _discard(arguments: Sequence[Word]) -> Iterator[str]:
    """Yield what checking out, switching or restoring throws away."""
    whole = any(text in {".", "./", ":/", "*", "-A"} for text in _texts(arguments))
    staged = _has(arguments, "", "--staged") and not _has(arguments, "W", "--worktree")
    if (whole and not staged) or _has(arguments, "fC", "--force", "--discard-changes"):
        yield "destructive_fs.git_reset"


def _branch(arguments: Sequence[Word]) -> Iterator[str]:
    if _has(arguments, "DMCf", "--force"):
        yield "destructive_fs.git_history"


def _nested(rules: Mapping[str, str]) -> Callable[[Sequence[Word]], Iterator[str]]:
    """Return what looks for the first operand in a table; what is not there touches nothing."""

    def look_up(arguments: Sequence[Word]) -> Iterator[str]:
        for word in arguments:
            if not word.fixed:
                yield "unclassified.expansion"
                return
            if not word.text.startswith("-"):
                if word.text in rules:
                    yield rules[word.text]
                return

    return look_up


def _config(arguments: Sequence[Word]) -> Iterator[str]:
    """Yield what setting a key touches; reading one touches nothing."""
    texts = _texts(arguments)
    operands = [text for text in texts if not text.startswith("-")]
    reading = {"--get", "--get-all", "--list", "-l", "--get-regexp", "--get-urlmatch"}
    if reading & set(texts[:2]) or operands[:1] in (["list"], ["get"]):
        return
    operands = operands[1:] if operands[:1] in (["set"], ["unset"]) else operands
    if _has(arguments, "e", "--edit", "--file", "--blob") or _has(arguments, "f"):
        yield "unclassified.settings"
    elif len(operands) > 1 or _has(arguments, "", "--unset", "--add", "--unset-all"):
        yield from _key(operands[0] if operands else "")


def _gc(arguments: Sequence[Word]) -> Iterator[str]:
    if any(text.startswith("--prune=now") or text == "--prune=all" for text in _texts(arguments)):
        yield "destructive_fs.git_history"


def _worktree(arguments: Sequence[Word]) -> Iterator[str]:
    if _texts(arguments[:1]) == ["remove"] and _has(arguments, "f", "--force"):
        yield "destructive_fs.recursive"


def _rm(arguments: Sequence[Word]) -> Iterator[str]:
    if _has(arguments, "r") and not _has(arguments, "n", "--cached", "--dry-run"):
        yield "destructive_fs.recursive"


_SPECIAL: Final[Mapping[str, Callable[[Sequence[Word]], Iterator[str]]]] = {
    "push": _push,
    "reset": _reset,
    "read-tree": _reset,
    "clean": _clean,
    "checkout": _discard,
    "switch": _discard,
    "restore": _discard,
    "branch": _branch,
    "config": _config,
    "gc": _gc,
    "worktree": _worktree,
    "rm": _rm,
    "difftool": lambda _: iter(["unclassified.settings"]),
    "mergetool": lambda _: iter(["unclassified.settings"]),
    "stash": _nested({"drop": "destructive_fs.git_history", "clear": "destructive_fs.git_history"}),
    "reflog": _nested(
        {"expire": "destructive_fs.git_history", "delete": "destructive_fs.git_history"}
    ),
    "bisect": _nested({"run": "unclassified.options"}),
    "submodule": _nested(
        {
            "foreach": "unclassified.options",
            "update": "network_egress.git",
            "add": "network_egress.git",
        }
    ),
    "remote": _nested(
        {
            "add": "git_push_protected.remote",
            "set-url": "git_push_protected.remote",
            "rename": "git_push_protected.remote",
            "set-head": "git_push_protected.remote",
            "update": "network_egress.git",
            "prune": "network_egress.git",
        }
    ),
    "lfs": _nested({"push": "git_push_protected.push", "pull": "network_egress.git"}),
    "subtree": _nested({"push": "git_push_protected.push", "pull": "network_egress.git"}),
    "svn": _nested({"dcommit": "git_push_protected.push", "fetch": "network_egress.git"}),
    "p4": _nested({"submit": "git_push_protected.push"}),
    "flow": lambda _: iter(["unclassified.verb"]),
}
