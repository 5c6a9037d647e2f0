"""Programs whose arguments say more than a table can."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

from pandar_daemon.domain.gate_git import git
from pandar_daemon.domain.gate_tables import COMPILER, COMPILERS, names
from pandar_daemon.domain.shell_words import Word


def flags_of(words: Sequence[Word]) -> list[str]:
    """Return the options among the arguments; they may stand after operands, but not after --."""
    texts = [word.text for word in words[1:]]
    end = texts.index("--") if "--" in texts else len(texts)
    return [text for text in texts[:end] if text.startswith("-") and text != "-"]


def _is_recursive(flags: Sequence[str]) -> bool:
    return any(
        len(flag) > 2 and "--recursive".startswith(flag)  # noqa: PLR2004 - more than --
        if flag.startswith("--")
        else "r" in flag or "R" in flag
        for flag in flags
    )


def _rm(words: Sequence[Word]) -> Iterator[str]:
    if _is_recursive(flags_of(words)):
        yield "destructive_fs.recursive"
    elif any(not word.known for word in words[1:]):
        yield "destructive_fs.unknown"


def _permissions(words: Sequence[Word]) -> Iterator[str]:
    if any(re.fullmatch(r"-[cfvhHLP]*R[cfvhHLP]*|--rec\w*", flag) for flag in flags_of(words)):
        yield "destructive_fs.permissions"


def _find(words: Sequence[Word]) -> Iterator[str]:
    if any(word.text == "-delete" or not word.known for word in words[1:] if word.text[:1] == "-"):
        yield "destructive_fs.recursive"


def _dd(words: Sequence[Word]) -> Iterator[str]:
    targets = [word.text[3:] for word in words[1:] if word.text.startswith("of=")]
    if any(target.startswith("/dev/") and target != "/dev/null" for target in targets):
        yield "destructive_fs.disk"
    elif targets:
        yield "destructive_fs.overwrite"


_LOOPBACK: Final = re.compile(
    r"(?:(?:https?|wss?)://)?(?:[^/@\s]*@)?(?:localhost|127(?:\.\d{1,3}){3}|\[::1\]|0\.0\.0\.0)"
    r"(?::\d+)?(?:[/?#].*)?",
    re.IGNORECASE,
)
_CURL_VALUED: Final = names(
    "-H -X -d -o -u -A -b -c -e -F -T -w -m -r -y -Y -C -D --header --request --data --data-"
    " raw --data-binary --data-urlencode --json --output --user --user-agent --cookie"
    " --cookie-jar --referer --form --form-string --upload-file --write-out --max-time"
    " --connect-timeout --retry --retry-delay --retry-max-time --range --dump-header"
    " --oauth2-bearer --method --timeout --tries --post-data --body-data -O -t --output-"
    " document"
)
_CURL_ELSEWHERE: Final = re.compile(
    r"-[a-zA-Z]*[xKE]\b|--(?:proxy|preproxy|socks|resolve|connect-to|config|interface|next|doh"
    r"|unix-socket|abstract-unix)"
)
_UPLOADS: Final = re.compile(
    r"-[dFT]|--(?:data|json|form|upload-file|post-data|post-file|body-data|body-file)"
)


def _http(words: Sequence[Word]) -> Iterator[str]:
    """Yield what curl and wget touch: nothing, where all they talk to is this machine."""
    if all(word.known for word in words) and _is_local(words):
        return
    uploads = any(_UPLOADS.match(word.text) for word in words[1:])
    yield "network_egress.upload" if uploads else "network_egress.host"


def _is_local(words: Sequence[Word]) -> bool:
    texts = [word.text for word in words]
    operands = [
        text
        for before, text in pairwise(texts)
        if not text.startswith("-") and before not in _CURL_VALUED
    ]
    others = (text for text in texts[1:] if "://" in text and not _LOOPBACK.fullmatch(text))
    return (
        bool(operands)
        and all(_LOOPBACK.fullmatch(text) for text in operands)
        and not any(others)
        and not any(_CURL_ELSEWHERE.match(text) for text in texts[1:])
    )


def _nc(words: Sequence[Word]) -> Iterator[str]:
    """Yield what netcat touches: nothing, where it only looks for a port of this machine."""
    flags = [word.text for word in words[1:] if word.text.startswith("-")]
    looks = any("z" in flag for flag in flags) and all(map(_NC_LOOKS.fullmatch, flags))
    hosts = [word for word in words[1:] if not word.text.startswith("-")][:1]
    if not (looks and hosts and hosts[0].known and _LOOPBACK.fullmatch(hosts[0].text)):
        yield "network_egress.host"


_NC_LOOKS: Final = re.compile(r"-[46nvzwG0-9]+")
_SED_PART: Final = r"(?:\\.|(?!\2)[^\n\\])*"
_SED_PLACE: Final = r"(?: \d+ | \$ | /(?:\\.|[^/\\\n])*/ I? )"
_SED: Final = re.compile(
    rf"""
    \s* (?: {_SED_PLACE} (?: , [~+]? {_SED_PLACE} )? \s* !? \s* )?
    (?: (s) ([^\w\s\\]) {_SED_PART} \2 {_SED_PART} \2 [gpiIMm\d]*
      | y/(?:\\.|[^/\\\n])*/(?:\\.|[^/\\\n])*/
      | [aic] (?: \\ \n? | \s ) [^\n]*
      | [pdDPqQlnNgGhHxz=] \s* \d*
      | [{{}}]
      | \#[^\n]*
      | (?=\s*(?:;|\n|\Z))
    ) \s* (?: [;\n] \s* )*
    """,
    re.VERBOSE,
)
"""Commands of sed that neither run nor write nor read anything else."""
_SED_SCRIPT_MAX: Final = 2_000


def _sed(words: Sequence[Word]) -> Iterator[str]:
    """Yield a doubt about what a script of sed runs, reads or writes beside its own files."""
    scripts: list[Word] = []
    at, given = 1, False
    while at < len(words):
        text = words[at].text
        if text in {"-e", "--expression"} or re.fullmatch(r"-[nErsuz]+e", text):
            scripts, given, at = [*scripts, *words[at + 1 : at + 2]], True, at + 2
        elif text.startswith(("-f", "--file")):
            yield "unclassified.script"
            return
        elif text.startswith("--expression="):
            scripts, given, at = [*scripts, Word(text[13:], words[at].known)], True, at + 1
        elif text.startswith("-") and len(text) > 1:
            at += 1
        else:
            if not given:
                scripts, given = [words[at]], True
            at += 1
    if not all(_is_plain_sed(script) for script in scripts):
        yield "unclassified.inline_code"


def _is_plain_sed(script: Word) -> bool:
    at, text = 0, script.text
    if len(text) > _SED_SCRIPT_MAX:
        return False
    if not script.known and not re.match(r"s([^\w\s\\])", text):
        return False
    while at < len(text):
        match = _SED.match(text, at)
        if match is None or match.end() == at:
            return False
        at = match.end()
    return True


_AWK_DOUBT: Final = re.compile(r"system|getline|\||>|@|ENVIRON|\bclose\b|printf?\s*\(?[^;}]*>")

_AWK_COMPARES: Final = re.compile(r"(?:\$\w+|\bN[RF]\b|\blength\b)\s*>\s*[\d.]+")


def _awk(words: Sequence[Word]) -> Iterator[str]:
    """Yield a doubt about a program of awk that runs, reads or writes something else."""
    at = 1
    while at < len(words) and words[at].text.startswith("-") and words[at].text != "-":
        text = words[at].text
        if text.startswith(("-f", "-i", "-l", "-E", "--file", "--include", "--load", "--exec")):
            yield "unclassified.script"
            return
        at += 2 if text in {"-F", "-v", "--field-separator", "--assign"} else 1
    program = words[at] if at < len(words) else Word("")
    text = re.sub(r"[<>=!]=", "", program.text).replace("||", "")
    if not program.known or _AWK_DOUBT.search(_AWK_COMPARES.sub("", text)):
        yield "unclassified.inline_code"


def _jq(words: Sequence[Word]) -> Iterator[str]:
    if any(re.search(r"(?<![.\w\"$-])env\b|\$ENV\b", word.text) for word in words[1:]):
        yield "secrets_access.environment"


def _ps(words: Sequence[Word]) -> Iterator[str]:
    """Yield what the letter e, without a dash, shows of processes."""
    if any(re.fullmatch(r"[a-zA-Z]*e[a-zA-Z]*", word.text) for word in words[1:]):
        yield "secrets_access.environment"


def _tar(words: Sequence[Word]) -> Iterator[str]:
    letters = (w.text for w in words[1:] if re.fullmatch(r"-?[a-zA-Z]+", w.text))
    if any({"I", "F", "P"}.intersection(text) for text in letters):
        yield "unclassified.options"


def _make(words: Sequence[Word]) -> Iterator[str]:
    """Yield a doubt about rules that lie elsewhere, and values that are commands themselves."""
    for before, word in pairwise(words):
        text = word.text
        if before.text in {"-f", "--file", "--makefile"} and not _MAKEFILE.fullmatch(text):
            yield "unclassified.script"
        if re.match(r"-f.|--(?:make)?file=", text) and not _MAKEFILE.fullmatch(
            re.sub(r"-f|--\w+=", "", text)
        ):
            yield "unclassified.script"
        name, _, value = text.partition("=")
        strange = name in COMPILERS and not COMPILER.fullmatch(value)
        if strange or re.search(r"=.*[;&|`<>]", text):
            yield "unclassified.options"


_MAKEFILE: Final = re.compile(
    r"(?!/)(?!.*\.\.)(?:[\w.-]+/)*(?:(?:gnu)?makefile[\w.-]*|[\w-]+\.(?:mk|make|mak))",
    re.IGNORECASE,
)


def _printenv(words: Sequence[Word]) -> Iterator[str]:
    plain = {"PATH", "HOME", "PWD", "LANG", "SHELL", "USER", "TERM", "CI", "TMPDIR", "VIRTUAL_ENV"}
    operands = {word.text for word in words[1:]}
    if not operands or operands - plain:
        yield "secrets_access.environment"


def _shows_all(words: Sequence[Word]) -> Iterator[str]:
    """Yield what ``set``, ``export``, ``declare`` and the like show without operands."""
    if not [word for word in words[1:] if not word.text.startswith("-")] and (
        words[0].text != "set" or len(words) == 1
    ):
        yield "secrets_access.environment"


def _rsync(words: Sequence[Word]) -> Iterator[str]:
    if any(":" in word.text for word in words[1:] if not word.text.startswith("-")) or any(
        not word.known for word in words[1:]
    ):
        yield "network_egress.upload"
    if any(re.match(r"-[a-zA-Z]*e\Z|--rsh|--rsync-path", word.text) for word in words[1:]):
        yield "unclassified.options"
    if any(word.text.startswith(("--delete", "--remove-source")) for word in words[1:]):
        yield "destructive_fs.recursive"


def _env(_: Sequence[Word]) -> Iterator[str]:
    yield "secrets_access.environment"


def _openssl(words: Sequence[Word]) -> Iterator[str]:
    verb = words[1].text if len(words) > 1 else ""
    if verb in {"s_client", "s_server", "s_time", "ocsp"}:
        yield "network_egress.host"
    elif verb not in {
        "version",
        "dgst",
        "rand",
        "x509",
        "sha256",
        "md5",
        "base64",
        "help",
        "ciphers",
    }:
        yield "secrets_access.store"


def _kill(words: Sequence[Word]) -> Iterator[str]:
    """Yield a doubt unless it is the shell's own jobs that end, or signals are listed."""
    targets = [word for word in words[1:] if not word.text.startswith("-")]
    own = [w for w in targets if w.text.startswith("%") or w.variables in {("!",), ("pid",)}]
    lists = [word.text for word in words[1:2]] == ["-l"]
    if not lists and (not own or len(own) < len(targets)):
        yield "unclassified.program"


SPECIAL: Final[Mapping[str, Callable[[Sequence[Word]], Iterator[str]]]] = {
    "git": git,
    "rm": _rm,
    "chmod": _permissions,
    "chown": _permissions,
    "chgrp": _permissions,
    "find": _find,
    "dd": _dd,
    "curl": _http,
    "wget": _http,
    **dict.fromkeys(("nc", "ncat", "netcat"), _nc),
    "sed": _sed,
    **dict.fromkeys(("awk", "gawk", "mawk", "nawk"), _awk),
    "jq": _jq,
    "ps": _ps,
    "tar": _tar,
    **dict.fromkeys(("make", "gmake"), _make),
    "printenv": _printenv,
    **dict.fromkeys(("set", "export", "declare", "typeset", "readonly"), _shows_all),
    "rsync": _rsync,
    "env": _env,
    "openssl": _openssl,
    "kill": _kill,
}
"""What is yielded for each program, by the last part of its name."""
