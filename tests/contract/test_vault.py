"""The vault: what is sealed is read where it was sealed for, and nowhere else."""

from __future__ import annotations

import os
from base64 import b64encode, urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.secret import (
    SEALED_MAX,
    VALUE_MAX,
    DataKey,
    MakeKey,
    SealedSecret,
    SecretUse,
    SetSecret,
)
from pandar_daemon.adapters.sealing.master_keys import NAME, master_keys, of_bytes
from pandar_daemon.adapters.sealing.vault import AesVault
from pandar_daemon.config import ConfigError, Settings, load
from pandar_daemon.ports import Locked, Secret, Vault

OLD, NEW, FOREIGN = (of_bytes(bytes([n]) * 32) for n in (1, 2, 3))
SEALER: Vault = AesVault((OLD,))
KEY = SEALER.make_key(7)
SECRET = Secret(name="TOKEN", use=SecretUse.ENV, value="hunter2")


def sealed(secret: Secret = SECRET, project: int = 7, key: DataKey = KEY) -> SealedSecret:
    """Return a secret sealed."""
    text = SEALER.seal(project, key, secret)
    return SealedSecret(name=secret.name, use=secret.use, sealed=text)


@given(st.text(), st.sampled_from(SecretUse), st.integers(1, 2**63 - 1))
def test_what_is_sealed_is_unsealed(value: str, use: SecretUse, project: int) -> None:
    """Whatever it is; the same way every time, and in a shape that commands accept."""
    secret = Secret(name="TOKEN", use=use, value=value)
    key = SEALER.make_key(project)
    found = sealed(secret, project, key)
    assert SEALER.unseal(project, key, found) == secret
    assert sealed(secret, project, key) == found
    msgspec.convert({"name": "TOKEN", "sealed": found.sealed}, SetSecret)
    msgspec.convert({"key_id": key.key_id, "sealed": key.sealed}, MakeKey)


def test_the_largest_value_fits() -> None:
    """Exactly: one more byte would not."""
    for size, fits in ((VALUE_MAX, True), (VALUE_MAX + 1, False)):
        found = sealed(msgspec.structs.replace(SECRET, value="v" * size))
        assert (len(found.sealed) <= SEALED_MAX) is fits


def test_nothing_of_it_is_shown() -> None:
    """Neither value nor key by what prints them; a sealed text has no byte of either."""
    assert "hunter2" not in repr(SECRET) + str(SECRET) + repr([SECRET])
    assert OLD.secret.hex() not in repr(OLD) + str([OLD])
    assert repr(OLD) == f"MasterKey({OLD.key_id})"
    assert b"hunter2" not in _decoded(sealed().sealed)
    assert OLD.secret not in _decoded(KEY.sealed)


def test_it_is_of_no_use_elsewhere() -> None:
    """Under another name, for another use, in another project, with the key of another."""
    found = sealed()
    moved = [
        (7, KEY, msgspec.structs.replace(found, name="OTHER")),
        (7, KEY, msgspec.structs.replace(found, use=SecretUse.GIT)),
        (7, SEALER.make_key(7), found),
    ]
    for project, key, secret in moved:
        with pytest.raises(Locked, match="of project 7 is not as it was sealed: set it again"):
            SEALER.unseal(project, key, secret)
    with pytest.raises(Locked, match="the data key of project 8 is not as it was sealed"):
        SEALER.unseal(8, KEY, found)
    renamed = DataKey(key_id="0" * 16, sealed=KEY.sealed)
    with pytest.raises(Locked, match="the data key of project 7 is not as it was sealed"):
        SEALER.unseal(7, renamed, found)


@pytest.mark.parametrize("at", range(0, 23, 2))
def test_a_changed_bit_is_noticed(at: int) -> None:
    """In the value and in the data key, wherever it is."""
    with pytest.raises(Locked, match="TOKEN of project 7 is not as it was sealed"):
        SEALER.unseal(7, KEY, _with(sealed(), lambda text: _flipped(text, at)))
    with pytest.raises(Locked, match="data key of project 7 is not as it was sealed"):
        SEALER.unseal(7, DataKey(key_id=KEY.key_id, sealed=_flipped(KEY.sealed, at)), sealed())


@given(st.integers(0, 60))
def test_a_part_is_noticed(length: int) -> None:
    """Also nothing at all, and what never was sealed."""
    for cut in (sealed().sealed[:length], sealed().sealed[length + 1 :], "x" * length):
        if cut != sealed().sealed:
            with pytest.raises(Locked):
                SEALER.unseal(7, KEY, SealedSecret(name="TOKEN", use=SecretUse.ENV, sealed=cut))
    with pytest.raises(Locked):
        SEALER.unseal(7, DataKey(key_id=KEY.key_id, sealed=KEY.sealed[:length]), sealed())


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    """Whatever is in the log, there is one kind of error."""
    for key, value in ((KEY, text), (DataKey(key_id=text, sealed=text), sealed().sealed)):
        with pytest.raises(Locked):
            SEALER.unseal(7, key, SealedSecret(name="TOKEN", use=SecretUse.ENV, sealed=value))
        with pytest.raises(Locked):
            SEALER.reseal(7, DataKey(key_id=text, sealed=f"k1.{OLD.key_id}.{text}"))


def test_another_master_key_opens_nothing() -> None:
    """And is told which one it takes; without any there is nothing to seal with."""
    with pytest.raises(Locked, match=f"sealed with master key {OLD.key_id}, which is not given"):
        AesVault((FOREIGN,)).unseal(7, KEY, sealed())
    with pytest.raises(Locked, match="there is no master key here"):
        AesVault(()).make_key(7)


def test_master_keys_are_rotated() -> None:
    """The old one opens until data keys are sealed anew; then it is not needed any more."""
    both, only_new = AesVault((NEW, OLD)), AesVault((NEW,))
    assert both.unseal(7, KEY, sealed()) == SECRET
    key = both.reseal(7, KEY)
    assert key.key_id == KEY.key_id
    assert key != KEY
    assert only_new.unseal(7, key, sealed()) == SECRET
    assert only_new.seal(7, key, SECRET) == sealed().sealed
    assert both.reseal(7, key) == key
    with pytest.raises(Locked):
        only_new.unseal(7, KEY, sealed())


# --- where master keys come from -------------------------------------------------------------


def settings(data: Path, **variables: str) -> Settings:
    """Return the settings of an environment."""
    given = {f"PANDAR_{name.upper()}": value for name, value in variables.items()}
    return load({"PANDAR_DATA": str(data), **given}, home=data)


def base64_of(secret: bytes) -> str:
    """Return it as people write it."""
    return b64encode(secret).decode()


def ids(given: Settings, *, make: bool = False) -> list[str]:
    """Return the ids of the keys there are."""
    return [key.key_id for key in master_keys(given, make=make)]


def test_one_is_made_once(tmp_path: Path) -> None:
    """At the first start, readable for nobody else; nothing is made by those that only look."""
    data = tmp_path / "data"
    assert ids(settings(data)) == []
    assert not data.exists()
    first = ids(settings(data), make=True)
    assert len(first) == 1
    assert ids(settings(data), make=True) == ids(settings(data)) == first
    assert (data / NAME).stat().st_mode & 0o777 == 0o600


def test_one_is_given(tmp_path: Path) -> None:
    """By the environment, in either alphabet of base64, or a file; old ones follow."""
    secret = bytes(range(224, 256))
    wanted = of_bytes(secret).key_id
    for text in (base64_of(secret), urlsafe_b64encode(secret).decode()):
        assert ids(settings(tmp_path, master_key=text), make=True) == [wanted]
    file = tmp_path / "keys"
    file.touch(0o600)
    file.write_text(f"# of today\n{base64_of(secret)}\n# before\n{base64_of(OLD.secret)}\n")
    given = settings(tmp_path, master_key_file=str(file), master_key_old=base64_of(NEW.secret))
    assert ids(given, make=True) == [wanted, OLD.key_id, NEW.key_id]
    assert not (tmp_path / NAME).exists()


def test_the_one_that_was_made_stays_readable(tmp_path: Path) -> None:
    """When another is given from then on."""
    (made,) = ids(settings(tmp_path), make=True)
    assert ids(settings(tmp_path, master_key=base64_of(NEW.secret))) == [NEW.key_id, made]


@pytest.mark.parametrize("text", ["short", "x" * 44, base64_of(b"k" * 31), base64_of(b"k" * 33)])
def test_what_is_no_key_is_refused(tmp_path: Path, text: str) -> None:
    """By the name of the setting, and not by its value."""
    file = tmp_path / "keys"
    file.touch(0o600)
    file.write_text(text)
    for name, value in (
        ("master_key", text),
        ("master_key_file", str(file)),
        ("master_key_old", text),
    ):
        with pytest.raises(ConfigError, match=f"PANDAR_{name.upper()}.*expected 32") as refused:
            ids(settings(tmp_path, **{name: value}), make=True)
        assert text not in str(refused.value)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o666])
def test_a_file_of_others_is_refused(tmp_path: Path, mode: int) -> None:
    """The one that was made, too."""
    ids(settings(tmp_path), make=True)
    (tmp_path / NAME).chmod(mode)
    with pytest.raises(ConfigError, match=rf"others may read it \(mode {mode:o}\): chmod 600 it"):
        ids(settings(tmp_path), make=True)
    with pytest.raises(ConfigError, match="others may read it"):
        ids(settings(tmp_path / "data", master_key_file=str(tmp_path / NAME)))


def test_a_file_without_a_key_is_refused(tmp_path: Path) -> None:
    """One that is not there, a folder, an empty one; and two settings that contradict."""
    (tmp_path / "empty").touch(0o600)
    for name in ("missing", ".", "empty"):
        with pytest.raises(ConfigError, match="PANDAR_MASTER_KEY_FILE"):
            ids(settings(tmp_path, master_key_file=str(tmp_path / name)))
    key = base64_of(NEW.secret)
    with pytest.raises(ConfigError, match="both set: set one"):
        ids(settings(tmp_path, master_key=key, master_key_file=os.devnull))


def _decoded(text: str) -> bytes:
    body = text.rpartition(".")[2]
    return urlsafe_b64decode(body + "=" * (-len(body) % 4))


def _with(secret: SealedSecret, change: Callable[[str], str]) -> SealedSecret:
    return msgspec.structs.replace(secret, sealed=change(secret.sealed))


def _flipped(text: str, at: int) -> str:
    head, _, _ = text.rpartition(".")
    body = bytearray(_decoded(text))
    body[at % len(body)] ^= 1 << (at % 8)
    return f"{head}.{urlsafe_b64encode(body).rstrip(b'=').decode()}"
