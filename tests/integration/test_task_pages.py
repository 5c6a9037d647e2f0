"""Pages of tasks: filters, orders, cursors and search, on a real Postgres."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from events import task as did
from events.task import Priority
from pandar_daemon.adapters.postgres import task_reads
from pandar_daemon.adapters.postgres.task_letters import Letters
from pandar_daemon.adapters.postgres.task_search import TaskQuery
from pandar_daemon.domain.refusals import Invalid
from pandar_daemon.ports import TaskFilter
from tests.support.lives import created, started
from tests.support.reading import Scene, done, scene

pytestmark = [pytest.mark.servers, pytest.mark.xdist_group("servers")]


# --- pages -----------------------------------------------------------------------------------


async def test_filters(database_url: str) -> None:
    """Each narrows; together they narrow further."""
    async with scene(database_url) as given:
        await given.add(1, created(1, priority=Priority.URGENT))
        await given.add(2, created(2, created_by="user:2"), did.StartRequested(), started())
        await given.add(3, created(3, project_id=2), project_id=2)
        await given.project()
        assert await given.ids() == [3, 2, 1]
        assert await given.ids(descending=False) == [1, 2, 3]
        assert await given.ids(projects=frozenset({1})) == [2, 1]
        assert await given.ids(projects=frozenset()) == []
        assert await given.ids(projects=frozenset({1}), project_id=2) == []
        assert await given.ids(status=frozenset({"running"})) == [2]
        assert await given.ids(priority=frozenset({"urgent", "low"})) == [1]
        assert await given.ids(created_by="user:2") == [2]
        created_at = (await given.tasks.page(TaskFilter(limit=1))).items[0]["created_at"]
        assert created_at.startswith("20")
        far = given.clock.now() + timedelta(days=36_500)
        assert await given.ids(date_from=far) == []
        assert await given.ids(date_to=far) == [3, 2, 1]


@pytest.mark.parametrize(
    "sort_by", ["created_at", "updated_at", "started_at", "priority", "status", "name"]
)
@pytest.mark.parametrize("descending", [True, False])
async def test_cursors_walk_everything_once(
    database_url: str, sort_by: str, descending: bool
) -> None:
    """Page by page, in any order, though new tasks come meanwhile: every old task exactly once."""
    async with scene(database_url) as given:
        for n in range(1, 24):
            await given.add(n, created(n, name=f"t{n % 3}", priority=list(Priority)[n % 4]))
        await given.project()
        whole = await given.ids(sort_by=sort_by, descending=descending, limit=100)
        seen: list[int] = []
        cursor, extra = None, 100
        while True:
            page = await given.tasks.page(
                TaskFilter(sort_by=sort_by, descending=descending, limit=5, cursor=cursor)
            )
            seen += [item["id"] for item in page.items]
            cursor = page.next
            if cursor is None:
                break
            extra += 1
            await given.add(extra, created(extra, name=f"t{extra % 3}"))
            await given.project()
        assert [task_id for task_id in seen if task_id < 100] == whole
        assert len(seen) == len(set(seen))


async def test_pages_by_number_count(database_url: str) -> None:
    """The total is that of all pages; past the end there is nothing."""
    async with scene(database_url) as given:
        for n in range(1, 8):
            await given.add(n, created(n))
        await given.project()
        page = await given.tasks.page(TaskFilter(page=2, limit=3))
        assert ([item["id"] for item in page.items], page.total) == ([4, 3, 2], 7)
        last = await given.tasks.page(TaskFilter(page=9, limit=3))
        assert (last.items, last.total, last.next) == ([], 7, None)
        assert (await given.tasks.page(TaskFilter(limit=3))).total is None


@pytest.mark.parametrize(
    "cursor",
    ["x", "", "e30", "bnVsbA", "WyJjcmVhdGVkX2F0Iix0cnVlLCJub3ciLDFd", "é", "\x00", "A" * 9],
)
async def test_a_forged_cursor_is_refused(database_url: str, cursor: str) -> None:
    """Garbage is named, never run."""
    async with scene(database_url) as given:
        with pytest.raises(Invalid, match="cursor"):
            await given.tasks.page(TaskFilter(cursor=cursor))


async def test_a_cursor_belongs_to_its_order(database_url: str) -> None:
    """It cannot be taken to another order, where it would skip."""
    async with scene(database_url) as given:
        for n in range(1, 4):
            await given.add(n, created(n))
        await given.project()
        cursor = (await given.tasks.page(TaskFilter(limit=1))).next
        with pytest.raises(Invalid, match="cursor"):
            await given.tasks.page(TaskFilter(limit=1, cursor=cursor, sort_by="name"))
        with pytest.raises(Invalid, match="cursor"):
            await given.tasks.page(TaskFilter(limit=1, cursor=cursor, descending=False))


@pytest.mark.parametrize("sort_by", ["relevance", "id; drop table events", ""])
async def test_an_unknown_order_is_refused(database_url: str, sort_by: str) -> None:
    """Relevance is one only when there is something to be relevant to."""
    async with scene(database_url) as given:
        with pytest.raises(Invalid, match="sort_by"):
            await given.tasks.page(TaskFilter(sort_by=sort_by))


# --- search ----------------------------------------------------------------------------------


async def _searchable(given: Scene) -> None:
    await given.add(1, created(1, name="Nightly audit", command="codex audit --fix"))
    await given.add(2, created(2, name="Deploy", description="ship the auditorium page"))
    await given.add(3, created(3, name="Build"), did.StartRequested(), started())
    await given.add(3, done("warning: 100%_sure audit failed C:\\temp"))
    await given.add(4, created(4, name="漢字 naïve", command="echo 'quoted'"))
    await given.project()


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("audit", [3, 2, 1]),  # a word, a part of one, in the output
        ("AUDIT", [3, 2, 1]),
        ("nightly fix", [1]),  # words from two fields
        ("nightlly", [1]),  # misspelt
        ("ship auditorium page", [2]),  # long words, of which an index knows the beginnings
        ("ship auditorial page", []),
        ("auditoriumx", []),
        ("deploy shipping", []),
        ("100%_sure", [3]),
        ("1%s", []),  # not a wildcard
        ("a_dit", []),
        ("C:\\temp", [3]),
        ("漢字", [4]),
        ("'quoted'", [4]),
        ('"unbalanced', []),
        ("zebra", []),
        ("!!! & | :*", []),
        ("nul\x00", []),
        ("-fix nightly", []),
    ],
)
async def test_search_finds(database_url: str, search: str, found: list[int]) -> None:
    """Words, parts of words, misspelt names; and nothing one types is a wildcard or an error."""
    async with scene(database_url) as given:
        await _searchable(given)
        assert await given.ids(search=search) == found


async def test_search_ranks(database_url: str) -> None:
    """A hit in the name comes before one in the output; pages and totals work as ever."""
    async with scene(database_url) as given:
        await _searchable(given)
        assert (await given.ids(search="audit", sort_by="relevance"))[0] == 1
        first = await given.tasks.page(
            TaskFilter(search="audit", sort_by="relevance", limit=2, page=1)
        )
        assert first.total == 3
        rest = await given.ids(search="audit", sort_by="relevance", cursor=first.next, limit=2)
        assert sorted([item["id"] for item in first.items] + rest) == [1, 2, 3]


async def test_search_and_depth_use_indexes(database_url: str) -> None:
    """No page and no search reads the whole table when it could use an index."""
    async with scene(database_url) as given:
        await _searchable(given)
        deep = (await given.tasks.page(TaskFilter(limit=1))).next
        await _many(given)
        for text in ("audit", "nightly fix", '"nightly fix"'):
            found = await _plan(given, *TaskQuery(TaskFilter(search=text)).literal())
            assert "Bitmap Index Scan on task_words_1" in found
        page = await _plan(given, *TaskQuery(TaskFilter(cursor=deep)).page())
        assert "Index Scan" in page
        assert "Sort" not in page


async def _many(given: Scene) -> None:
    """Put rows of 3,000 tasks beside those that were projected; half of them are named `common`."""
    await given.log.database.execute(
        "INSERT INTO views.tasks (id, project_id, name, command, priority, priority_rank, status,"
        " status_reason, progress, metadata, created_by, created_at, updated_at, attempt, version,"
        " position, deleted)"
        " SELECT n, 1, CASE WHEN n % 2 = 0 THEN 'common ' ELSE '' END || md5(n::text), 'true',"
        " 'medium', 1, 'completed', NULL, 100, '{}', '1', now() + n * interval '1 s', now(), 1, 2,"
        " n, false FROM generate_series(1001, 4000) n"
    )
    await given.log.database.execute(
        "INSERT INTO views.task_words (id, minute, in_name, in_command)"
        " SELECT id, floor(extract(epoch FROM created_at) / 60), name, command FROM views.tasks"
        " WHERE id > 1000"
    )
    for n in range(3):  # as autovacuum does
        clean = "SELECT gin_clean_pending_list($1::regclass)"
        await given.log.database.execute(clean, f"rm_tasks_1.task_words_{n}")
    await given.log.database.execute("ANALYZE rm_tasks_1.tasks, rm_tasks_1.task_words")


async def test_a_sample_tells_which_letters_are_frequent(database_url: str) -> None:
    """Of old and new tasks alike; taken anew when there are twice as many, not before."""
    async with scene(database_url) as given:
        await _searchable(given)
        await _many(given)
        execute = given.log.database.execute
        await execute("UPDATE views.tasks SET deleted = true WHERE id <= 1000")
        await execute("UPDATE views.tasks SET created_at = now() - interval '9 y' WHERE id = 1001")
        letters = Letters(given.log.database)
        counts = await letters.among(3_000)
        assert 20 <= counts["com"] <= 80  # of a hundred tasks by chance; half are named so
        assert counts["tru"] >= 60  # one may be met twice, and the first for all that were deleted
        assert "xqu" not in counts
        await execute("UPDATE views.task_words SET in_name = 'scarce'")
        assert await letters.among(5_999) is counts
        anew = await letters.among(6_000)
        assert anew["sca"] >= 60
        assert "com" not in anew


async def test_a_sample_of_nothing_is_empty(database_url: str) -> None:
    """Nothing was ever filed, or all of it deleted."""
    async with scene(database_url) as given:
        await _searchable(given)
        await given.log.database.execute("UPDATE views.tasks SET deleted = true")
        assert await Letters(given.log.database).among(1) == {}
        await given.log.database.execute("DELETE FROM rm_tasks_1.tasks")
        assert await Letters(given.log.database).among(1) == {}


@pytest.mark.parametrize("many", [1, 50_000])
@pytest.mark.parametrize("sort_by", ["created_at", "relevance"])
async def test_too_many_matches_come_newest_first(
    database_url: str, sort_by: str, many: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What half of all tasks have is not ranked but listed, page by page, each once."""
    monkeypatch.setattr(task_reads, "MANY", many)
    async with scene(database_url) as given:
        await _searchable(given)
        await _many(given)
        wanted = TaskFilter(search="common", sort_by=sort_by, limit=100)
        seen: list[object] = []
        while True:
            page = await given.tasks.page(wanted)
            seen += [item["id"] for item in page.items]
            if page.next is None:
                break
            wanted = replace(wanted, cursor=page.next)
        assert seen == list(range(4000, 1000, -2))
        by_number = await given.tasks.page(replace(wanted, cursor=None, page=2, limit=10))
        assert (by_number.items[0]["id"], by_number.total) == (3980, 1500)


@pytest.mark.parametrize("sort_by", ["created_at", "name", "relevance"])
async def test_spans_of_time_find_what_all_at_once_does(
    database_url: str, sort_by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Frequent or rare, evenly or in one place, in any order, page by page: the same tasks."""
    async with scene(database_url) as given:
        await _searchable(given)
        await _many(given)
        await given.log.database.execute(_SPREAD)
        for text in ("seventh", "rare", "early", "seventh rare", "audit", '"early rare"', "eraly"):
            for limit in (7, 30):
                wanted = TaskFilter(search=text, sort_by=sort_by, limit=limit)
                monkeypatch.setattr(task_reads, "MANY", 1_000_000)
                expected = await _walk(given, wanted)
                monkeypatch.setattr(task_reads, "MANY", 1)
                assert await _walk(given, wanted) == expected


_SPREAD = """
WITH made AS (
    UPDATE views.tasks SET name = concat_ws(' ', CASE WHEN id % 7 = 0 THEN 'seventh' END,
            CASE WHEN id % 331 = 0 THEN 'rare' END, CASE WHEN id < 1100 THEN 'early' END, 'plain'),
        created_at = CASE WHEN id < 3000 THEN created_at - (4000 - id) * interval '1 h'
            ELSE created_at END
    WHERE id > 1000 RETURNING id, name, created_at
)
UPDATE views.task_words w
SET in_name = m.name, minute = floor(extract(epoch FROM m.created_at) / 60)
FROM made m WHERE m.id = w.id
"""


async def _walk(given: Scene, wanted: TaskFilter) -> list[list[object]]:
    """Return the ids on the first five pages, and how many there are in all."""
    pages: list[list[object]] = []
    cursor = None
    while len(pages) < 5:
        page = await given.tasks.page(replace(wanted, cursor=cursor))
        pages.append([item["id"] for item in page.items])
        cursor = page.next
        if cursor is None:
            break
    return [*pages, [(await given.tasks.page(replace(wanted, page=1))).total]]


@pytest.mark.parametrize("descending", [True, False])
async def test_several_statuses_come_in_one_order(database_url: str, descending: bool) -> None:
    """The list of two statuses is that of all tasks without the others, page by page."""
    async with scene(database_url) as given:
        await _searchable(given)
        await _many(given)
        await given.log.database.execute(
            "UPDATE views.tasks SET status = (ARRAY['failed', 'completed', 'pending'])[1 + id % 3]"
            " WHERE id > 1000"
        )
        await given.log.database.execute("UPDATE views.tasks SET deleted = true WHERE id <= 1000")
        wanted = frozenset({"failed", "pending"})
        whole = [n for n in range(1001, 4001) if n % 3 != 1]
        if descending:
            whole.reverse()
        page = TaskFilter(descending=descending, status=wanted, limit=10)
        assert await _shown(given, replace(page, limit=100)) == whole[:100]
        assert await _shown(given, replace(page, page=31)) == whole[300:310]
        assert await _shown(given, replace(page, page=150)) == whole[1490:1500]
        cursor = (await given.tasks.page(page)).next
        assert await _shown(given, replace(page, cursor=cursor)) == whole[10:20]


async def _shown(given: Scene, wanted: TaskFilter) -> list[object]:
    return [item["id"] for item in (await given.tasks.page(wanted)).items]


async def test_similar_names_are_found_when_nothing_else_is(database_url: str) -> None:
    """A word somebody has is not drowned in words like it; a misspelt one finds those."""
    async with scene(database_url) as given:
        await given.add(1, created(1, name="Nightly audit"))
        await given.add(2, created(2, name="Nightly audits"))
        await given.add(3, created(3, name="Nightlies"))
        await given.project()
        assert await given.ids(search="audits") == [2]
        assert await given.ids(search="nightlly audits") == [2, 1]
        assert await given.ids(search='"nightlly audits"') == []


async def _plan(given: Scene, sql: str, arguments: list[object]) -> str:
    async with given.log.database.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL enable_seqscan = off")
        rows = await connection.fetch(f"EXPLAIN {sql}", *arguments)
    return "\n".join(row[0] for row in rows)
