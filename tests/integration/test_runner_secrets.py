"""Secrets on their way to a runner: sealed, for live executions, as they are at that moment."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from events.command import Command
from events.commands import Accepted
from events.running import Assignment, ListSecrets, SealedSecrets
from events.secret import (
    SECRETS_MAX,
    VALUE_MAX,
    DataKey,
    MakeKey,
    RemoveSecret,
    ResealKey,
    SecretUse,
    SetSecret,
)
from pandar_daemon.adapters.sealing.master_keys import of_bytes
from pandar_daemon.adapters.sealing.vault import AesVault
from pandar_daemon.domain.refusals import Rejected
from pandar_daemon.ports import Headers, Locked, Secret, Vault
from pandar_daemon.services.asking import Asker
from pandar_daemon.services.endpoint import LOOK_AGE_SEC
from pandar_daemon.services.giving import SECRETS_AGE_SEC
from pandar_daemon.services.line import Line
from pandar_daemon.services.secrets import Secrets
from tests.support.clock import ManualClock
from tests.support.desk import OWNER, RUNNER, Desk, desk, problem

pytestmark = pytest.mark.servers

MESSAGE_MAX = 1_000_000
"""Bytes of a message of the bus, a little less than there are."""
SYSTEM = "system:api"
PRESENT, BEFORE = of_bytes(b"p" * 32), of_bytes(b"b" * 32)
VAULT = AesVault((PRESENT, BEFORE))


@pytest.fixture
async def one(database_url: str, clock: ManualClock) -> AsyncIterator[Desk]:
    """Return a process that answers."""
    async with desk(database_url, clock) as opened:
        yield opened


class Direct:
    """`Sender` without a bus between; it keeps the size of the largest answer."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.largest = 0

    async def ask(
        self,
        subject: str,
        body: bytes,
        *,
        headers: Headers | None = None,
        timeout_sec: float = 5.0,  # noqa: ARG002 - it waits for nobody
    ) -> bytes:
        """Return the answer."""
        answer = await self._desk.handle(subject, body, headers or {})
        self.largest = max(self.largest, len(answer))
        return answer


class Site:
    """A project with a live execution."""

    def __init__(self, desk: Desk, project: int, work: Assignment) -> None:
        self.desk, self.project, self.work = desk, project, work
        self.key: DataKey | None = None
        self.sender = Direct(desk)

    async def tell(self, action: str, command: Command, who: str = OWNER) -> Accepted:
        """Return the answer to a command about the project."""
        return await self.desk.ask(who, f"project.{action}", command, target=self.project)

    async def set(self, name: str, value: str, use: SecretUse = SecretUse.ENV) -> None:
        """Set a secret as the API does."""
        if self.key is None:
            self.key = VAULT.make_key(self.project)
            made = MakeKey(key_id=self.key.key_id, sealed=self.key.sealed)
            await self.tell("make_key", made, SYSTEM)
        secret = Secret(name=name, use=use, value=value)
        sealed = VAULT.seal(self.project, self.key, secret)
        await self.tell("set_secret", SetSecret(name=name, sealed=sealed, use=use))

    def secrets(self, vault: Vault | None = VAULT) -> Secrets:
        """Return the secrets as the execution's runner has them."""
        asker = Asker(self.sender, lambda: self.desk.token("runner:local"))
        return Secrets(Line(self.work, RUNNER, asker, self.desk.clock), vault)


@pytest.fixture
async def site(one: Desk) -> Site:
    """Return a project with a live execution."""
    project = await one.project()
    await one.task(project)
    await one.settle()
    (work,) = await one.claim()
    return Site(one, project, work)


async def test_a_runner_reads_what_was_set(site: Site) -> None:
    """By name, by use, all of them; nothing before there is any."""
    assert await site.secrets().known() == {}
    assert await site.secrets().named() == {}
    assert await site.secrets().git() is await site.secrets(None).get("TOKEN") is None
    await site.set("TOKEN", "one")
    await site.set("LOGIN", "ann:two", SecretUse.GIT)
    site.desk.clock.advance(2 * LOOK_AGE_SEC)
    secrets = site.secrets()
    assert await secrets.get("TOKEN") == Secret(name="TOKEN", use=SecretUse.ENV, value="one")
    assert await secrets.git() == Secret(name="LOGIN", use=SecretUse.GIT, value="ann:two")
    assert {name: each.value for name, each in (await secrets.known()).items()} == {
        "LOGIN": "ann:two",
        "TOKEN": "one",
    }


async def test_an_assignment_tells_how_many_there_are(site: Site) -> None:
    """As of a second ago at most: an execution of a project without any need not ask."""
    assert site.work.secrets == 0
    await site.set("TOKEN", "one")
    site.desk.clock.advance(2 * SECRETS_AGE_SEC)
    await site.desk.task(site.project)
    await site.desk.settle()
    (work,) = await site.desk.claim()
    assert work.secrets == 1


async def test_it_reads_what_is_there_now(site: Site) -> None:
    """Another value counts at once, a secret that was removed is gone, for what runs too."""
    secrets = site.secrets()
    await site.set("TOKEN", "one")
    await site.set("TOKEN", "two")
    found = await secrets.get("TOKEN")
    assert found is not None
    assert found.value == "two"
    await site.tell("remove_secret", RemoveSecret(name="TOKEN"))
    assert await secrets.get("TOKEN") is None


async def test_the_wrong_master_key_locks_what_needs_it(site: Site) -> None:
    """With a sentence that names the key; names can be had, and no value is known."""
    await site.set("TOKEN", "one")
    stranger = AesVault((of_bytes(b"s" * 32),))
    for vault, said in ((stranger, f"master key {PRESENT.key_id}, which"), (None, "no master key")):
        secrets = site.secrets(vault)
        assert await secrets.named() == {"TOKEN": SecretUse.ENV}
        assert await secrets.known() == {}
        with pytest.raises(Locked, match=said):
            await secrets.get("TOKEN")


async def test_one_that_was_damaged_spares_the_others(site: Site) -> None:
    """It can be named and not be read."""
    await site.set("TOKEN", "one")
    assert site.key is not None
    forged = f"v1.{site.key.key_id}.{'A' * 40}"
    await site.tell("set_secret", SetSecret(name="FORGED", sealed=forged))
    assert set(await site.secrets().known()) == {"TOKEN"}
    with pytest.raises(Locked, match=r"FORGED of project \d+ is not as it was sealed"):
        await site.secrets().get("FORGED")


async def test_an_execution_that_is_over_is_told_nothing(site: Site) -> None:
    """Its lease is what it asks by."""
    await site.set("TOKEN", "one")
    await site.desk.finish(site.work)
    with pytest.raises(Rejected):
        await site.secrets().known()


async def test_only_runners_are_told(site: Site) -> None:
    """Not the owner, by whatever token of theirs."""
    work = site.work
    about = ListSecrets(task_id=work.task_id, execution_id=work.execution_id, epoch=work.epoch)
    for who in (OWNER, "admin:root", "viewer:vic"):
        assert (await problem(site.desk.run("secrets", about, who=who))).status == 403
    answer = await site.desk.run("secrets", about)
    assert msgspec.json.decode(answer, type=SealedSecrets).project_id == site.project


async def test_as_many_as_there_can_be_fit_the_bus(site: Site) -> None:
    """A hundred of the largest, in pages that are messages."""
    for n in range(SECRETS_MAX):
        await site.set(f"S{n:02}", f"{n:02}" + "v" * (VALUE_MAX - 2))
    known = await site.secrets().known()
    assert [secret.value[:2] for secret in known.values()] == [
        f"{n:02}" for n in range(SECRETS_MAX)
    ]
    assert site.sender.largest < MESSAGE_MAX


async def test_resealing_changes_no_value(site: Site) -> None:
    """Who has only the new master key reads what was set before."""
    await site.set("TOKEN", "one")
    assert site.key is not None
    new = AesVault((BEFORE, PRESENT)).reseal(site.project, site.key)
    await site.tell("reseal_key", ResealKey(key_id=new.key_id, sealed=new.sealed), SYSTEM)
    site.desk.clock.advance(2 * LOOK_AGE_SEC)
    found = await site.secrets(AesVault((BEFORE,))).get("TOKEN")
    assert found is not None
    assert found.value == "one"


@pytest.mark.parametrize(
    "body",
    [
        b'{"name":"TOKEN","value":"hunter2"}',
        b'{"name":"TOKEN","sealed":"hunter2"}',
        b'{"name":"TOKEN","sealed":"v1.0123456789abcdef.hunter2"}',
        b'{"name":"TOKEN","sealed":"k1.0123456789abcdef.aHVudGVyMmh1bnRlcjJodW50ZXIy"}',
    ],
)
async def test_a_plain_value_is_refused_on_the_bus(site: Site, body: bytes) -> None:
    """There is no field for it, and no other field takes it; the answer does not repeat it."""
    refused = await problem(site.desk.ask(OWNER, "project.set_secret", body, target=site.project))
    assert refused.status == 422
    assert "hunter2" not in msgspec.json.encode(refused).decode()


async def test_keys_are_made_by_pandar_itself(site: Site) -> None:
    """Whoever could give a project a key of theirs could read what is set from then on."""
    key = VAULT.make_key(site.project)
    orders: dict[str, Command] = {
        "make_key": MakeKey(key_id=key.key_id, sealed=key.sealed),
        "reseal_key": ResealKey(key_id=key.key_id, sealed=key.sealed),
    }
    for action, order in orders.items():
        for who in (OWNER, "admin:root"):
            assert (await problem(site.tell(action, order, who))).status == 403
        assert (await problem(site.tell(action, order, "user:eve"))).status == 404


async def test_a_project_that_is_not_there_has_no_secrets(one: Desk) -> None:
    """And gets none, by nobody, under its own name."""
    key = VAULT.make_key(99)
    order = MakeKey(key_id=key.key_id, sealed=key.sealed)
    refused = await problem(one.ask(SYSTEM, "project.make_key", order, target=99))
    assert (refused.status, refused.detail) == (404, "there is no project 99")
