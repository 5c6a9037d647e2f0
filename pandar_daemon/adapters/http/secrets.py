"""Secrets of projects: set, listed by name, removed; never answered.

A value is sealed here, before the command is sent: nothing that is stored, published, answered or
logged holds it.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final

from aiohttp import web
from msgspec import Meta, Struct

from events import codec
from events.ids import project_secrets_stream
from events.instant import Instant
from events.problem import FieldError
from events.secret import (
    VALUE_MAX,
    About,
    DataKey,
    MakeKey,
    RemoveSecret,
    ResealKey,
    SecretName,
    SecretUse,
    SetSecret,
)
from events.task import Json
from pandar_daemon.adapters.http import visibility
from pandar_daemon.adapters.http.bodies import answer, raw
from pandar_daemon.adapters.http.deps import PRINCIPAL, deps
from pandar_daemon.adapters.http.params import id_in_path
from pandar_daemon.adapters.http.positions import caught_up
from pandar_daemon.adapters.http.writing import send, send_own
from pandar_daemon.domain import project_secrets
from pandar_daemon.domain.access import Permission, require
from pandar_daemon.domain.credential import credential
from pandar_daemon.domain.project_secrets import ProjectSecrets
from pandar_daemon.domain.reading import UNKNOWN, convert, decode, invalid, nul_faults
from pandar_daemon.domain.refusals import Invalid, NotFound, Rejected, Unavailable
from pandar_daemon.ports import Locked, Secret, SecretReads, Vault
from projections.base import fold, plain
from projections.secrets import SECRETS, SECRETS_TABLE

Value = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=VALUE_MAX,
        description="At most 65,536 bytes as UTF-8; no answer ever holds it.",
        extra_json_schema={"writeOnly": True},
    ),
]


class NewSecret(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of ``PUT /projects/{id}/secrets/{secret}``.

    ``use`` is ``git`` for what the repository is reached with: ``user:password``, a token, or an
    SSH private key without a passphrase.
    """

    value: Value
    description: About = ""
    use: SecretUse = SecretUse.ENV

    def __repr__(self) -> str:
        """Return what it is for, and of the value nothing."""
        return f"NewSecret({self.use})"


class ProjectSecret(Struct, frozen=True, kw_only=True):
    """What is known of a secret; ``set_by`` and ``set_at`` are of its present value."""

    project_id: int
    name: str
    use: SecretUse
    description: str
    set_by: str
    set_at: Instant


class SecretList(Struct, frozen=True, kw_only=True):
    """The secrets of a project, by name."""

    items: list[ProjectSecret]


class Rekeyed(Struct, frozen=True, kw_only=True):
    """How many data keys are under the present master key now, and which cannot be opened."""

    resealed: int
    present: int
    locked: list[str]


async def page(request: web.Request) -> web.Response:
    """Answer what secrets a project has, by name; never a value."""
    number = await _managed(request)
    reads, _ = _served(request)
    if await deps(request).projects.get(number) is None:
        await caught_up(deps(request))
    if await deps(request).projects.get(number) is None:
        raise NotFound(f"project {number}")
    return answer({"items": await reads.page(number)})


async def put(request: web.Request) -> web.Response:
    """Give a secret a value, its first or another one; answers what is known of it."""
    number, name = await _managed(request), _name(request)
    wanted = _checked(await raw(request))
    secret = Secret(name=name, use=wanted.use, value=wanted.value)
    order = SetSecret(
        name=name,
        sealed=await _sealed(request, number, secret),
        use=wanted.use,
        description=wanted.description,
    )
    sent = await send(request, "project.set_secret", order, target=number)
    row = await _row(request, number, name, sent.accepted.position)
    return answer(row, headers=sent.headers)


async def remove(request: web.Request) -> web.Response:
    """Let a secret be no more; what was sealed stays in the log, and nobody is given it."""
    number, name = id_in_path(request, "project"), _name(request)
    order = RemoveSecret(name=name)
    sent = await send(request, "project.remove_secret", order, target=number)
    return web.Response(status=HTTPStatus.NO_CONTENT, headers=sent.headers)


async def rekey(request: web.Request) -> web.Response:
    """Seal every data key with the present master key; for administrators."""
    require(request[PRINCIPAL], Permission.SYSTEM_MANAGE, None, "installation")
    reads, vault = _served(request)
    await caught_up(deps(request))
    resealed, present, locked = 0, 0, list[str]()
    for each in await reads.keys():
        try:
            key = vault.reseal(each.project_id, each.key)
        except Locked as error:
            locked.append(str(error))
            continue
        if key != each.key:
            order = ResealKey(key_id=key.key_id, sealed=key.sealed)
            await send_own(request, "project.reseal_key", order, target=each.project_id)
            resealed += 1
        present += 1
    return answer(Rekeyed(resealed=resealed, present=present, locked=locked))


async def _managed(request: web.Request) -> int:
    """Return the project of the path; raises unless the caller may manage it."""
    number = id_in_path(request, "project")
    await visibility.check(request, Permission.PROJECT_MANAGE, number, f"project {number}")
    return number


def _served(request: web.Request) -> tuple[SecretReads, Vault]:
    needs = deps(request)
    if needs.secrets is None or needs.vault is None:
        raise Unavailable("secrets are not served here")
    return needs.secrets, needs.vault


def _name(request: web.Request) -> str:
    text = request.match_info["secret"]
    if convert(text, SecretName, "name")[1] is not None:
        rule = "must be 1 to 64 of the characters A-Z 0-9 _, a letter first"
        raise Invalid(FieldError(field="name", rule=rule))
    return text


_FIELDS: Final = frozenset(NewSecret.__struct_fields__)


def _checked(body: bytes) -> NewSecret:
    """Return a body; raises `Malformed`, or `Invalid` that repeats nothing of what was sent."""
    try:
        wanted = decode(body, NewSecret)
    except Invalid as refusal:
        faults = refusal.problem.errors or []
        raise invalid(
            fault if fault.field in _FIELDS else FieldError(field="body", rule=UNKNOWN)
            for fault in faults
        ) from None
    faults = [*nul_faults(wanted.value, "value"), *_faults(wanted)]
    if faults:
        raise invalid(faults)
    return wanted


def _faults(wanted: NewSecret) -> list[FieldError]:
    if len(wanted.value.encode()) > VALUE_MAX:
        return [FieldError(field="value", rule=f"must have at most {VALUE_MAX} bytes as UTF-8")]
    if wanted.use is SecretUse.GIT:
        try:
            credential(wanted.value)
        except ValueError as error:
            return [FieldError(field="value", rule=str(error))]
    return []


async def _sealed(request: web.Request, number: int, secret: Secret) -> str:
    """Return a value sealed with the project's data key, which is made for the first one."""
    _, vault = _served(request)
    try:
        return vault.seal(number, await _key(request, number, vault), secret)
    except Locked as locked:
        raise Rejected(str(locked)) from None


async def _key(request: web.Request, number: int, vault: Vault) -> DataKey:
    """Return the data key of a project: made for its first secret, or when none needs the old."""
    state = await _state(request, number)
    if state.key is not None and (state.held or _opens(vault, number, state.key)):
        return state.key
    made = vault.make_key(number)
    replaces = state.key.key_id if state.key else ""
    order = MakeKey(key_id=made.key_id, sealed=made.sealed, replaces=replaces)
    sent = await send_own(request, "project.make_key", order, target=number)
    state = await _state(request, number, up_to=sent.accepted.position)
    return state.key or made


def _opens(vault: Vault, number: int, key: DataKey) -> bool:
    try:
        vault.reseal(number, key)
    except Locked:
        return False
    return True


async def _state(request: web.Request, number: int, up_to: int | None = None) -> ProjectSecrets:
    state = project_secrets.initial(number)
    stream = project_secrets_stream(number)
    for recorded in await deps(request).store.read_stream(stream, up_to=up_to):
        event = codec.decode(recorded)
        state = state if event is None else project_secrets.evolve(state, event)
    return state


async def _row(request: web.Request, number: int, name: str, position: int) -> Json:
    stream = project_secrets_stream(number)
    history = await deps(request).store.read_stream(stream, up_to=position)
    row = fold(SECRETS, history)[SECRETS_TABLE.name].get((number, name))
    if row is None:
        raise NotFound(f"secret {name} in project {number}")
    return {column: plain(value) for column, value in row.items()}
