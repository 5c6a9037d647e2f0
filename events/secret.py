"""Secrets of projects: what can happen to them, and what can be asked of them.

Only sealed values are here. A value is sealed with the data key of its project, before a command
with it is sent; the data key is sealed with the master key of the installation, which is nowhere
in the log or on the bus. Who made them, and how, is told by the prefix of each.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta, Struct

from events.command import Command
from events.task import Event

VALUE_MAX: Final = 65_536
"""Bytes of a value as UTF-8."""
SECRETS_MAX: Final = 100
"""Secrets of one project."""
_TAG_BYTES: Final = 16
_HEAD: Final = len("v1.0123456789abcdef.")
SEALED_MAX: Final = _HEAD + -(-(VALUE_MAX + _TAG_BYTES) * 4 // 3)
"""Characters of a sealed value."""

SecretName = Annotated[str, Meta(pattern=r"^[A-Z][A-Z0-9_]{0,63}\Z")]
About = Annotated[str, Meta(max_length=1_000)]
KeyId = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}\Z")]
SealedValue = Annotated[
    str, Meta(pattern=r"^v1\.[0-9a-f]{16}\.[A-Za-z0-9_-]{22,}\Z", max_length=SEALED_MAX)
]
SealedDataKey = Annotated[
    str, Meta(pattern=r"^k1\.[0-9a-f]{16}\.[A-Za-z0-9_-]{22,}\Z", max_length=200)
]


class SecretUse(StrEnum):
    """What a secret is for."""

    ENV = "env"  # released after consent, to one command, as an environment variable
    GIT = "git"  # what Pandar itself reaches the project's repository with


class SecretSet(Event, frozen=True, kw_only=True, tag="secret.set"):
    """A secret got a value, its first or another one."""

    name: str
    sealed: str
    use: SecretUse = SecretUse.ENV
    description: str = ""


class SecretRemoved(Event, frozen=True, kw_only=True, tag="secret.removed"):
    """A secret is no more."""

    name: str


class KeyMade(Event, frozen=True, kw_only=True, tag="secret.key_made"):
    """The project got the data key that its secrets are sealed with from now on."""

    key_id: str
    sealed: str


class KeyResealed(Event, frozen=True, kw_only=True, tag="secret.key_resealed"):
    """The same data key was sealed with another master key."""

    key_id: str
    sealed: str


SecretEvent = SecretSet | SecretRemoved | KeyMade | KeyResealed


class SetSecret(Command, frozen=True, kw_only=True):
    """Give a secret a value, which is sealed already: the API does that, nothing else can."""

    name: SecretName
    sealed: SealedValue
    use: SecretUse = SecretUse.ENV
    description: About = ""


class RemoveSecret(Command, frozen=True, kw_only=True):
    """Let a secret be no more."""

    name: SecretName


class MakeKey(Command, frozen=True, kw_only=True):
    """Give a project a data key if it has none; sent by the API.

    ``replaces`` is a key that cannot be opened any more: it is replaced while no secret needs it.
    """

    key_id: KeyId
    sealed: SealedDataKey
    replaces: Annotated[str, Meta(max_length=16)] = ""


class ResealKey(Command, frozen=True, kw_only=True):
    """Keep the same data key under another master key; sent by the API."""

    key_id: KeyId
    sealed: SealedDataKey


class SealedSecret(Struct, frozen=True, kw_only=True):
    """A secret as a runner is given it."""

    name: str
    use: SecretUse
    sealed: str


class DataKey(Struct, frozen=True, kw_only=True):
    """The data key of a project, sealed with a master key."""

    key_id: str
    sealed: str


SECRET_ACTIONS: dict[str, type[Command]] = {
    "project.set_secret": SetSecret,
    "project.remove_secret": RemoveSecret,
    "project.make_key": MakeKey,
    "project.reseal_key": ResealKey,
}
