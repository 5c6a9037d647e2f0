"""Approval links: a page that never decides by being looked at, and a form that does, once."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from events import commands as do
from events import subjects
from pandar_daemon.adapters.http.confirmation_answers import Confirmation, ConfirmationHistory
from pandar_daemon.adapters.http.guesses import GUESSES_MAX
from pandar_daemon.adapters.postgres.task_reads import PgTaskReads
from pandar_daemon.domain.refusals import Forbidden, NotFound, Refusal
from pandar_daemon.services.links import Links
from tests.support.api import Api, Person, running_api
from tests.support.approvals import Visitor, Waiting, asked, json_of, push_card, running

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]


@pytest.fixture
async def api(database_url: str, nats_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """Return a running API."""
    async with running_api(database_url, nats_url, tmp_path) as api:
        yield api


@pytest.fixture
async def owner(api: Api) -> Person:
    """Return ann, who owns project 1, in which bob manages."""
    ann = api.person("ann")
    project = await ann.project()
    await ann.post(f"/projects/{project}/members", {"user": "bob", "role": "manager"})
    await ann.post(f"/projects/{project}/members", {"user": "vic", "role": "member"})
    return ann


@pytest.fixture
async def waiting(api: Api, owner: Person) -> Waiting:
    """Return a confirmation that waits."""
    return await asked(api, owner, await running(api, owner, 1))


@pytest.fixture
def visitor(api: Api) -> Visitor:
    """Return somebody who has nothing but a link."""
    return Visitor(api.session)


# --- the link --------------------------------------------------------------------------------


async def test_a_link_shows_what_is_asked(waiting: Waiting, visitor: Visitor) -> None:
    """The page tells the command, the gate, the agent's words, the deadline and who decides."""
    page = await visitor.get(await waiting.link())
    assert page.status == 200
    assert page.has("Claude wants to push to a remote", "git push origin task-42:main")
    assert page.has("High risk", "Pushes to a remote.", "I want to put the fix on main")
    assert page.has("23 h 59 min left", "then it counts as denied", "You decide here as ann.")
    assert page.has((await waiting.row())["card_sha256"])


async def test_the_headers_of_a_page(waiting: Waiting, visitor: Visitor) -> None:
    """No cache, no referrer, no frame, no index, no cookie, nothing from elsewhere, no CORS."""
    page = await visitor.get(await waiting.link())
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert "noindex" in page.headers["x-robots-tag"]
    rules = dict(rule.split(" ", 1) for rule in page.headers["content-security-policy"].split("; "))
    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    named = ("style-src", "script-src", "img-src", "connect-src", "form-action")
    assert {rules[name] for name in named} == {"'self'"}
    assert "set-cookie" not in page.headers
    assert "access-control-allow-origin" not in page.headers
    assert not re.search(r"https?://|<style|<script(?! src)|\son[a-z]+=|style=", page.text)


async def test_looking_decides_nothing(waiting: Waiting, visitor: Visitor) -> None:
    """However often a mail scanner opens a link, whatever it adds to it."""
    url = await waiting.link()
    for method in ("GET", "HEAD", "GET"):
        for asked_for in (url, f"{url}?decision=approve", f"{url}/state"):
            assert (await visitor.get(asked_for, method)).status == 200
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        assert (await visitor.get(url, method)).status == 405
    assert (await waiting.row())["status"] == "pending"
    assert await waiting.told() == [*_ASKED, "task.link_issued"]


_ASKED = ["task.created", "task.start_requested", "task.started", "task.confirmation_requested"]


async def test_posting_blindly_decides_nothing(waiting: Waiting, visitor: Visitor) -> None:
    """Without the proof from the page, of this link and this card, a form is refused."""
    url = await waiting.link()
    page = await visitor.get(url)
    other = await visitor.get(await waiting.link())
    card = page.fields["card_sha256"]
    for fields in (
        {},
        {"decision": "approve"},
        {"decision": "approve", "card_sha256": card},
        {"decision": "approve", "card_sha256": card, "proof": "x"},
        {"decision": "approve", "card_sha256": card, "proof": other.fields["proof"]},
        {"decision": "approve", "card_sha256": "0" * 64, "proof": page.fields["proof"]},
    ):
        refused = await visitor.post(url, **fields)
        assert refused.status == 403, fields
        assert refused.has("Nothing was decided")
    async with waiting.api.session.post(url, json=page.fields | {"decision": "approve"}) as reply:
        assert reply.status == 415
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    for data, status in ((b"a=" + b"x" * 40_000, 413), (b"a=%ff", 400), (b"a&" * 99, 400)):
        async with waiting.api.session.post(url, data=data, headers=form) as reply:
            assert reply.status == status
    assert (await waiting.row())["status"] == "pending"


async def test_links_nobody_made(waiting: Waiting, visitor: Visitor) -> None:
    """They are pages that say so, for any text and method; none of them is an error of ours."""
    base = (await waiting.link()).rpartition("/")[0]
    for token in ("x", "A" * 43, "%00", "é" * 43, "..%2F..%2Fetc", "<script>", "x" * 2_000):
        page = await visitor.get(f"{base}/{token}")
        assert page.status == 404, token
        assert page.has("This link does not work")
    assert (await visitor.post(f"{base}/{'A' * 43}", decision="approve")).status == 404


async def test_who_guesses_is_refused_for_a_minute(waiting: Waiting) -> None:
    """An address may ask for so many unknown links; others, and it through a proxy, are not hit."""
    url = await waiting.link()
    session, base = waiting.api.session, url.rpartition("/")[0]
    guesser = Visitor(session, **{"X-Forwarded-For": "10.0.0.1, 203.0.113.7"})
    for _ in range(GUESSES_MAX):
        assert (await guesser.get(f"{base}/{'A' * 43}")).status == 404
    refused = await guesser.get(url)
    assert (refused.status, refused.has("Too many wrong links")) == (429, True)
    assert 0 < int(refused.headers["retry-after"]) <= 61
    other = Visitor(session, **{"X-Forwarded-For": "203.0.113.7, 203.0.113.8"})
    assert (await other.get(url)).status == 200
    assert (await Visitor(session).get(url)).status == 200


async def test_links_are_for_those_who_may_decide(
    api: Api, owner: Person, waiting: Waiting, visitor: Visitor
) -> None:
    """A member cannot make one; whoever loses the right loses what their link shows, too."""
    path = f"/tasks/{waiting.task_id}/link"
    vic, eve = api.person("vic"), api.person("eve")
    assert "task:manage" in (await vic.refused("POST", path, 403))["detail"]
    await eve.refused("POST", path, 404)
    await api.person("root", "admin").refused("POST", path, 403)
    url = await waiting.link(api.person("bob"))
    page = await visitor.get(url)
    await owner.call("DELETE", "/projects/1/members/bob")
    await api.settle(owner)
    await owner.get("/projects")
    gone = await visitor.get(url)
    assert (gone.status, gone.has("git push")) == (403, False)
    assert (await visitor.press(page, "approve")).status == 403
    assert (await waiting.row())["status"] == "pending"


async def test_a_link_is_for_what_waits(api: Api, owner: Person, waiting: Waiting) -> None:
    """Not for another task's confirmation, one that is decided, or none at all."""
    other = await asked(api, owner, await running(api, owner, 1))
    body = {"confirmation_id": str(other.confirmation_id)}
    path = f"/tasks/{waiting.task_id}/link"
    await owner.refused("POST", path, 404, json=body)
    await owner.refused("POST", path, 422, json={"confirmation": "x"})
    named = {"confirmation_id": str(waiting.confirmation_id)}
    reply, made = await owner.call("POST", path, json=named)
    assert reply.headers["Cache-Control"] == "no-store"
    assert made["expires_at"] == (await waiting.row())["expires_at"]
    await owner.post(f"/tasks/{waiting.task_id}/confirm")
    problem = await owner.refused("POST", path, 409, json=named)
    assert "already decided by ann: approve" in problem["detail"]
    await waiting.row()
    assert "waits for nobody" in (await owner.refused("POST", path, 409))["detail"]


async def test_links_for_messages(
    api: Api, owner: Person, waiting: Waiting, visitor: Visitor
) -> None:
    """A service makes them for whoever may decide; for others it is refused, at once."""
    made = Links(
        asker=api.parts.asker("notifier", "system"),
        store=api.parts.store,
        tasks=PgTaskReads(api.parts.database, api.parts.clock),
        clock=api.parts.clock,
        url=f"{api.base_url}/",
    )
    task, confirmation = waiting.task_id, waiting.confirmation_id
    url = await made.issue(task, confirmation, "bob")
    assert (await visitor.get(url)).has("You decide here as bob.")
    for user, refusal in (("vic", Forbidden), ("eve", NotFound), ("", NotFound)):
        with pytest.raises(refusal):
            await made.issue(task, confirmation, user)
    with pytest.raises(NotFound):
        await made.issue(task + 1, confirmation, "bob")
    await owner.post(f"/tasks/{task}/confirm")
    with pytest.raises(Refusal, match="already decided by ann"):
        await made.issue(task, confirmation, "bob")
    assert made.page(task) == f"{api.base_url}/tasks/{task}"


async def test_no_secret_is_kept(
    waiting: Waiting, visitor: Visitor, capfd: pytest.CaptureFixture[str]
) -> None:
    """Of a link's text only the hash is in the log, the read models and the answers' addresses."""
    url = await waiting.link()
    token = url.rpartition("/")[2]
    await visitor.get(url)
    await visitor.get(f"{url}/")
    await visitor.get(f"{url}/x/y")
    await visitor.get(url.replace("/a/", "/%61/"))
    await visitor.decide(url, "approve")
    async with waiting.api.session.get(f"{waiting.api.base_url}/metrics") as reply:
        assert token not in await reply.text()
    history = await waiting.api.parts.store.read_stream(f"task-{waiting.task_id}")
    assert token not in "".join(str(event) for event in history)
    rows = await waiting.api.parts.database.fetch("SELECT l::text FROM views.approval_links l")
    assert rows
    assert token not in str(rows)
    printed = capfd.readouterr()
    assert token not in printed.out + printed.err


async def test_what_waits_for_people(api: Api, owner: Person) -> None:
    """Listed by deadline, page by page, to those who may read the project; decided ones are not."""
    work = [await running(api, owner, 1) for _ in range(3)]
    hours = {4: work[0], 2: work[1], 3: work[2]}
    soon = datetime.now(UTC)
    waits = [
        await asked(api, owner, each, expires_at=soon + timedelta(hours=n))
        for n, each in hours.items()
    ]
    order = [str(waits[n].confirmation_id) for n in (1, 2, 0)]
    first = await owner.get("/confirmations?limit=2")
    rest = await owner.get(f"/confirmations?limit=2&cursor={first['next_cursor']}")
    assert [row["id"] for row in (*first["items"], *rest["items"])] == order
    assert rest["next_cursor"] is None
    await owner.post(f"/tasks/{waits[1].task_id}/confirm", {"decision": "deny"})
    await owner.post(f"/tasks/{waits[0].task_id}/cancel")
    left = (await owner.get("/confirmations?status=pending&project_id=1"))["items"]
    assert [row["id"] for row in left] == order[1:2]
    assert msgspec.convert(left[0], Confirmation).card == waits[2].card
    eve = api.person("eve")
    assert (await eve.get("/confirmations"))["items"] == []
    await eve.refused("GET", "/confirmations?project_id=1", 404)
    await eve.refused("GET", f"/confirmations/{order[1]}", 404)
    await owner.refused("GET", "/confirmations?status=approved", 422)
    await owner.refused("GET", "/confirmations?cursor=x", 422)
    await owner.refused("GET", "/confirmations/nonsense", 404)


async def test_what_a_task_asked(api: Api, owner: Person) -> None:
    """Its confirmations in order, each with what became of it, by whom and when."""
    work = await running(api, owner, 1)
    path = f"/tasks/{work.task_id}"
    await asked(api, owner, work)
    await owner.post(f"{path}/confirm", {"decision": "changes", "reason": "a PR"})
    await asked(api, owner, work)
    wide = {"scope": "pattern", "pattern": "git *"}
    await api.person("bob").post(f"{path}/confirm", wide)
    await asked(api, owner, work)
    await owner.post(f"{path}/cancel")
    await api.settle(owner)
    found = msgspec.convert(await owner.get(f"{path}/confirmations"), ConfirmationHistory)
    told = [(row.status, row.decided_by, row.reason, row.pattern) for row in found.items]
    assert told == [
        ("changes", "ann", "a PR", None),
        ("approved", "bob", "", "git *"),
        ("cancelled", "ann", "", None),
    ]
    assert all(row.decided_at is not None for row in found.items)
    page = await owner.get(f"{path}/confirmations?page=2&limit=2")
    assert (page["total"], [row["status"] for row in page["items"]]) == (3, ["cancelled"])
    await api.person("eve").refused("GET", f"{path}/confirmations", 404)


# --- deciding --------------------------------------------------------------------------------


async def test_approving(waiting: Waiting, visitor: Visitor) -> None:
    """The press of a button decides as the link's approver, and leads to what was decided."""
    page = await visitor.decide(await waiting.link(), "approve", reason="fine")
    assert (page.status, page.has("Approved", "by ann", "fine", "The task goes on")) == (200, True)
    row = await waiting.row()
    assert (row["status"], row["decided_by"], row["scope"]) == ("approved", "ann", "call")
    assert (row["reason"], row["pattern"]) == ("fine", "")
    again = await visitor.get(page.address)
    assert (again.status, again.has("Approved", "by ann")) == (200, True)


async def test_denying(api: Api, waiting: Waiting, visitor: Visitor) -> None:
    """A refusal carries its reason, line breaks and all, and who refused."""
    url = await waiting.link(api.person("bob"))
    page = await visitor.decide(url, "deny", reason="not on\r\na Friday ")
    assert (page.status, page.has("Denied", "by bob", "not on a Friday")) == (200, True)
    row = await waiting.row()
    assert (row["status"], row["reason"]) == ("denied", "not on\na Friday")


async def test_requesting_changes(waiting: Waiting, visitor: Visitor) -> None:
    """They need words; without, the page asks for them and keeps what was entered."""
    url = await waiting.link()
    lacking = await visitor.decide(url, "changes", scope="pattern", pattern="git *")
    assert (lacking.status, lacking.fields["pattern"]) == (422, "git *")
    assert lacking.has("Say what to do instead.")
    assert (await waiting.row())["status"] == "pending"
    page = await visitor.press(lacking, "changes", reason="open a pull request")
    assert (page.status, page.has("Changes requested", "open a pull request")) == (200, True)
    assert (await waiting.row())["status"] == "changes"


@pytest.mark.parametrize(
    ("fields", "scope", "pattern"),
    [
        ({"scope": "execution"}, "execution", ""),
        ({"scope": "pattern"}, "pattern", "git push origin task-42:main"),
        ({"scope": "pattern", "pattern": "git push *"}, "pattern", "git push *"),
        ({"scope": "project", "pattern": "*"}, "call", ""),
        ({"scope": "call", "pattern": "git push *"}, "call", ""),
    ],
)
async def test_how_far_an_approval_goes(
    waiting: Waiting, visitor: Visitor, fields: dict[str, str], scope: str, pattern: str
) -> None:
    """As far as was chosen, never for a whole project; the suggested pattern is the call alone."""
    await visitor.decide(await waiting.link(), "approve", **fields)
    row = await waiting.row()
    assert (row["status"], row["scope"], row["pattern"]) == ("approved", scope, pattern)


async def test_entries_that_cannot_be_taken(waiting: Waiting, visitor: Visitor) -> None:
    """An unknown decision, an empty pattern, a text too long or with a NUL: said on the page."""
    url = await waiting.link()
    for decision, fields in (
        ("", {}),
        ("yes", {}),
        ("approve", {"scope": "pattern", "pattern": ""}),
        ("approve", {"reason": "x" * 501}),
        ("deny", {"reason": "a\x00b"}),
    ):
        page = await visitor.decide(url, decision, **fields)
        assert (page.status, page.has("git push origin")) == (422, True), (decision, fields)
    assert (await waiting.row())["status"] == "pending"


async def test_answering_a_question(api: Api, owner: Person, visitor: Visitor) -> None:
    """A choice, or words of one's own, are the answer that goes to the agent."""
    work = await running(api, owner, 1)
    card = {"kind": "question", "question": "Which?", "choices": ["red", "blue"]}
    for fields, answer in (
        ({"choice": "blue"}, "blue"),
        ({"reason": "green"}, "green"),
        ({"choice": "red", "reason": "but dark"}, "red\nbut dark"),
    ):
        waiting = await asked(api, owner, work, card, gate="question")
        url = await waiting.link()
        assert (await visitor.get(url)).has("Which?", "red", "blue", "Send answer")
        assert (await visitor.decide(url, "changes")).status == 422
        page = await visitor.decide(url, "changes", **fields)
        assert page.has("Answered", "by ann")
        assert (await waiting.row())["reason"] == answer


async def test_what_others_decided(api: Api, waiting: Waiting, visitor: Visitor) -> None:
    """A form sent too late is told the outcome, as a conflict; a look at the page is not one."""
    url = await waiting.link()
    page = await visitor.get(url)
    await api.person("bob").post(f"/tasks/{waiting.task_id}/confirm", {"decision": "deny"})
    late = await visitor.press(page, "approve")
    assert (late.status, late.has("too late", "Denied", "by bob")) == (409, True)
    seen = await visitor.get(url)
    assert (seen.status, seen.has("Denied", "by bob"), seen.has("too late")) == (200, True, False)
    assert (await waiting.told()).count("task.denied") == 1


async def test_pressing_twice(waiting: Waiting, visitor: Visitor) -> None:
    """The same decision again is no error and no second decision."""
    page = await visitor.get(await waiting.link())
    first, second = await visitor.press(page, "approve"), await visitor.press(page, "approve")
    assert (first.status, second.status, second.has("Approved", "by ann")) == (200, 200, True)
    assert (await waiting.told()).count("task.confirmed") == 1


async def test_an_old_link_decides_nothing_new(
    api: Api, owner: Person, waiting: Waiting, visitor: Visitor
) -> None:
    """While the task waits for another decision, an older link tells of its own."""
    page = await visitor.get(await waiting.link())
    await visitor.press(page, "approve")
    newer = await asked(api, owner, waiting.work)
    late = await visitor.press(page, "approve")
    assert (late.status, late.has("Approved", "waits for another decision")) == (409, True)
    assert (await newer.row())["status"] == "pending"


async def test_a_cancelled_task(waiting: Waiting, visitor: Visitor) -> None:
    """Its link is gone, and says by whom; its form decides nothing."""
    page = await visitor.get(await waiting.link())
    await waiting.owner.post(f"/tasks/{waiting.task_id}/cancel")
    late = await visitor.press(page, "approve")
    assert (late.status, late.has("Cancelled", "by ann")) == (409, True)
    gone = await visitor.get(page.address)
    assert (gone.status, gone.has("The task was cancelled")) == (410, True)
    row = await waiting.row()
    assert (row["status"], row["decided_by"]) == ("cancelled", "ann")


async def test_one_nobody_decided(
    api: Api, owner: Person, tmp_path: Path, visitor: Visitor
) -> None:
    """After its deadline it is gone: it counts as denied."""
    soon = datetime.now(UTC) + timedelta(hours=-1)
    work = await running(api, owner, 1)
    waiting = await asked(api, owner, work, push_card(at=soon), expires_at=soon)
    url = await waiting.link()
    assert (await visitor.get(url)).has("Time is up")
    await _expire(waiting)
    gone = await visitor.get(url)
    assert (gone.status, gone.has("Nobody decided in time", "counts as denied")) == (410, True)


async def _expire(waiting: Waiting) -> None:
    command = do.ExpireConfirmation(confirmation_id=waiting.confirmation_id)
    await waiting.api.parts.asker("reaper", "system").ask(
        subjects.command("task.expire", None, waiting.task_id), msgspec.json.encode(command), "e-1"
    )
    assert (await waiting.row())["status"] == "expired"


async def test_several_must_approve(api: Api, owner: Person, visitor: Visitor) -> None:
    """Each approves once, by a link of their own; the task's owner may not if so ruled."""
    work = await running(api, owner, 1)
    waiting = await asked(api, owner, work, quorum=2, prevent_self_approval=True)
    own = await visitor.get(await waiting.link())
    assert own.has("You filed this task: somebody else must approve.")
    assert not own.has("Request changes", "Approve let")
    refused = await visitor.press(own, "approve")
    assert (refused.status, refused.has("somebody else must approve")) == (409, True)
    await owner.post("/projects/1/members", {"user": "cid", "role": "manager"})
    first = await visitor.decide(await waiting.link(api.person("bob")), "approve")
    assert first.has("Approved by bob. It takes 1 more person to approve.")
    assert json_of(await visitor.get(f"{first.address}/state"))["votes"] == 1
    assert [vote["by"] for vote in (await waiting.row())["votes"]] == ["bob"]
    second = await visitor.decide(await waiting.link(api.person("cid")), "approve")
    assert second.has("Approved", "by cid")


async def test_the_state_for_the_script(waiting: Waiting, visitor: Visitor) -> None:
    """It tells what the page needs to know and nothing else, and ends with the task."""
    url = await waiting.link()
    now = json_of(await visitor.get(f"{url}/state"))
    said = "The task waits for another decision"
    assert now == {"state": "pending", "votes": 0, "task": said, "live": True}
    await visitor.decide(url, "approve")
    now = json_of(await visitor.get(f"{url}/state"))
    assert now == {"state": "approved", "votes": 0, "task": "The task goes on", "live": True}
    await waiting.api.finish(waiting.work)
    await waiting.row()
    now = json_of(await visitor.get(f"{url}/state"))
    assert now == {"state": "approved", "votes": 0, "task": "The task is done", "live": False}
    assert (await visitor.get(f"{url[:-1]}/state")).status == 404


async def test_files_of_the_page(waiting: Waiting, visitor: Visitor) -> None:
    """Each has an address that changes with it, so browsers keep it; others are not there."""
    page = await visitor.get(await waiting.link())
    named = re.findall(r"\.\./assets/(\S+?)\"", page.text)
    assert len(named) == 3
    for name in named:
        found = await visitor.get(f"{waiting.api.base_url}/assets/{name}")
        assert (found.status, "immutable" in found.headers["cache-control"]) == (200, True)
    for name in ("nothing.css", "..%2F__init__.py"):
        assert (await visitor.get(f"{waiting.api.base_url}/assets/{name}")).status == 404


async def test_nobody_makes_a_link_for_somebody_else(api: Api, waiting: Waiting) -> None:
    """A manager who names another approver on the bus is refused; a service of ours is not."""
    order = do.IssueLink(
        confirmation_id=waiting.confirmation_id, approver="ann", token_sha256="0" * 64
    )
    subject = subjects.command("task.link", None, waiting.task_id)
    body = msgspec.json.encode(order)
    with pytest.raises(Refusal, match="system:run"):
        await api.parts.asker("bob", "user").ask(subject, body, "bob-for-ann")
    await api.parts.asker("notifier", "system").ask(subject, body, "ours-for-ann")
    assert "task.link_issued" in await waiting.told()
