"""Whom one box may call: its list, what people opened for it, and who hears of what was refused."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from typing import Final

import structlog

from events.calls import Verdict
from pandar_daemon.adapters.egress.bounds import Bounds
from pandar_daemon.adapters.egress.dialing import Dialer, allowed
from pandar_daemon.adapters.egress.refused import Refused
from pandar_daemon.domain.addresses import Kind, kind_of
from pandar_daemon.domain.egress import Host, is_local, patterns_of
from pandar_daemon.domain.reach import call_of, reach
from pandar_daemon.ports.sandbox import Blocked, Inquire, Outward, Permission

log = structlog.get_logger(__name__)

QUIET_SEC: Final = 60.0
"""A host that is refused is told of once in this time."""
_TOLD_MAX: Final = 1_024
_GRACE_SEC: Final = 5.0
"""What telling may take when a box is over."""


class Gatekeeper:
    """One box's."""

    def __init__(
        self,
        outward: Outward,
        inquire: Inquire,
        blocked: Callable[[Blocked], Awaitable[None]],
        dialer: Dialer,
        bounds: Bounds,
    ) -> None:
        self._rules = outward.rules
        self._listed = patterns_of(outward.hosts)
        self._private = [each for each in patterns_of(outward.private_hosts) if not each.below]
        self._inquire, self._blocked = inquire, blocked
        self._dialer, self._bounds = dialer, bounds
        self._questions: dict[Host, asyncio.Task[Permission]] = {}
        self._told: dict[Host, float] = {}
        self._telling: set[asyncio.Task[None]] = set()

    async def admit(self, called: Host) -> Sequence[str]:
        """Return the addresses to dial; raises `Refused`, and what is forbidden is told.

        Takes as long as people do where they are asked. A name that is not allowed is not even
        looked up: a lookup can carry a message.
        """
        try:
            private = any(pattern.fits(called) for pattern in self._private)
            _check_literal(called, private=private)
            await self._permit(called)
            return allowed(called, await self._dialer.addresses(called), private=private)
        except Refused as refused:
            if refused.status is HTTPStatus.FORBIDDEN:
                self.tell(called, refused.text)
            raise

    def tell(self, called: Host, reason: str) -> None:
        """Tell that a host was refused, unless that was told a short while ago."""
        now = asyncio.get_running_loop().time()
        if now - self._told.get(called, now - QUIET_SEC) < QUIET_SEC:
            return
        self._told.pop(called, None)
        if len(self._told) >= _TOLD_MAX:
            self._told.pop(next(iter(self._told)))
        self._told[called] = now
        attempt = Blocked(host=called.host, port=called.port, reason=reason)
        task = asyncio.create_task(self._tell(attempt))
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def close(self) -> None:
        """Give up what is asked, and say what is left to be said, as far as that is heard."""
        for question in self._questions.values():
            question.cancel()
        if self._telling:
            _, late = await asyncio.wait(self._telling, timeout=_GRACE_SEC)
            for task in late:
                task.cancel()
        await asyncio.gather(*self._questions.values(), *self._telling, return_exceptions=True)

    async def _tell(self, attempt: Blocked) -> None:
        try:
            await self._blocked(attempt)
        except Exception as error:  # noqa: BLE001 - whatever it is, it stops nothing here
            log.warning("egress.untold", host=attempt.host, error=str(error))

    async def _permit(self, called: Host) -> None:
        listed = any(pattern.fits(called) for pattern in self._listed)
        verdict = reach(called, self._rules, listed=listed)
        if verdict is Verdict.DENY:
            text = (
                f"{called} is not among the hosts this task may call; its owner can add it to"
                " hosts of the project or of [sandbox] in pandar.toml, or the task name it in"
                " metadata.sandbox.network.allow"
            )
            raise Refused(HTTPStatus.FORBIDDEN, "host", text)
        if verdict is Verdict.ASK:
            permission = await self._asked(called)
            if not permission.allowed:
                why = f": {permission.text}" if permission.text else ""
                raise Refused(HTTPStatus.FORBIDDEN, "denied", f"{called} was not opened{why}")

    async def _asked(self, called: Host) -> Permission:
        """Return what people say of a host and port: they are asked once."""
        question = self._questions.get(called)
        if question is None:
            if len(self._questions) >= self._bounds.questions:
                text = f"{called} is not opened: too many hosts were asked for"
                raise Refused(HTTPStatus.FORBIDDEN, "host", text)
            question = asyncio.create_task(self._ask(called))
            self._questions[called] = question
        try:
            return await asyncio.shield(question)
        except asyncio.CancelledError:
            if question.cancelled():
                raise _unasked(called) from None
            raise
        except Exception as error:
            raise _unasked(called) from error

    async def _ask(self, called: Host) -> Permission:
        try:
            return await self._inquire(call_of(called), f"a program wants to connect to {called}")
        except Exception as error:
            log.warning("egress.unasked", host=called.host, error=str(error))
            with suppress(KeyError):
                del self._questions[called]
            raise


def _unasked(called: Host) -> Refused:
    text = f"nobody could be asked about {called}; try again"
    return Refused(HTTPStatus.SERVICE_UNAVAILABLE, "unasked", text)


def _check_literal(called: Host, *, private: bool) -> None:
    """Refuse what cannot become a public address, whoever consents."""
    if is_local(called.host) and not private:
        allowed(called, ["127.0.0.1"], private=False)
    if kind_of(called.host) is not Kind.NONE:
        allowed(called, [called.host], private=private)
