"""A message from the bus becomes a request: authenticated, decoded, validated.

The same for both doors. The NATS service carries a bearer token; the durable queue, whose messages
lie on disk, carries a proof instead (see `pandar_daemon.domain.proof`).
"""

from __future__ import annotations

import hashlib
from uuid import UUID

import msgspec
from msgspec import Struct

from events import commands as do
from events import running as tell
from events.ids import ID_MAX, TOKEN
from events.problem import FieldError
from events.subjects import ANY, QUEUE, RUN, BadSubject, parse_command
from pandar_daemon.domain.access import Principal, Role
from pandar_daemon.domain.options import GatesOf, registered, validate
from pandar_daemon.domain.reading import decode
from pandar_daemon.domain.redacting import redacted
from pandar_daemon.domain.redaction import Redactor
from pandar_daemon.domain.refusals import (
    Invalid,
    Malformed,
    NotFound,
    TooLarge,
    Unauthenticated,
)
from pandar_daemon.ports import Clock, Message, Verifier
from pandar_daemon.services.families import is_numbered
from pandar_daemon.telemetry import valid_traceparent

BODY_MAX = 131_072
"""Bytes of a command: whatever event it becomes fits a message of the bus, of 1 MB, with ease."""
OWN = "system-"
"""So begin the command ids of Pandar's own services, which nobody else may use before them."""

SHAPES = Redactor()
"""Knows secrets by their shape only."""


class Request(Struct, frozen=True, kw_only=True):
    """What somebody asks, complete and legal as far as that can be told without any state."""

    action: str
    target: int | UUID | None
    project: int | None
    runner: str
    principal: Principal
    command: do.Command
    command_id: str
    sha256: bytes
    correlation_id: str | None
    causation_id: str | None
    traceparent: str | None
    expected_version: int | None
    body: bytes

    @property
    def holder(self) -> str:
        """Return whom a lease belongs to that this request takes or uses; empty for no runner.

        The token's bearer is part of it: to know a runner's name is not to be it.
        """
        return f"{self.principal.actor}/{self.runner}" if self.runner else ""


class Requests:
    """Reads messages."""

    def __init__(
        self,
        verifier: Verifier,
        clock: Clock,
        agents: frozenset[str],
        gates_of: GatesOf = registered,
    ) -> None:
        """Accept the agents named in ``agents``, and the gates of a project."""
        self._gates_of = gates_of
        self._verifier = verifier
        self._clock = clock
        self._agents = agents

    async def read(self, message: Message) -> Request:
        """Return the request in a message.

        Raises `Malformed`, `TooLarge`, `Unauthenticated`, `NotFound` or `Invalid`.
        """
        action, project, target = _subject(message.subject)
        if len(message.body) > BODY_MAX:
            raise TooLarge(f"a command has at most {BODY_MAX} bytes")
        command_id = self._command_id(message)
        principal = await self._who(message, command_id)
        if command_id.startswith(OWN) and Role.SYSTEM not in principal.roles:
            raise Malformed(f"Pandar-Command-Id: {OWN} begins the ids of Pandar itself")
        kind = _kind(message.subject, action)
        number = _target(action, target)
        named = None if project == ANY else _number("project", project)
        command = decode(message.body, kind)
        validate(command, self._agents, self._clock.now(), self._gates_of)
        _agree(command, named)
        headers, kept = message.headers, _without_keys(command)
        return Request(
            action=action,
            target=number,
            project=named,
            runner=target if action.startswith("run.") else "",
            principal=principal,
            command=kept,
            command_id=command_id,
            sha256=_fingerprint(action, target, principal, command),
            correlation_id=_token(headers.get("pandar-correlation-id")),
            causation_id=_token(headers.get("pandar-causation-id")),
            traceparent=valid_traceparent(headers.get("traceparent")),
            expected_version=_version(headers.get("pandar-expected-version")),
            body=message.body if kept is command else msgspec.json.encode(kept),
        )

    def _command_id(self, message: Message) -> str:
        given = message.headers.get("pandar-command-id")
        if given is None:
            return str(self._clock.new_id())
        if not TOKEN.fullmatch(given):
            raise Malformed("Pandar-Command-Id: expected 1 to 64 of A-Z a-z 0-9 _ -")
        return given

    async def _who(self, message: Message, command_id: str) -> Principal:
        if message.subject.startswith(f"{QUEUE}."):
            proof = message.headers.get("pandar-proof")
            if proof is None:
                raise Unauthenticated("a queued command needs a Pandar-Proof header")
            return await self._verifier.verify_proof(
                proof,
                subject=message.subject,
                command_id=command_id,
                body=message.body,
                at=message.queued_at or self._clock.now(),
            )
        token = message.headers.get("pandar-token")
        if token is None:
            raise Unauthenticated("a command needs a Pandar-Token header")
        return await self._verifier.verify(token)


def _without_keys(command: do.Command) -> do.Command:
    """Return a command without what looks like a key, as far as runners and reasons say it.

    The runner took out what it knows; this is for one that did not, and for people. What a task is
    to do is not changed: it was refused.
    """
    if isinstance(command, tell.OfExecution):
        return redacted(command, SHAPES)
    reason = getattr(command, "reason", "")
    clean = SHAPES.text(reason)[: do.REASON_MAX] if isinstance(reason, str) else reason
    return command if clean == reason else msgspec.structs.replace(command, reason=clean)


def _subject(subject: str) -> tuple[str, str, str]:
    if subject.startswith(f"{RUN}."):
        action, _, runner = subject[len(RUN) + 1 :].partition(".")
        if not TOKEN.fullmatch(action) or not TOKEN.fullmatch(runner):
            raise Malformed(f"subject: expected {RUN}.<action>.<runner>")
        return f"run.{action}", ANY, runner
    try:
        action, project, target = parse_command(subject)
    except BadSubject as error:
        raise Malformed(f"subject: {error}") from None
    return action, project, target


def _kind(subject: str, action: str) -> type[do.Command]:
    if subject.startswith(f"{RUN}."):
        kind = tell.RUNNER_ACTIONS.get(action.removeprefix("run."))
    else:
        kind = do.ACTIONS.get(action)
    if kind is None:
        raise NotFound(f"command {action}")
    return kind


def _target(action: str, token: str) -> int | UUID | None:
    """Return the id a subject ends with; what is created, and a runner, has none."""
    category, _, verb = action.partition(".")
    if category == "run":
        return None
    if (token == ANY) != (verb == "create"):
        ending = ANY if verb == "create" else f"the id of a {category}"
        raise Malformed(f"subject: {action} ends with {ending}")
    if token == ANY:
        return None
    return _number(category, token) if is_numbered(action) else _uuid(category, token)


def _uuid(what: str, token: str) -> UUID:
    try:
        return UUID(token)
    except ValueError:
        raise NotFound(f"{what} {token}") from None


def _number(what: str, token: str) -> int:
    if not token.isascii() or not token.isdigit() or not 1 <= int(token) <= ID_MAX:
        raise NotFound(f"{what} {token}")
    return int(token)


def _agree(command: do.Command, project: int | None) -> None:
    if isinstance(command, do.CreateTask) and project not in {None, command.project_id}:
        raise Invalid(
            FieldError(field="project_id", rule=f"must be that of the subject, {project}")
        )


def _version(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isascii() or not text.isdigit() or len(text) > 9:  # noqa: PLR2004 - fits an int4
        raise Malformed("Pandar-Expected-Version: expected a whole number")
    return int(text)


def _token(text: str | None) -> str | None:
    return text if text is not None and TOKEN.fullmatch(text) else None


def _fingerprint(action: str, target: str, principal: Principal, command: do.Command) -> bytes:
    body = msgspec.json.encode(command, order="sorted")
    head = f"{action}\n{target}\n{principal.actor}\n"
    return hashlib.sha256(head.encode() + body).digest()
