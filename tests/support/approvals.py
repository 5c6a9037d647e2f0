"""A task that waits for somebody, and visitors of the pages of approval links."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any
from uuid import UUID

import aiohttp
import msgspec
from msgspec import Struct

from events.calls import CallKind, Severity, ToolCall, Verdict
from events.running import AskConfirmation, Assignment
from events.task import Json
from pandar_daemon.domain.card import Deadline, Subject, call_card
from pandar_daemon.domain.judging import Judgement
from tests.support.api import Api, Person

PUSH = "git push origin task-42:main"


class Waiting(Struct):
    """A confirmation that was asked for, and its task."""

    api: Api
    owner: Person
    work: Assignment
    confirmation_id: UUID
    card: Json

    @property
    def task_id(self) -> int:
        """Return the task."""
        return self.work.task_id

    async def link(self, person: Person | None = None) -> str:
        """Return an address by which somebody, the owner by default, decides."""
        who = person or self.owner
        return str((await who.post(f"/tasks/{self.task_id}/link"))["url"])

    async def row(self) -> Json:
        """Return the confirmation as it is now."""
        await self.api.settle(self.owner)
        found: Json = await self.owner.get(f"/confirmations/{self.confirmation_id}")
        return found

    async def told(self) -> list[str]:
        """Return the types of the task's events."""
        history = await self.api.parts.store.read_stream(f"task-{self.task_id}")
        return [event.type for event in history]


def push_card(*, at: datetime | None = None, **changes: object) -> Json:
    """Return the card of a call that wants to push."""
    call = ToolCall(
        kind=CallKind.EXECUTE, tool="Bash", title="git push", command=PUSH, cwd="/srv/task-42"
    )
    judged = Judgement(
        verdict=Verdict.ASK,
        rule="git_push_protected.push",
        gates=["git_push_protected"],
        severity=Severity.HIGH,
        why="pushes to a remote",
    )
    deadline = Deadline(expires_at=at or in_a_day())
    subject = Subject(task_id=42, task_name="Nightly audit", project_id=1, agent="claude")
    intent = "The tests pass; I want to put the fix on main."
    return {**call_card(subject, call, judged, deadline, intent=intent), **changes}


def in_a_day() -> datetime:
    """Return the usual deadline."""
    return datetime.now(UTC) + timedelta(days=1)


async def running(api: Api, owner: Person, project: int, **fields: object) -> Assignment:
    """File a task and take it as its runner."""
    await owner.task(project, name="Nightly audit", auto_start=True, **fields)
    return await api.claim()


async def asked(
    api: Api,
    owner: Person,
    work: Assignment,
    card: Json | None = None,
    **fields: Any,  # noqa: ANN401
) -> Waiting:
    """Stop an execution at a gate, and return it once that can be read."""
    confirmation_id = api.parts.clock.new_id()
    shown = push_card() if card is None else card
    wanted = {"gate": "git_push_protected", "expires_at": in_a_day(), **fields}
    ask = AskConfirmation(
        task_id=work.task_id,
        execution_id=work.execution_id,
        epoch=work.epoch,
        confirmation_id=confirmation_id,
        card=shown,
        **wanted,
    )
    await api._ask("ask", ask)
    await api.settle(owner)
    return Waiting(api, owner, work, confirmation_id, shown)


class Seen(Struct):
    """What a browser without a script makes of a page."""

    status: int
    headers: dict[str, str]
    text: str
    fields: dict[str, str]
    words: str
    address: str

    def has(self, *texts: str) -> bool:
        """Return whether these stand on the page, for its reader."""
        return all(text in self.words for text in texts)


class _Reader(HTMLParser):
    """Takes the fields of a form and the words of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Take a field as a browser would send it."""
        known = dict(attrs)
        unset = known.get("type") == "radio" and "checked" not in known
        if tag == "input" and known.get("name") and not unset:
            self.fields[str(known["name"])] = known.get("value") or ""

    def handle_data(self, data: str) -> None:
        """Take what is read."""
        self.words.append(data)


class Visitor:
    """Somebody with a link and no token."""

    def __init__(self, session: aiohttp.ClientSession, **headers: str) -> None:
        self._session = session
        self._headers = headers

    async def get(self, url: str, method: str = "GET") -> Seen:
        """Open an address."""
        return await self._visit(method, url)

    async def post(self, url: str, **fields: str) -> Seen:
        """Send a form that was made without looking."""
        return await self._visit("POST", url, fields)

    async def decide(self, url: str, decision: str, **fields: str) -> Seen:
        """Look at the page, and press one of its buttons; returns where that leads."""
        page = await self.get(url)
        return await self.press(page, decision, **fields)

    async def press(self, page: Seen, decision: str, **fields: str) -> Seen:
        """Press a button of a page that was opened before."""
        sent = {**page.fields, **fields, "decision": decision}
        return await self._visit("POST", page.address, sent)

    async def _visit(self, method: str, url: str, fields: dict[str, str] | None = None) -> Seen:
        async with self._session.request(method, url, data=fields, headers=self._headers) as reply:
            text = await reply.text()
            reader = _Reader()
            reader.feed(text)
            headers = {name.lower(): value for name, value in reply.headers.items()}
            words = " ".join("".join(reader.words).split())
            return Seen(reply.status, headers, text, reader.fields, words, str(reply.url))


def json_of(seen: Seen) -> Json:
    """Return an answer that is JSON."""
    found: Json = msgspec.json.decode(seen.text)
    return found
