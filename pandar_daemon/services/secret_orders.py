"""``pandar-secret run NAME… -- command``: secrets for one command in the box, after consent.

They are in the environment of that command and nowhere else; it can do with them what it wants,
and that is what the consent is for. Nothing of the execution shows them from then on.
"""

from __future__ import annotations

import re
import shlex
from typing import Final

from msgspec import Struct

from events.calls import TEXT_MAX, CallKind, ToolCall
from events.secret import SecretUse
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.ports import Ending, Inquire, Locked, Order, Show
from pandar_daemon.services.broker import refuse
from pandar_daemon.services.secrets import Secrets

NAMES_MAX: Final = 10
_NAME: Final = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_USAGE: Final = "usage: pandar-secret run NAME... -- COMMAND...   or   pandar-secret list"


class Released(Struct, frozen=True, kw_only=True):
    """What is asked for: these secrets, for this command."""

    names: tuple[str, ...]
    command: tuple[str, ...]


class SecretOrders:
    """Those of one execution."""

    def __init__(self, secrets: Secrets, inquire: Inquire) -> None:
        self._secrets = secrets
        self._inquire = inquire

    async def order(self, order: Order, show: Show) -> Ending:
        """See `ports.Orders`."""
        try:
            if order.argv == ("list",):
                await show.output("".join(f"{name}\n" for name in await self._names()).encode())
                return Ending()
            wanted = wanted_in(order.argv)
            if wanted is None:
                return await refuse(show, _USAGE)
            return await self._release(wanted, order, show)
        except (Refusal, Locked) as error:
            return await refuse(show, f"pandar-secret: {error}")

    async def foresee(self, order: Order) -> ToolCall | None:
        """See `services.broker.Service`."""
        return None if wanted_in(order.argv) is None else _call(order)

    async def _names(self) -> list[str]:
        named = await self._secrets.named()
        return sorted(name for name, use in named.items() if use is SecretUse.ENV)

    async def _release(self, wanted: Released, order: Order, show: Show) -> Ending:
        known = await self._names()
        missing = [name for name in wanted.names if name not in known]
        if missing:
            there = f"there are {', '.join(known)}" if known else "there is none"
            text = f"the project has no secret {', '.join(missing)} for a command; {there}"
            return await refuse(show, f"pandar-secret: {text}")
        permission = await self._inquire(_call(order), f"secrets: {', '.join(wanted.names)}")
        if not permission.allowed:
            return await refuse(show, permission.text)
        found = [await self._secrets.get(name) for name in wanted.names]
        values = {secret.name: secret.value for secret in found if secret is not None}
        if len(values) < len(set(wanted.names)):
            return await refuse(show, "pandar-secret: it was removed just now")
        return Ending(argv=wanted.command, environment=values)


def wanted_in(argv: tuple[str, ...]) -> Released | None:
    """Return what is asked for, ``None`` for anything that cannot be read."""
    if argv[:1] != ("run",) or "--" not in argv:
        return None
    at = argv.index("--")
    names, command = argv[1:at], argv[at + 1 :]
    if not command or not 0 < len(names) <= NAMES_MAX or not all(map(_NAME.fullmatch, names)):
        return None
    return Released(names=names, command=command)


def _call(order: Order) -> ToolCall:
    command = shlex.join(["pandar-secret", *order.argv])
    return ToolCall(
        kind=CallKind.EXECUTE,
        tool="pandar-secret",
        title=command[:200],
        command=command[:TEXT_MAX],
        cwd=order.cwd[:1_000],
    )
