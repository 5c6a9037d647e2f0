"""RFC 9457 problem details: the one shape of every error, on HTTP and on the bus."""

from __future__ import annotations

from msgspec import Struct


class FieldError(Struct, frozen=True, kw_only=True):
    """What is wrong with one field: its path (``metadata.agent``) and the rule it breaks."""

    field: str
    rule: str


class Problem(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``status`` is the HTTP status and the ``Nats-Service-Error-Code``.

    ``type`` is ``urn:pandar:problem:<code>``, stable for programs; ``detail`` says what to do.
    """

    type: str
    title: str
    status: int
    detail: str = ""
    errors: list[FieldError] = []
    state: str | None = None


CONTENT_TYPE = "application/problem+json"
