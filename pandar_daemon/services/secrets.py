"""The secrets of the project of one execution, fetched sealed and opened in the runner.

They are asked for each time, so that one that was set a moment ago counts and one that was removed
does not, in tasks that run. Of what was opened, nothing is shown or said by the execution any more:
at its start that is all there is, see `learn`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import msgspec
import structlog

from events.running import Held, ListSecrets, SealedSecrets
from events.secret import SealedSecret, SecretUse
from pandar_daemon.domain.credential import Login, credential
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.ports import Locked, Secret, Vault
from pandar_daemon.services.line import Line

log = structlog.get_logger(__name__)


class Secrets:
    """One execution's; every method raises the `Refusal` there is once its lease is over."""

    def __init__(self, line: Line, vault: Vault | None) -> None:
        """Ask over ``line``; without a vault nothing can be opened here."""
        self._line = line
        self._vault = vault

    @property
    def held(self) -> Held:
        """The lease it asks by."""
        return self._line.held

    async def named(self) -> dict[str, SecretUse]:
        """Return the names there are, and what for; it takes no master key."""
        _, items = await self._fetched()
        return {item.name: item.use for item in items}

    async def get(self, name: str) -> Secret | None:
        """Return a secret, ``None`` if there is none of this name; raises `Locked`."""
        sealed, items = await self._fetched()
        return next((self._open(sealed, item) for item in items if item.name == name), None)

    async def git(self) -> Secret | None:
        """Return the secret for the repository, ``None`` if there is none; raises `Locked`."""
        sealed, items = await self._fetched()
        found = (self._open(sealed, item) for item in items if item.use is SecretUse.GIT)
        return next(found, None)

    async def known(self) -> dict[str, Secret]:
        """Return all that can be opened here; what cannot can do no harm here either."""
        sealed, items = await self._fetched()
        found: dict[str, Secret] = {}
        for item in items:
            try:
                found[item.name] = self._open(sealed, item)
            except Locked as locked:
                log.warning("secrets.locked", project=sealed.project_id, reason=str(locked))
        return found

    def _open(self, answer: SealedSecrets, item: SealedSecret) -> Secret:
        if self._vault is None or answer.key is None:
            raise Locked("this runner has no master key: set PANDAR_MASTER_KEY")
        secret = self._vault.unseal(answer.project_id, answer.key, item)
        for part in _parts(secret):
            self._line.learn({secret.name: part})
        return secret

    async def learn(self) -> None:
        """Let all there is be known, so that it is taken out of what the execution shows."""
        try:
            if self._vault is not None:
                await self.known()
        except Refusal as refusal:  # the lease is over
            log.info("secrets.unknown", reason=str(refusal))

    async def _fetched(self) -> tuple[SealedSecrets, list[SealedSecret]]:
        """Return the last page and the items of all."""
        held, items, after = self._line.held, list[SealedSecret](), ""
        while True:
            about = ListSecrets(
                task_id=held.task_id, execution_id=held.execution_id, epoch=held.epoch, after=after
            )
            answer = await self._line.insist("secrets", about)
            page = msgspec.json.decode(answer, type=SealedSecrets)
            items += page.items
            if not page.more or not page.items:
                return page, items
            after = page.items[-1].name


def _parts(secret: Secret) -> Iterator[str]:
    """Yield what nobody is to be shown of a secret: its value, and a password in it alone."""
    yield secret.value
    if secret.use is SecretUse.GIT:
        with suppress(ValueError):
            found = credential(secret.value)
            if isinstance(found, Login):
                yield found.password
