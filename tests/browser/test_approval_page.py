"""The page of an approval link in a real browser.

On a phone and a desk, light and dark, by thumb, keyboard and screen reader, with a script and
without.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from events.calls import CallKind, Severity, ToolCall, Verdict
from events.task import Json, Usage
from pandar_daemon.domain.card import (
    Deadline,
    Subject,
    budget_card,
    call_card,
    question_card,
)
from pandar_daemon.domain.judging import Judgement
from tests.support.api import Api, Person, running_api
from tests.support.approvals import Waiting, asked, in_a_day, push_card, running
from tests.support.browser import DESK, PHONE, Browser, Page, browser, needs_browser

pytestmark = [
    pytest.mark.browser,
    pytest.mark.servers,
    pytest.mark.xdist_group("servers"),
    needs_browser,
]

SIZES = pytest.mark.parametrize("size", [PHONE, DESK], ids=["phone", "desk"])
SCHEMES = pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])

WHOSE = Subject(
    task_id=1, task_name="Nightly audit", project_id=1, agent="claude", branch="pandar/task-42"
)
DIFF = """--- a/src/billing/invoice.py
+++ b/src/billing/invoice.py
@@ -12,9 +12,10 @@ def total(lines: list[Line], discount: Decimal) -> Decimal:
     for line in lines:
-        amount = line.price * line.count
+        amount = (line.price * line.count).quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN)
+        assert amount >= 0, "a line of an invoice cannot cost less than nothing at all"
         sum += amount
"""
LONG = "for f in $(find .); do sed -i 's/\u202ea/b/' \"$f\"; echo " + "long" * 60 + "; done"


def _call(call: ToolCall, gate: str, severity: Severity, why: str) -> Json:
    judged = Judgement(
        verdict=Verdict.ASK, rule=f"{gate}.rule", gates=[gate], severity=severity, why=why
    )
    deadline = Deadline(expires_at=in_a_day())
    return call_card(WHOSE, call, judged, deadline, intent="Rounding was wrong for half cents.")


def _cards() -> dict[str, Json]:
    """Return a card of every kind, by the gate it stops at."""
    edit = ToolCall(kind=CallKind.EDIT, tool="Edit", paths=["/etc/invoice.py"], diff=DIFF)
    long = ToolCall(kind=CallKind.EXECUTE, tool="Bash", command=LONG, cwd="/srv/" + "deep/" * 40)
    spent = Usage(cost_usd=5.0312, input_tokens=812_345, output_tokens=40_211)
    deadline = Deadline(expires_at=in_a_day())
    return {
        "git_push_protected": push_card(),
        "outside_workspace": _call(edit, "outside_workspace", Severity.MEDIUM, "writes outside"),
        "unclassified": _call(long, "unclassified", Severity.CRITICAL, "nobody knows"),
        "network_egress": _call(long, "network_egress", Severity.LOW, "talks to others"),
        "question": question_card(WHOSE, "Which database?", ["PostgreSQL", "SQLite"], deadline),
        "budget": budget_card(WHOSE, spent, {"max_cost_usd": 5.0}, deadline, why="it is used up"),
        "lost_runner": {"gate": "lost_runner", "command": "make", "question": "Parts are done."},
    }


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
    return ann


@pytest.fixture
async def waiting(api: Api, owner: Person) -> Waiting:
    """Return a confirmation that waits."""
    return await asked(api, owner, await running(api, owner, 1))


@pytest.fixture
async def chromium() -> AsyncIterator[Browser]:
    """Return a browser."""
    async with browser() as running:
        yield running


# --- how it looks ----------------------------------------------------------------------------

CONTRAST = """(() => {
    const parse = (c) => (c.match(/[\\d.]+/g) || []).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
        .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (e) => {
        for (; e; e = e.parentElement) {
            const c = parse(getComputedStyle(e).backgroundColor);
            if (c.length === 3 || c[3] === 1) return c;
        }
        return [255, 255, 255];
    };
    const poor = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let n = walker.nextNode(); n; n = walker.nextNode()) {
        const e = n.parentElement, style = getComputedStyle(e);
        if (!n.textContent.trim() || !e.getClientRects().length) continue;
        const [a, b] = [light(parse(style.color)), light(ground(e))].sort((x, y) => y - x);
        const ratio = (a + 0.05) / (b + 0.05);
        if (ratio < 4.5) poor.push([n.textContent.trim().slice(0, 40), ratio.toFixed(2)]);
    }
    return poor;
})()"""
NARROW = """[...document.querySelectorAll("body *")].filter((e) => {
    const box = e.getBoundingClientRect(), style = getComputedStyle(e);
    if (e.closest(".diff pre") || e.closest(".hidden") || !box.width) return false;
    return box.right > innerWidth + 1 || box.left < -1;
}).map((e) => e.outerHTML.slice(0, 80))"""
SMALL = """[...document.querySelectorAll("button:not([hidden]), .option, textarea, summary")]
    .filter((e) => e.getBoundingClientRect().height && e.getBoundingClientRect().height < 40)
    .map((e) => e.outerHTML.slice(0, 80))"""
OPEN_ALL = "document.querySelectorAll('details').forEach((d) => { d.open = true; })"


async def _looks_right(page: Page) -> None:
    """Nothing is too wide, too pale or too small to hit, nor did the browser complain."""
    for opened in (False, True):
        if opened:
            await page.run(OPEN_ALL)
        width, seen = await page.run("[document.documentElement.scrollWidth, innerWidth]")
        assert width <= seen
        assert await page.run(NARROW) == []
        assert await page.run(CONTRAST) == []
        assert await page.run(SMALL) == []
    assert page.problems == []


@SIZES
@SCHEMES
async def test_every_card_looks_right(
    api: Api,
    owner: Person,
    chromium: Browser,
    tmp_path: Path,
    size: tuple[int, int],
    *,
    dark: bool,
) -> None:
    """While it waits and afterwards; the buttons are within reach of a thumb at once."""
    work = await running(api, owner, 1)
    for gate, card in _cards().items():
        waiting = await asked(api, owner, work, card, gate=gate)
        async with chromium.page(size, dark=dark) as page:
            assert await page.goto(await waiting.link()) == 200
            bottom = await page.run(
                "document.querySelector('.main').getBoundingClientRect().bottom"
            )
            assert bottom <= size[1]
            await page.screenshot(tmp_path / f"{gate}.png")
            await _looks_right(page)
            await owner.post(f"/tasks/{waiting.task_id}/confirm")
            await waiting.row()
            async with page.loading():
                await page.ask("Page.reload")
            await page.screenshot(tmp_path / f"{gate}-decided.png")
            await _looks_right(page)


async def test_pages_that_only_say_something(
    waiting: Waiting, chromium: Browser, tmp_path: Path
) -> None:
    """A link nobody made, and one of a cancelled task, look right as well."""
    url = await waiting.link()
    await waiting.owner.post(f"/tasks/{waiting.task_id}/cancel")
    await waiting.row()
    for address, status in ((f"{url[:-43]}{'A' * 43}", 404), (url, 410)):
        async with chromium.page() as page:
            assert await page.goto(address) == status
            await page.screenshot(tmp_path / f"{status}.png")
            assert [each for each in page.problems if f"status of {status}" not in each] == []
            page.problems.clear()
            await _looks_right(page)


# --- deciding --------------------------------------------------------------------------------


@SIZES
async def test_approving(waiting: Waiting, chromium: Browser, size: tuple[int, int]) -> None:
    """One press; then the page says so, and what becomes of the task, by itself."""
    async with chromium.page(size) as page:
        await page.goto(await waiting.link())
        async with page.loading():
            await page.click("button.approve")
        assert "Approved" in await page.text("h1")
        assert "The task goes on" in await page.text("#task")
        await waiting.api.finish(waiting.work)
        await page.until("document.getElementById('task').textContent === 'The task is done'")
        assert page.problems == []
    row = await waiting.row()
    assert (row["status"], row["decided_by"]) == ("approved", "ann")


async def test_denying_with_a_reason(waiting: Waiting, chromium: Browser) -> None:
    """The reason goes with it."""
    async with chromium.page() as page:
        await page.goto(await waiting.link())
        await page.click("#reason")
        await page.type("not on a Friday")
        async with page.loading():
            await page.click("button.deny")
        assert "Denied" in await page.text("h1")
    row = await waiting.row()
    assert (row["status"], row["reason"]) == ("denied", "not on a Friday")


async def test_requesting_changes(waiting: Waiting, chromium: Browser) -> None:
    """Without words it is not even sent: the field is pointed out; then the words go."""
    async with chromium.page() as page:
        await page.goto(await waiting.link())
        await page.click("button.changes")
        focused = await page.run(
            "[document.activeElement.id, document.activeElement.validationMessage]"
        )
        assert focused == ["reason", "Say what to do instead."]
        assert (await waiting.row())["status"] == "pending"
        await page.type("open a pull request")
        async with page.loading():
            await page.click("button.changes")
        assert "Changes requested" in await page.text("h1")
    assert (await waiting.row())["reason"] == "open a pull request"


async def test_approving_a_pattern(waiting: Waiting, chromium: Browser) -> None:
    """The pattern is offered once it is asked for, and can be changed."""
    async with chromium.page() as page:
        await page.goto(await waiting.link())
        await page.click(".scope summary")
        assert await page.run("document.getElementById('pattern').checkVisibility()") is False
        await page.click("[name=scope][value=pattern]")
        assert await page.run("document.getElementById('pattern').checkVisibility()") is True
        assert await page.run("document.getElementById('pattern').value") == (
            "git push origin task-42:main"
        )
        await page.run("document.getElementById('pattern').select()")
        await page.type("git push origin *")
        async with page.loading():
            await page.click("button.approve")
        assert "calls of this task that fit git push origin *" in await page.text(".scope-given")
    row = await waiting.row()
    assert (row["scope"], row["pattern"]) == ("pattern", "git push origin *")


async def test_answering_a_question(api: Api, owner: Person, chromium: Browser) -> None:
    """A tap on a choice and one on the button."""
    work = await running(api, owner, 1)
    waiting = await asked(api, owner, work, _cards()["question"], gate="question")
    async with chromium.page() as page:
        await page.goto(await waiting.link())
        await page.click("[name=choice][value=SQLite]")
        async with page.loading():
            await page.click("button.changes")
        assert "Answered" in await page.text("h1")
    assert (await waiting.row())["reason"] == "SQLite"


async def test_somebody_else_is_faster(waiting: Waiting, chromium: Browser) -> None:
    """The page notices while it is looked at; who presses at the same moment is told."""
    url = await waiting.link()
    async with chromium.page() as page, chromium.page(script=False) as slow:
        await page.goto(url)
        await slow.goto(url)
        async with page.loading():
            await waiting.api.person("bob").post(
                f"/tasks/{waiting.task_id}/confirm", {"decision": "deny"}
            )
        assert "Denied" in await page.text("h1")
        assert "by bob" in await page.text(".who")
        assert page.problems == []
        async with slow.loading():
            await slow.click("button.approve")
        assert "too late" in await slow.text(".banner")
        assert slow.statuses[url] == 409


@SIZES
async def test_without_a_script(waiting: Waiting, chromium: Browser, size: tuple[int, int]) -> None:
    """All of it works, and says when in full."""
    async with chromium.page(size, script=False) as page:
        await page.goto(await waiting.link())
        assert "UTC" in await page.text(".deadline")
        async with page.loading():
            await page.click("button.changes")
        assert "Say what to do instead." in await page.text("#reason-problem")
        assert (await waiting.row())["status"] == "pending"
        page.problems.clear()  # that it was answered 422
        async with page.loading():
            await page.click("button.approve")
        assert "Approved" in await page.text("h1")
        assert "Look again" in await page.text("#again")
        await waiting.api.finish(waiting.work)
        await waiting.row()
        async with page.loading():
            await page.click("#again")
        assert "The task is done" in await page.text("#task")
        assert page.problems == []


# --- keyboard and screen reader --------------------------------------------------------------

SEEN = """(() => {
    const box = document.activeElement.getBoundingClientRect();
    const over = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    return document.activeElement.contains(over) || over.contains(document.activeElement);
})()"""
"""Whether nothing is over what has the focus."""
FOCUSED = "document.activeElement.textContent || document.activeElement.name"


@SIZES
async def test_keyboard_only(waiting: Waiting, chromium: Browser, size: tuple[int, int]) -> None:
    """Tab reaches everything in order; Enter in a field decides nothing, on a button it does."""
    async with chromium.page(size) as page:
        await page.goto(await waiting.link())
        order: list[str] = []
        while not order or order[-1] != "Approve":
            await page.press("Tab")
            order.append(str(await page.run(FOCUSED)))
            assert await page.run(SEEN), order[-1]
            if order[-1].startswith("How far"):
                await page.press("Enter")
        scope = "How far an approval goes: this call only"
        assert order == ["reason", scope, "scope", "Deny", "Request changes", "Approve"]
        await page.run("document.querySelector('[value=pattern]').focus()")
        await page.press("Space")
        await page.press("Enter")
        await page.run("document.getElementById('pattern').focus()")
        await page.press("Enter")
        assert (await waiting.row())["status"] == "pending"
        assert await page.run("document.querySelector('form').hasAttribute('aria-busy')") is False
        await page.run("document.querySelector('.approve').focus()")
        async with page.loading():
            await page.press("Enter")
        assert "Approved" in await page.text("h1")


async def test_a_screen_reader_knows_everything(api: Api, owner: Person, chromium: Browser) -> None:
    """Every control has a name, the page has landmarks and one title, what changes is announced."""
    work = await running(api, owner, 1)
    for gate, card in _cards().items():
        waiting = await asked(api, owner, work, card, gate=gate)
        async with chromium.page() as page:
            await page.goto(await waiting.link())
            await page.run(OPEN_ALL)
            known = await page.accessible()
            nameless = {"StaticText", "InlineTextBox", "generic", "none", "paragraph"}
            controls = {"button", "textbox", "radio", "group", "region", "DisclosureTriangle"}
            for node in known:
                assert node["role"] not in controls or node["name"] or node["role"] == "group", node
            roles = [node["role"] for node in known]
            assert roles.count("main") == roles.count("contentinfo") == 1
            headings = [n["name"] for n in known if n["role"] == "heading"]
            assert await page.run("document.querySelectorAll('h1').length") == 1
            assert len(headings) == len(set(headings))
            assert "status" in roles
            assert not nameless.issuperset(roles)
            assert await page.run("document.documentElement.lang") == "en"
        await owner.post(f"/tasks/{waiting.task_id}/confirm")


async def test_the_countdown(api: Api, owner: Person, chromium: Browser) -> None:
    """It runs before the eyes by the server's clock; a screen reader hears of it rarely."""
    soon = datetime.now(UTC) + timedelta(seconds=62)
    work = await running(api, owner, 1)
    waiting = await asked(api, owner, work, push_card(at=soon), expires_at=soon)
    async with chromium.page() as page:
        await page.goto(await waiting.link())
        first = await page.run("document.getElementById('left').textContent")
        await page.until(f"document.getElementById('left').textContent !== {first!r}")
        await page.until("document.getElementById('announced').textContent")
        announced = await page.run("document.getElementById('announced').textContent")
        assert announced == "1 minute left to decide"
        shown = await page.run("document.getElementById('left').textContent")
        await page.until(f"document.getElementById('left').textContent !== {shown!r}")
        assert await page.run("document.getElementById('announced').textContent") == announced
        assert await page.run("document.getElementById('left').className") == "left soon"
