"""What an agent wants to do, in the words of no agent in particular, and the rules it is judged by.

A `ToolCall` is what a card shows, what a decision is about and what a policy is tried on later; so
it stands in events, and is bounded.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

TEXT_MAX: Final = 10_000
"""Characters of a command, or of what stands for one."""
DIFF_MAX: Final = 32_768
"""Characters of a diff that are kept; its hash is of all."""
LIST_MAX: Final = 100
"""Paths or hosts that are named one by one."""

MOVES_MAX: Final = 50
"""References one push may move."""
SUBJECTS_MAX: Final = 10
"""Commits of one reference that are named one by one."""

GATE_NAMES: Final = (
    "git_push_protected",
    "secrets_access",
    "infra_change",
    "package_publish",
    "network_egress",
    "outside_workspace",
    "destructive_fs",
    "budget",
)
"""The gates every project has; configuration may add others."""

Text = Annotated[str, Meta(max_length=TEXT_MAX)]
Word = Annotated[str, Meta(max_length=1_000)]
Names = Annotated[list[Word], Meta(max_length=LIST_MAX)]


class CallKind(StrEnum):
    """What a call does, as the Agent Client Protocol has it."""

    READ = "read"
    EDIT = "edit"
    DELETE = "delete"
    MOVE = "move"
    SEARCH = "search"
    EXECUTE = "execute"
    THINK = "think"
    FETCH = "fetch"
    OTHER = "other"


Sha = Annotated[str, Meta(max_length=64)]
"""An object of a repository in hex; empty for none."""


class RefMove(Struct, frozen=True, kw_only=True):
    """What a push does to one reference of the remote, found out from the commits themselves.

    ``commits`` are new there and ``files`` differ; ``subjects`` are of the newest commits.
    ``forced``: what is there now is no ancestor. ``own``: it is the branch of the task.
    """

    ref: Word
    old: Sha = ""
    new: Sha = ""
    forced: bool = False
    protected: bool = False
    own: bool = False
    commits: Annotated[int, Meta(ge=0)] = 0
    files: Annotated[int, Meta(ge=0)] = 0
    subjects: Annotated[
        list[Annotated[str, Meta(max_length=200)]], Meta(max_length=SUBJECTS_MAX)
    ] = []


class ToolCall(Struct, frozen=True, kw_only=True):
    """One thing an agent asks to do.

    ``command`` is shell text, ``paths`` are as the agent named them, ``diff`` is unified and may
    be cut at `DIFF_MAX`, ``input`` is the agent's own JSON where nothing better is known of it.
    ``moves`` is never the agent's word: we found it out; ``input`` then names the remote.
    """

    kind: CallKind = CallKind.OTHER
    tool: Word = ""
    title: Annotated[str, Meta(max_length=2_000)] = ""
    command: Text = ""
    cwd: Word = ""
    paths: Names = []
    hosts: Names = []
    diff: Annotated[str, Meta(max_length=DIFF_MAX)] = ""
    diff_sha256: Annotated[str, Meta(max_length=64)] = ""
    input: Text = ""
    moves: Annotated[list[RefMove], Meta(max_length=MOVES_MAX)] = []

    @property
    def sha256(self) -> str:
        """Return, in hex, the hash of what it would do.

        The same for an agent that asks for it again, in other words or under another id. Of a push
        it is which reference of which remote comes from where to where.
        """
        meaning: list[object] = [self.command, self.cwd, self.input]
        if self.moves:
            moves = sorted([each.ref, each.old, each.new] for each in self.moves)
            meaning = ["push", self.input, moves]
        elif not self.command:
            meaning = [self.kind, sorted(self.paths), sorted(self.hosts), self.input]
            meaning += [self.diff_sha256 or self.diff, self.tool if self.input else ""]
            if not (self.paths or self.hosts or self.diff or self.input):
                meaning += [self.tool, self.title]
        return hashlib.sha256(msgspec.json.encode(meaning)).hexdigest()


class Verdict(StrEnum):
    """What is done about a call."""

    ALLOW = "allow"
    ASK = "ask"
    DENY = "deny"


class Severity(StrEnum):
    """How much harm a call could do."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Match(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which calls a rule is about: of each list that is stated, one item must fit.

    ``commands``, ``paths`` and ``hosts`` are shell patterns (``*``, ``?``, ``[…]``); a command is
    one simple command, its words joined by single blanks.
    """

    kinds: list[CallKind] = []
    tools: list[str] = []
    commands: list[str] = []
    paths: list[str] = []
    hosts: list[str] = []


class GateRule(Struct, frozen=True, kw_only=True):
    """A gate of a project's own, or something that is never done."""

    name: str
    match: Match
    severity: Severity = Severity.MEDIUM
    why: str = ""


class Rules(Struct, frozen=True, kw_only=True):
    """What the calls of a task are judged by; goes to the runner with the assignment.

    ``gates`` are those it stops at, from the registry or ``own``; ``denied`` is never done,
    whatever anybody decided; ``allowed`` are commands nobody is asked about, if nothing denies
    them.
    """

    policy: str = "auto_with_gates"
    gates: list[str] = []
    own: list[GateRule] = []
    denied: list[GateRule] = []
    allowed: list[GateRule] = []


class Scope(StrEnum):
    """How far an approval goes."""

    CALL = "call"  # this one call
    EXECUTION = "execution"  # everything at the same gates, until this execution ends
    PATTERN = "pattern"  # calls of this task that fit the pattern
    PROJECT = "project"  # a standing grant for the project: calls that fit the pattern


class Allowance(Struct, frozen=True, kw_only=True):
    """Consent given beforehand: calls at ``gates`` that fit ``pattern`` (empty: all of them).

    A pattern is a shell pattern for a simple command, a path or a host.
    """

    gates: list[str]
    pattern: str = ""
    confirmation_id: str = ""
    grant_id: str = ""
