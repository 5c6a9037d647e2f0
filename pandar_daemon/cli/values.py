"""Kinds of values on the command line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import click

from events import instant
from events.task import Json
from pandar_daemon.adapters.clock import SystemClock
from pandar_daemon.cli.times import parse_span, parse_when


class Span(click.ParamType[int]):
    """A length of time such as ``30d``, as seconds."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        """Return the seconds; fails with the forms that are understood."""
        try:
            return value if isinstance(value, int) else parse_span(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class When(click.ParamType[str]):
    """A time with its zone, or ``+2h`` from now, as the API reads it."""

    name = "time"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> str:
        """Return RFC 3339 in UTC; fails with the forms that are understood."""
        try:
            return instant.text(parse_when(str(value), SystemClock().now()))
        except (ValueError, OverflowError) as error:
            self.fail(str(error), param, ctx)


SPAN: Final = Span()
WHEN: Final = When()


def metadata(text: str | None, pairs: Sequence[str]) -> Json:
    """Return ``--metadata`` with every ``-m key=value`` on top.

    A value that is JSON (``600``, ``true``, ``["git_push"]``) is taken as such, any other as text.
    Raises ``click.BadParameter``.
    """
    try:
        whole = json.loads(text) if text else {}
    except ValueError as error:
        raise click.BadParameter(f"not JSON: {error}", param_hint="--metadata") from error
    if not isinstance(whole, dict):
        raise click.BadParameter("not a JSON object", param_hint="--metadata")
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not (equals and key):
            raise click.BadParameter(f"{pair!r} is not key=value", param_hint="-m")
        whole[key] = _value(value)
    return whole


def _value(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
