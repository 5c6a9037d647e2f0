"""The vault: secrets sealed with a data key of their project, data keys with a master key.

::

    master key ──seals──▶ data key of a project ──seals──▶ value of a secret
    (never in the log)    k1.<master key id>.…             v1.<data key id>.…

What is sealed is bound to where it belongs: the project, for a value also its name and use. Taken
to another place, or changed by one bit, it cannot be opened.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Final

from events.secret import DataKey, SealedSecret
from pandar_daemon.adapters.sealing.master_keys import MasterKey
from pandar_daemon.adapters.sealing.siv import SivKey
from pandar_daemon.ports import Locked, Secret

KEY: Final = "k1"
VALUE: Final = "v1"
DATA_KEY_BYTES: Final = 32
_KEYS: Final = b"pandar data keys"
_VALUES: Final = b"pandar secret values"


class AesVault:
    """`Vault` with AES-256-SIV."""

    def __init__(self, masters: Sequence[MasterKey]) -> None:
        """Seal data keys with the first master key; open what any of them sealed."""
        self._present = masters[0].key_id if masters else ""
        self._masters = {master.key_id: SivKey(master.secret, _KEYS) for master in masters}

    @property
    def present(self) -> str:
        """The id of the present master key, empty where there is none."""
        return self._present

    def make_key(self, project_id: int) -> DataKey:
        """Return a new data key for a project, sealed with the present master key."""
        return self._sealed(project_id, secrets.token_hex(8), secrets.token_bytes(DATA_KEY_BYTES))

    def seal(self, project_id: int, key: DataKey, secret: Secret) -> str:
        """Return a secret's value sealed with a project's data key; raises `Locked`."""
        context = _context(project_id, secret.name, secret.use)
        body = self._data_key(project_id, key).seal(secret.value.encode(), *context)
        return f"{VALUE}.{key.key_id}.{body}"

    def unseal(self, project_id: int, key: DataKey, sealed: SealedSecret) -> Secret:
        """Return a secret as it was set; raises `Locked`."""
        head, _, body = sealed.sealed.rpartition(".")
        data_key = self._data_key(project_id, key)
        context = _context(project_id, sealed.name, sealed.use)
        try:
            value = data_key.unseal(body, *context).decode()
        except ValueError:
            head = ""
        if head != f"{VALUE}.{key.key_id}":
            raise Locked(
                f"{sealed.name} of project {project_id} is not as it was sealed: set it again"
            )
        return Secret(name=sealed.name, use=sealed.use, value=value)

    def reseal(self, project_id: int, key: DataKey) -> DataKey:
        """Return a data key under the present master key; raises `Locked`."""
        return self._sealed(project_id, key.key_id, self._opened(project_id, key))

    def _sealed(self, project_id: int, key_id: str, data_key: bytes) -> DataKey:
        master = self._masters.get(self._present)
        if master is None:
            raise Locked("there is no master key here: set PANDAR_MASTER_KEY")
        body = master.seal(data_key, "data key", str(project_id), key_id)
        return DataKey(key_id=key_id, sealed=f"{KEY}.{self._present}.{body}")

    def _opened(self, project_id: int, key: DataKey) -> bytes:
        version, master_id, body = (*key.sealed.split(".", 2), "", "", "")[:3]
        master = self._masters.get(master_id)
        if version != KEY or master is None:
            raise Locked(
                f"the secrets of project {project_id} are sealed with master key {master_id[:16]},"
                " which is not given here: set PANDAR_MASTER_KEY or PANDAR_MASTER_KEY_OLD to it"
            )
        try:
            return master.unseal(body, "data key", str(project_id), key.key_id)
        except ValueError:
            raise Locked(f"the data key of project {project_id} is not as it was sealed") from None

    def _data_key(self, project_id: int, key: DataKey) -> SivKey:
        return SivKey(self._opened(project_id, key), _VALUES)


def _context(project_id: int, name: str, use: str) -> tuple[str, ...]:
    return ("secret", str(project_id), name, use)
