"""The decider of a project's secrets: names, limits and keys. What is sealed stays sealed here."""

from __future__ import annotations

from typing import Final, assert_never

import msgspec
from msgspec import Struct

from events import secret as did
from events.secret import (
    SECRETS_MAX,
    DataKey,
    MakeKey,
    RemoveSecret,
    ResealKey,
    SealedSecret,
    SecretEvent,
    SecretUse,
    SetSecret,
)
from events.task import Event
from pandar_daemon.domain.refusals import NotFound, Rejected

SecretCommand = SetSecret | RemoveSecret | MakeKey | ResealKey

PAGE_MAX: Final = 400_000
"""Characters of sealed values in one answer to a runner: a message of the bus has at most 1 MB."""


class Kept(Struct, frozen=True):
    """What there is of one secret."""

    sealed: str
    use: SecretUse
    description: str


class ProjectSecrets(Struct, frozen=True):
    """The secrets of a project; ``key`` is ``None`` before the first one."""

    project_id: int
    key: DataKey | None = None
    held: dict[str, Kept] = {}


def initial(project_id: int) -> ProjectSecrets:
    """Return the secrets of a project that never had any."""
    return ProjectSecrets(project_id)


def decide(secrets: ProjectSecrets, command: SecretCommand, _user: str) -> list[SecretEvent]:
    """Return what the command makes happen, perhaps nothing.

    Raises `NotFound` for a secret to be removed that is not there, `Rejected` for what the rules
    forbid.
    """
    match command:
        case SetSecret():
            return _set(secrets, command)
        case RemoveSecret():
            if command.name not in secrets.held:
                raise NotFound(f"secret {command.name} in project {secrets.project_id}")
            return [did.SecretRemoved(name=command.name)]
        case MakeKey():
            return _make_key(secrets, command)
        case ResealKey():
            return _reseal(secrets, command)
        case _:
            assert_never(command)


def _set(secrets: ProjectSecrets, command: SetSecret) -> list[SecretEvent]:
    where, name = f"project {secrets.project_id}", command.name
    if secrets.key is None or key_of(command.sealed) != secrets.key.key_id:
        raise Rejected(f"{name} is not sealed with the data key of {where}: set it again")
    wanted = Kept(command.sealed, command.use, command.description)
    if secrets.held.get(name) == wanted:
        return []
    if name not in secrets.held and len(secrets.held) >= SECRETS_MAX:
        raise Rejected(f"{where} has {SECRETS_MAX} secrets, the most there can be: remove one")
    for other, kept in secrets.held.items():
        if command.use is SecretUse.GIT is kept.use and other != name:
            raise Rejected(f"{where} has {other} for its repository: set that one, or remove it")
    return [
        did.SecretSet(
            name=name, sealed=command.sealed, use=command.use, description=command.description
        )
    ]


def _make_key(secrets: ProjectSecrets, command: MakeKey) -> list[SecretEvent]:
    """Return nothing where there is a key already, which then is the one to be used."""
    known = secrets.key
    replaced = known is not None and command.replaces == known.key_id and not secrets.held
    if known is not None and not replaced:
        return []
    return [did.KeyMade(key_id=command.key_id, sealed=command.sealed)]


def _reseal(secrets: ProjectSecrets, command: ResealKey) -> list[SecretEvent]:
    if secrets.key is None or secrets.key.key_id != command.key_id:
        raise Rejected(f"project {secrets.project_id} has another data key")
    if secrets.key.sealed == command.sealed:
        return []
    return [did.KeyResealed(key_id=command.key_id, sealed=command.sealed)]


def evolve(secrets: ProjectSecrets, event: Event) -> ProjectSecrets:
    """Return the secrets after an event; one it does not know leaves them as they are."""
    match event:
        case did.SecretSet():
            kept = Kept(event.sealed, event.use, event.description)
            return msgspec.structs.replace(secrets, held={**secrets.held, event.name: kept})
        case did.SecretRemoved():
            held = {name: kept for name, kept in secrets.held.items() if name != event.name}
            return msgspec.structs.replace(secrets, held=held)
        case did.KeyMade() | did.KeyResealed():
            key = DataKey(key_id=event.key_id, sealed=event.sealed)
            return msgspec.structs.replace(secrets, key=key)
        case _:
            return secrets


def key_of(sealed: str) -> str:
    """Return the id of the key something is sealed with."""
    return sealed.split(".", 2)[1] if sealed.count(".") > 1 else ""


def page(secrets: ProjectSecrets, after: str) -> tuple[list[SealedSecret], bool]:
    """Return the secrets after a name, by name, and whether there are more.

    There is at least one where any is left, and more only as long as `PAGE_MAX` holds them.
    """
    found: list[SealedSecret] = []
    size = 0
    for name, kept in sorted(secrets.held.items()):
        if name > after:
            size += len(kept.sealed)
            if found and size > PAGE_MAX:
                return found, True
            found.append(SealedSecret(name=name, use=kept.use, sealed=kept.sealed))
    return found, False
