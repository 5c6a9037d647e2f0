"""What seals the secrets of projects, and who can read them again."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from events.secret import DataKey, SealedSecret, SecretUse
from events.task import Json


class Locked(Exception):
    """No master key given here opens it; the message says which one it takes, and what to do."""


class Secret(Struct, frozen=True, kw_only=True):
    """A secret as it was set. It shows no value when it is printed."""

    name: str
    use: SecretUse
    value: str

    def __repr__(self) -> str:
        """Return what it is, and of the value nothing."""
        return f"Secret({self.name}, {self.use})"


class Vault(Protocol):
    """The one place that has master keys; nothing it raises or returns shows one."""

    def make_key(self, project_id: int) -> DataKey:
        """Return a new data key for a project, sealed with the present master key."""
        ...

    def seal(self, project_id: int, key: DataKey, secret: Secret) -> str:
        """Return a secret's value sealed with a project's data key: always the same text.

        So a command that sets it is the same command when it is sent again. Of no use under
        another name, for another use or in another project. Raises `Locked`.
        """
        ...

    def unseal(self, project_id: int, key: DataKey, sealed: SealedSecret) -> Secret:
        """Return a secret as it was set.

        Raises `Locked`, also for a value that was changed, or moved from where it was sealed.
        """
        ...

    def reseal(self, project_id: int, key: DataKey) -> DataKey:
        """Return a data key under the present master key; raises `Locked`."""
        ...


class KeyInUse(Struct, frozen=True, kw_only=True):
    """The data key of a project, and how many secrets it has."""

    project_id: int
    key: DataKey
    secrets: int


class SecretReads(Protocol):
    """What is known of secrets without being able to read one."""

    async def page(self, project_id: int) -> list[Json]:
        """Return what is known of a project's secrets, by name."""
        ...

    async def keys(self) -> list[KeyInUse]:
        """Return the data key of each project that has one, by project."""
        ...
