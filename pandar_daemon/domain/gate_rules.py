"""The registry of gates, and the rules by which a call touches one.

The part of a rule's name before the dot is its gate. `UNCLASSIFIED` is no gate of the registry:
what nobody can tell is asked about wherever there are gates at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from events.calls import Severity

UNCLASSIFIED: Final = "unclassified"

_LOW, _MEDIUM, _HIGH, _CRITICAL = Severity


class Gate(Struct, frozen=True):
    """A class of action that needs consent."""

    name: str
    about: str


class Touch(Struct, frozen=True):
    """A gate that a call touches, by which rule, and the part of the call that does.

    ``part`` is the words of a simple command, or one path or host. ``fixed``: a shell puts nothing
    in place of any of it.
    """

    gate: str
    rule: str
    severity: Severity
    why: str
    part: tuple[str, ...] = ()
    fixed: bool = True


GATES: Final[Mapping[str, Gate]] = {
    name: Gate(name, about)
    for name, about in (
        ("git_push_protected", "commits leave for a remote, or what a remote shows is changed"),
        ("secrets_access", "a password, key or token may be read"),
        ("infra_change", "machines, clusters, containers or deployments are changed"),
        ("package_publish", "a package, an image or a release becomes public"),
        ("network_egress", "something is sent to, or fetched from, another machine"),
        ("outside_workspace", "files outside the workspace and the task's home are changed"),
        ("destructive_fs", "many files, or work nobody saved, are destroyed"),
        ("budget", "the task has cost what it may cost"),
    )
}
"""Every gate there is for all projects; ``budget`` is touched by no call."""

RULES: Final[Mapping[str, tuple[Severity, str]]] = {
    "git_push_protected.push": (_HIGH, "pushes to a remote"),
    "git_push_protected.branch": (_HIGH, "pushes to a protected branch"),
    "git_push_protected.force": (_CRITICAL, "pushes over what is on the remote"),
    "git_push_protected.delete": (_CRITICAL, "deletes on the remote"),
    "git_push_protected.merge": (_CRITICAL, "merges on the remote"),
    "git_push_protected.pull_request": (_MEDIUM, "changes an issue or pull request"),
    "git_push_protected.api": (_HIGH, "may change anything at the remote"),
    "git_push_protected.refs": (_HIGH, "moves references behind the back of git's commands"),
    "git_push_protected.remote": (_MEDIUM, "changes where pushes go"),
    "git_push_protected.task": (_HIGH, "runs a task of the project whose name says push"),
    "secrets_access.file": (_HIGH, "names a file that holds secrets"),
    "secrets_access.environment": (_HIGH, "shows the environment"),
    "secrets_access.variable": (_HIGH, "uses a variable that holds a secret"),
    "secrets_access.store": (_HIGH, "asks a store of secrets"),
    "infra_change.apply": (_HIGH, "changes infrastructure"),
    "infra_change.destroy": (_CRITICAL, "destroys infrastructure"),
    "infra_change.container": (_MEDIUM, "runs or changes containers"),
    "infra_change.system": (_HIGH, "changes services of this machine"),
    "infra_change.deploy": (_HIGH, "deploys"),
    "package_publish.publish": (_CRITICAL, "publishes a package"),
    "package_publish.registry": (_HIGH, "changes what a registry shows"),
    "package_publish.image": (_HIGH, "publishes an image"),
    "package_publish.release": (_HIGH, "publishes a release"),
    "network_egress.host": (_MEDIUM, "talks to another machine"),
    "network_egress.upload": (_HIGH, "sends data to another machine"),
    "network_egress.install": (_MEDIUM, "fetches packages, whose code may run"),
    "network_egress.git": (_LOW, "talks to a git remote"),
    "network_egress.remote_shell": (_HIGH, "runs something on another machine"),
    "outside_workspace.temporary": (_LOW, "writes to a folder for temporary files"),
    "outside_workspace.write": (_MEDIUM, "writes outside the workspace"),
    "outside_workspace.system": (_HIGH, "writes where the system's own files are"),
    "outside_workspace.packages": (_HIGH, "changes what is installed on this machine"),
    "destructive_fs.recursive": (_HIGH, "deletes whole folders"),
    "destructive_fs.root": (_CRITICAL, "deletes the workspace, the home or what they are in"),
    "destructive_fs.everything": (_HIGH, "deletes all files of a folder"),
    "destructive_fs.unknown": (_MEDIUM, "deletes what only the shell will know"),
    "destructive_fs.git_clean": (_HIGH, "deletes files git does not know"),
    "destructive_fs.git_reset": (_HIGH, "throws away changes that were not committed"),
    "destructive_fs.git_history": (_MEDIUM, "throws away commits or stashes"),
    "destructive_fs.disk": (_CRITICAL, "writes to a disk itself"),
    "destructive_fs.overwrite": (_HIGH, "destroys what files contain"),
    "destructive_fs.task": (_HIGH, "runs a task of the project whose name says delete"),
    "destructive_fs.fill": (_HIGH, "writes without end"),
    "destructive_fs.permissions": (_MEDIUM, "changes permissions of whole folders"),
    "unclassified.program": (_MEDIUM, "what this program does is not known"),
    "unclassified.verb": (_MEDIUM, "what this command of the program does is not known"),
    "unclassified.options": (_MEDIUM, "an option makes it unclear what runs"),
    "unclassified.expansion": (_HIGH, "what runs is known to the shell only"),
    "unclassified.inline_code": (_MEDIUM, "runs code given on the command line"),
    "unclassified.script": (_MEDIUM, "runs a script whose content was not looked at"),
    "unclassified.module": (_MEDIUM, "runs a module that is not known"),
    "unclassified.stdin": (_HIGH, "runs what another program writes"),
    "unclassified.settings": (_MEDIUM, "changes how other programs work, or which ones run"),
    "unclassified.elevation": (_CRITICAL, "runs as another user"),
    "unclassified.unfinished": (_MEDIUM, "it ends too early, or shells differ in how they read it"),
    "unclassified.readers": (_HIGH, "two readers of shell differ about what runs"),
    "unclassified.disguised": (_HIGH, "it holds characters nobody sees, or looks like another"),
    "unclassified.written": (_HIGH, "writes what it then runs"),
    "unclassified.sentence": (_HIGH, "tells somebody to run what may do great harm"),
    "unclassified.nesting": (_MEDIUM, "shells within shells, too many to look into"),
    "unclassified.target": (_MEDIUM, "where it writes is known to the shell only"),
    "unclassified.later": (_HIGH, "writes what git or a shell runs later"),
    "unclassified.nothing": (_MEDIUM, "it does not say what it does"),
    "unclassified.cut": (_HIGH, "it is too long to be seen whole"),
    "unclassified.tool": (_MEDIUM, "what this tool does is not known"),
}
"""Severity and reason of each rule."""


def touch(rule: str, part: tuple[str, ...] = (), *, fixed: bool = True) -> Touch:
    """Return what a rule of `RULES` says about a part of a call."""
    severity, why = RULES[rule]
    return Touch(rule.partition(".")[0], rule, severity, why, part, fixed)
