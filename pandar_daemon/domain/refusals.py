"""Every way Pandar says no. Each carries the `Problem` its asker gets, and nothing else."""

from __future__ import annotations

import math

from events.problem import FieldError, Problem

_URN = "urn:pandar:problem:"
_SERVER_FAULT = 500


class Refusal(Exception):
    """The request was understood and refused; nothing changed."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail or problem.title)
        self.problem = problem

    @property
    def is_fault(self) -> bool:
        """Whether it says nothing about the request, which may be granted later."""
        return self.problem.status >= _SERVER_FAULT


class Malformed(Refusal):
    """400: it could not be read at all."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            Problem(type=f"{_URN}malformed", title="Malformed request", status=400, detail=detail)
        )


class Unauthenticated(Refusal):
    """401: there is no valid token."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            Problem(
                type=f"{_URN}unauthenticated",
                title="A valid token is needed",
                status=401,
                detail=detail,
            )
        )


class Forbidden(Refusal):
    """403: known and visible, but not allowed; names the missing permission."""

    def __init__(self, permission: str) -> None:
        super().__init__(
            Problem(
                type=f"{_URN}forbidden",
                title="Not allowed",
                status=403,
                detail=f"this needs the permission {permission}",
            )
        )


class NotFound(Refusal):
    """404: it does not exist, or the asker may not know that it does."""

    def __init__(self, what: str) -> None:
        super().__init__(
            Problem(
                type=f"{_URN}not-found", title="Not found", status=404, detail=f"there is no {what}"
            )
        )


class Rejected(Refusal):
    """409: the rules forbid it in the present state, which it names."""

    def __init__(self, detail: str, *, state: str | None = None) -> None:
        super().__init__(
            Problem(
                type=f"{_URN}conflict",
                title="Not possible in this state",
                status=409,
                detail=detail,
                state=state,
            )
        )


class CommandIdReused(Refusal):
    """409: the same command id came with another request."""

    def __init__(self, command_id: str) -> None:
        super().__init__(
            Problem(
                type=f"{_URN}command-id-reused",
                title="Command id already used",
                status=409,
                detail=f"command id {command_id} belongs to another request; send a new one",
            )
        )


class VersionMismatch(Refusal):
    """412: it changed since the asker looked."""

    def __init__(self, expected: int, actual: int) -> None:
        super().__init__(
            Problem(
                type=f"{_URN}version-mismatch",
                title="It changed meanwhile",
                status=412,
                detail=f"expected version {expected}, it is at {actual}; read it again",
            )
        )


class TooLarge(Refusal):
    """413: over a documented limit."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            Problem(type=f"{_URN}too-large", title="Too large", status=413, detail=detail)
        )


class Invalid(Refusal):
    """422: it could be read, but fields break rules; names each."""

    def __init__(self, *errors: FieldError) -> None:
        super().__init__(
            Problem(
                type=f"{_URN}invalid",
                title="Invalid request",
                status=422,
                detail="; ".join(f"{error.field}: {error.rule}" for error in errors),
                errors=list(errors),
            )
        )


class TooMany(Refusal):
    """429: more of it than one may ask for; ``retry_after_sec`` is when there is room again."""

    def __init__(self, what: str, per_minute: int, retry_after_sec: float) -> None:
        self.retry_after_sec = max(1, math.ceil(retry_after_sec))
        super().__init__(
            Problem(
                type=f"{_URN}too-many",
                title="Too many requests",
                status=429,
                detail=f"at most {per_minute} {what} a minute; "
                f"ask again in {self.retry_after_sec} s",
            )
        )


class Unavailable(Refusal):
    """503: a part Pandar needs is away; asking again with the same command id is safe."""

    def __init__(self, detail: str) -> None:
        super().__init__(
            Problem(type=f"{_URN}unavailable", title="Unavailable", status=503, detail=detail)
        )
