"""Whether the secrets that are stored can be opened, asked before anybody needs one."""

from __future__ import annotations

from typing import Final

from pandar_daemon.ports import Locked, SecretReads, Vault
from pandar_daemon.services.verification import Check

NAME: Final = "sealed"
SHOWN: Final = 5


async def unlocking(reads: SecretReads, vault: Vault) -> Check:
    """Return whether the master keys given here open every data key there is.

    Raises `Unavailable` while that cannot be asked.
    """
    locked, total, old = [], 0, 0
    for each in await reads.keys():
        total += each.secrets
        try:
            old += vault.reseal(each.project_id, each.key) != each.key
        except Locked as error:
            if each.secrets:  # without one, the next secret gets a new key
                locked.append(str(error))
    if locked:
        more = f" (and {len(locked) - SHOWN} more projects)" if len(locked) > SHOWN else ""
        hint = (
            "give the master key they were sealed with, or remove these secrets and set them anew"
        )
        return Check(name=NAME, ok=False, detail="; ".join(locked[:SHOWN]) + more, hint=hint)
    left = f", {old} data keys under an old master key: `pandar secrets rekey`" if old else ""
    return Check(name=NAME, ok=True, detail=f"{total} secrets can be opened{left}")
