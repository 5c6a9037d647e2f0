"""Secrets over HTTP: who may, and what becomes of them when master keys change or are lost."""

from __future__ import annotations

import asyncio
import shutil
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from events.envelope import Recorded
from events.ids import project_secrets_stream
from pandar_daemon.adapters.http.events import as_message
from pandar_daemon.adapters.postgres.secret_reads import PgSecretReads
from pandar_daemon.adapters.sealing.master_keys import NAME, master_keys
from pandar_daemon.adapters.sealing.vault import AesVault
from pandar_daemon.config import Settings
from pandar_daemon.ports import Vault
from pandar_daemon.services.git_access import KEYS
from pandar_daemon.services.lifecycle import run_until
from pandar_daemon.services.unlocking import unlocking
from pandar_daemon.services.verification import Check
from pandar_daemon.wiring.parts import parts
from pandar_daemon.wiring.places import Place
from pandar_daemon.wiring.roles import services
from pandar_daemon.wiring.vaults import sealed
from tests.support.api import Api, Person, running_api

Json = Any

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]


def key(letter: str) -> str:
    """Return a master key as people write it."""
    return b64encode(letter.encode() * 32).decode()


def write_keys(data: Path, *letters: str) -> Path:
    """Give a data folder these master keys, the present one first; return it."""
    data.mkdir(mode=0o700, exist_ok=True)
    file = data / NAME
    file.touch(0o600)
    file.write_text("\n".join(map(key, letters)))
    return data


def vault_of(data: Path) -> Vault:
    """Return the vault of a data folder."""
    return AesVault(master_keys(Settings(data=data), make=False))


async def put(person: Person, project: int, name: str, value: str = "hunter2") -> int:
    """Return the status that setting a secret is answered with."""
    path = f"/projects/{project}/secrets/{name}"
    reply, _ = await person.call("PUT", path, json={"value": value})
    return reply.status


async def names(person: Person, project: int) -> list[str]:
    """Return the secrets of a project."""
    document = await person.get(f"/projects/{project}/secrets")
    return [item["name"] for item in document["items"]]


async def checked(api: Api, vault: Vault) -> Check:
    """Return what is said of the secrets that are stored, once all that happened is read."""
    await api.settle(person := api.person("root", "admin"))
    await person.get("/projects")
    return await unlocking(PgSecretReads(api.parts.database), vault)


async def recorded(api: Api, project: int) -> list[Recorded]:
    """Return the events about a project's secrets."""
    return await api.parts.store.read_stream(project_secrets_stream(project))


async def test_owner_and_managers_alone(database_url: str, nats_url: str, tmp_path: Path) -> None:
    """Members and viewers are told that they may not, strangers that there is nothing."""
    async with running_api(database_url, nats_url, tmp_path) as api:
        owner = api.person("olga")
        project = await owner.project()
        people = {"mara": ("manager", 200), "mike": ("member", 403), "vic": ("viewer", 403)}
        for user, (role, _) in people.items():
            body = {"user": user, "role": role}
            await owner.post(f"/projects/{project}/members", body)
        statuses = {user: status for user, (_, status) in people.items()}
        for user, status in {**statuses, "olga": 200, "eve": 404}.items():
            person = api.person(user)
            await api.settle(person)
            assert await put(person, project, f"OF_{user.upper()}") == status
            await api.settle(person)
            path = f"/projects/{project}/secrets"
            reply, _ = await person.call("GET", path)
            assert reply.status == status
            reply, _ = await person.call("DELETE", f"{path}/OF_OLGA")
            assert reply.status == {200: 204 if user == "olga" else 404}.get(status, status)
        assert await names(owner, project) == ["OF_MARA"]
        assert await put(api.person("root", "admin"), project, "OF_ROOT") == 200


async def test_another_master_key_sets_nothing(
    database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """Where there are secrets already; once they are removed, the next gets a key of its own."""
    one, two = write_keys(tmp_path / "one", "a"), write_keys(tmp_path / "two", "b")
    async with running_api(database_url, nats_url, one) as api:
        owner = api.person("olga")
        project, other = await owner.project(), await owner.project()
        assert await put(owner, project, "TOKEN") == 200
        assert (await checked(api, vault_of(one))).ok is True
    async with running_api(database_url, nats_url, two) as api:
        owner = api.person("olga")
        path = f"/projects/{project}/secrets/OTHER"
        told = await owner.refused("PUT", path, 409, json={"value": "hunter2"})
        assert "which is not given here: set PANDAR_MASTER_KEY or" in told["detail"]
        assert await put(owner, other, "TOKEN") == 200
        check = await checked(api, vault_of(two))
        assert (check.ok, check.detail) == (False, told["detail"])
        assert "set them anew" in check.hint
        reply, _ = await owner.call("DELETE", f"/projects/{project}/secrets/TOKEN")
        assert reply.status == 204
        assert (await checked(api, vault_of(two))).ok is True
        assert await put(owner, project, "TOKEN") == 200
        types = [event.type for event in await recorded(api, project)]
        assert types.count("secret.key_made") == 2
        assert (await checked(api, vault_of(two))).detail == "2 secrets can be opened"


async def test_the_master_key_is_changed(database_url: str, nats_url: str, tmp_path: Path) -> None:
    """New first, then sealed anew, then the old one is not needed; a user may not do that."""
    old, both, new = (write_keys(tmp_path / letters, *letters) for letters in ("a", "ba", "b"))
    async with running_api(database_url, nats_url, old) as api:
        owner = api.person("olga")
        projects = [await owner.project() for _ in range(3)]
        assert [await put(owner, project, "TOKEN") for project in projects] == [200] * 3
    async with running_api(database_url, nats_url, both) as api:
        told = (await checked(api, vault_of(both))).detail
        assert told.endswith("3 data keys under an old master key: `pandar secrets rekey`")
        assert (await checked(api, vault_of(new))).ok is False
        await api.person("olga").refused("POST", "/secrets/rekey", 403)
        admin = api.person("root", "admin")
        assert await admin.post("/secrets/rekey") == {"resealed": 3, "present": 3, "locked": []}
        assert await admin.post("/secrets/rekey") == {"resealed": 0, "present": 3, "locked": []}
        assert (await checked(api, vault_of(new))).ok is True
        assert (await checked(api, vault_of(old))).ok is False
    async with running_api(database_url, nats_url, write_keys(tmp_path / "c", "c")) as api:
        answer = await api.person("root", "admin").post("/secrets/rekey")
        assert (answer["resealed"], answer["present"], len(answer["locked"])) == (0, 0, 3)


async def test_no_stream_of_the_api_shows_what_is_sealed(
    database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """It says that a secret was set, and by whom."""
    async with running_api(database_url, nats_url, tmp_path) as api:
        owner = api.person("olga")
        project = await owner.project()
        assert await put(owner, project, "TOKEN") == 200
        made, was_set = await recorded(api, project)
        for event in (made, was_set):
            assert b"1." in bytes(event.data)
            assert b"1." not in as_message(event).partition(b'"data":')[2]
        assert b'"name":"TOKEN"' in as_message(was_set)
        async with owner.stream("/events?type=secret", last="0") as stream:
            told = await stream.until("secret.set")
        assert [message.name for message in told] == ["secret.key_made", "secret.set"]
        assert [message.data["data"]["sealed"] for message in told] == ["", ""]


async def test_doctor_says_when_the_key_is_lost(
    database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """Of a Pandar that runs; of none it says which key there is, of a bad file what is bad."""
    one, two = write_keys(tmp_path / "one", "a"), write_keys(tmp_path / "two", "b")
    found = Settings(data=tmp_path, database_url=database_url, nats_url=nats_url)
    async with running_api(database_url, nats_url, one) as api:
        owner = api.person("olga")
        assert await put(owner, await owner.project(), "TOKEN") == 200
        await checked(api, vault_of(one))
        for data, fine in ((one, True), (two, False), (tmp_path / "none", False)):
            check = await sealed(structs.replace(found, data=data))
            assert (check.name, check.ok) == ("sealed", fine)
    assert (await sealed(Settings(data=one))).ok is None
    assert (await sealed(Settings(data=tmp_path / "none"))).ok is None
    (one / NAME).chmod(0o644)
    check = await sealed(structs.replace(found, data=one))
    assert (check.ok, "others may read it (mode 644)" in check.detail) == (False, True)
    nowhere = Settings(data=two, database_url="postgresql://127.0.0.1:1/x", nats_url=nats_url)
    assert (await sealed(nowhere)).ok is None


@asynccontextmanager
async def running_runner(url: str, nats_url: str, data: Path) -> AsyncIterator[None]:
    """Run a runner on a data folder of its own while the context lasts."""
    stop = asyncio.Event()
    place = Place(database_url=url, nats_url=nats_url)
    async with parts(Settings(data=data), place, "runner") as made:
        runs = asyncio.create_task(run_until(stop, services(made, ("runner",), lambda: None)))
        try:
            yield
        finally:
            stop.set()
            await runs


async def _ended(api: Api, person: Person, task: int) -> Json:
    async with person.stream(f"/tasks/{task}/stream") as stream:
        while (await stream.next()).name not in {"task.completed", "task.failed"}:
            pass
    await api.settle(person)
    return await person.get(f"/tasks/{task}")


async def test_a_runner_with_another_key_fails_what_needs_a_secret(
    database_url: str, nats_url: str, tmp_path: Path
) -> None:
    """With the key it takes; a task that needs none runs, in a project that has secrets too."""
    here, far = write_keys(tmp_path / "here", "a"), write_keys(tmp_path / "far", "b")
    async with running_api(database_url, nats_url, here) as api:
        shutil.copy(here / "jwt.secret", far / "jwt.secret")
        owner = api.person("olga")
        plain = await owner.project()
        body = {"name": "private", "git_url": "https://127.0.0.1:1/private.git"}
        private = int((await owner.post("/projects", body))["id"])
        assert await put(owner, plain, "TOKEN") == 200
        path = f"/projects/{private}/secrets/LOGIN"
        reply, _ = await owner.call("PUT", path, json={"value": "ann:hunter2", "use": "git"})
        assert reply.status == 200
        left = far / KEYS / "of-a-runner-that-was-killed"
        left.parent.mkdir()
        left.touch()
        async with running_runner(database_url, nats_url, far):
            failing = await owner.task(private, auto_start=True)
            fine = await owner.task(plain, auto_start=True)
            failed, done = await _ended(api, owner, failing), await _ended(api, owner, fine)
    assert not left.exists()
    assert done["status"] == "completed"
    assert failed["status"] == "failed"
    needed = master_keys(Settings(data=here), make=False)[0].key_id
    assert f"are sealed with master key {needed}, which is not given here" in failed["error"]
