"""What the command line says when something is wrong, and with which exit code."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.recorded_api import (
    TOKEN,
    Ran,
    RecordedApi,
    pandar,
    recorded_api,
)

INVALID = {
    "type": "urn:pandar:problem:invalid",
    "title": "Invalid request",
    "status": 422,
    "detail": "name: at least 1 character; metadata.agent: one of claude, codex, gemini",
    "errors": [
        {"field": "name", "rule": "at least 1 character"},
        {"field": "metadata.agent", "rule": "one of claude, codex, gemini"},
    ],
}
UNAVAILABLE = {"type": "x", "title": "Unavailable", "status": 503, "detail": "the bus is away"}


@pytest.fixture
async def api() -> AsyncIterator[RecordedApi]:
    """Return a server that answers as told."""
    async with recorded_api() as server:
        yield server


async def test_a_refusal_names_each_field(api: RecordedApi) -> None:
    """One sentence, a line for each field, on stderr, and the code for refusals."""
    api.answer("POST", "/tasks", INVALID)
    ran = await pandar(api, "task", "create", "--name", "", "--command", "x")
    assert ran == Ran(
        6,
        "",
        "pandar: Invalid request\n"
        "  name: at least 1 character\n"
        "  metadata.agent: one of claude, codex, gemini\n",
    )


async def test_a_daemon_that_is_not_ready_is_not_reached(api: RecordedApi) -> None:
    """503 is told apart from a refusal: asking again later may help."""
    api.answer("GET", "/tasks/42", UNAVAILABLE)
    ran = await pandar(api, "task", "show", "42")
    assert ran == Ran(5, "", "pandar: Pandar is not ready: the bus is away\n")


async def test_nobody_there_is_told_with_what_to_do() -> None:
    """A daemon that does not run is the commonest trouble of all."""
    ran = await pandar(None, "task", "list", PANDAR_URL="http://127.0.0.1:9", PANDAR_TOKEN=TOKEN)
    assert ran.code == 5
    assert ran.err.startswith(
        "pandar: cannot reach Pandar at http://127.0.0.1:9: connection refused"
    )
    assert "pandar up" in ran.err


async def test_what_is_not_pandar_is_told(api: RecordedApi) -> None:
    """Another program on the port gives a sentence, not a traceback."""
    api.answer("GET", "/tasks/42", {"hello": "world"})
    ran = await pandar(api, "task", "show", "42", "--at", "1")
    assert ran.code == 5
    assert ran.err.startswith("pandar: what answers is not Pandar")
    assert "Traceback" not in ran.err


async def test_a_setting_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """The variable at fault stands in the message."""
    ran = await pandar(None, "migrate", PANDAR_HTTP_PORT="many", PANDAR_DATA=str(tmp_path))
    assert ran.code == 2
    assert "PANDAR_HTTP_PORT" in ran.err


@pytest.mark.parametrize("act", [("verify",), ("rebuild", "--all"), ("epoch", "advance", "--yes")])
async def test_upkeep_of_nothing_says_what_makes_it(tmp_path: Path, act: tuple[str, ...]) -> None:
    """A data directory without data is a mistake in the settings, not an error of the program."""
    data = tmp_path / "data"
    ran = await pandar(None, *act, PANDAR_DATA=str(data))
    sentence = f"pandar: there is no data in {data}: `pandar up` makes it\n"
    assert ran == Ran(2, "", sentence)


async def test_a_position_beyond_the_log_names_the_option(api: RecordedApi) -> None:
    """The user said --from; what header that becomes is none of theirs."""
    rule = {"field": "Last-Event-ID", "rule": "at most 7, the last position"}
    api.answer("GET", "/events", {**INVALID, "errors": [rule]})
    ran = await pandar(api, "events", "tail", "--from", "99999999")
    assert (ran.code, ran.out) == (6, "")
    assert ran.err.startswith("pandar: --from 99999999 is beyond the end of the log\n")
    assert "Last-Event-ID" not in ran.err
