"""Logs without secrets, metrics as documented, traces by the book."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.types import FilteringBoundLogger

from pandar_daemon.telemetry import (
    Metrics,
    Traceparent,
    configure_logs,
    never_log,
    scrub,
    valid_traceparent,
)
from tests.support.clock import ManualClock
from tests.support.secrets_seen import SHAPED

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI3In0.c2lnbmF0dXJl"
DOCUMENT = Path(__file__).parents[2] / "docs" / "reference" / "telemetry.md"


@pytest.fixture
def sink() -> Iterator[io.StringIO]:
    """Collect the log of one test as JSON lines, then put logging back as it was."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    stream = io.StringIO()
    configure_logs(stream)
    yield stream
    structlog.reset_defaults()
    root.handlers[:] = before
    root.setLevel(level)


def lines(sink: io.StringIO) -> list[dict[str, object]]:
    """Return the lines logged so far."""
    return [json.loads(line) for line in sink.getvalue().splitlines()]


def logger() -> FilteringBoundLogger:
    """Return a logger as every module has one."""
    made: FilteringBoundLogger = structlog.get_logger("test")
    return made


def test_a_line_is_one_json_object(sink: io.StringIO) -> None:
    """Event, level, time and facts, and nothing below the level."""
    logger().info("task.done", task_id=4, took=0.5, names={"b": None})
    logger().debug("task.detail")
    [line] = lines(sink)
    assert re.fullmatch(r"20\d\d-\d\d-\d\dT[\d:.]+Z", str(line.pop("at")))
    assert line == {
        "event": "task.done", "level": "info", "task_id": 4, "took": 0.5, "names": {"b": None},
    }  # fmt: skip


def test_exceptions_are_told_without_secrets(sink: io.StringIO) -> None:
    """A traceback is text in the line, masked like any other."""
    try:
        message = f"cannot reach postgres://ada:hunter2@db/x with {JWT}"
        raise ConnectionError(message)  # noqa: TRY301
    except ConnectionError:
        logger().exception("db.lost")
    [line] = lines(sink)
    assert "Traceback" in str(line["exception"])
    assert "postgres://[userinfo]@db/x with [token]" in str(line["exception"])
    assert "hunter2" not in sink.getvalue()


def test_libraries_log_in_the_same_shape(sink: io.StringIO) -> None:
    """Lines of the standard library's loggers are JSON and masked, too; chatter is left out."""
    logging.getLogger("some.library").warning("failed with %s", JWT)
    logging.getLogger("asyncio").info("chatter")
    [line] = lines(sink)
    assert line["event"] == "failed with [token]"
    assert line["logger"] == "some.library"


def test_pretty_lines_are_masked_too(sink: io.StringIO) -> None:
    """What a person looks at holds no secret either."""
    configure_logs(sink, pretty=True, level="nonsense")
    logger().info("task.done", token=JWT, url="nats://u:p@host:4222")
    assert "task.done" in sink.getvalue()
    assert "nats://[userinfo]@host:4222" in sink.getvalue()
    assert JWT not in sink.getvalue()
    assert "token" not in sink.getvalue()


@pytest.mark.parametrize(
    "key",
    ["token", "Token", "pandar_token", "Pandar-Token", "authorization", "Authorization", "secret",
     "jwt_secret", "password", "db.password", "headers", "cookie", "pandar-proof"],
)  # fmt: skip
def test_keys_named_like_secrets_are_dropped(key: str) -> None:
    """Whatever the spelling, at any depth."""
    event = {"event": "x", key: "v", "inner": [{key: "v", "kept": 1}]}
    assert scrub(None, "info", event) == {"event": "x", "inner": [{"kept": 1}]}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        (f"a {JWT} b", "a [token] b"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [token]"),
        ("basic dXNlcjpwdw==", "basic [token]"),
        ("https://user:pw@host/x", "https://[userinfo]@host/x"),
        ("https://host/x?a=1&token=abc&b=2", "https://host/x?a=1&token=[token]&b=2"),
        ("https://host/x@y", "https://host/x@y"),
        ("tokens are counted", "tokens are counted"),
    ],
)
def test_texts_that_look_like_secrets_are_masked(text: str, masked: str) -> None:
    """Tokens and the user part of URLs disappear, plain words stay."""
    assert scrub(None, "info", {"event": text}) == {"event": masked}


def test_known_secrets_and_keys_are_in_no_line() -> None:
    """What a process was told never to log is not logged; nor is what looks like a key."""
    never_log({"TELEMETRY_TEST": "a-secret-of-this-test"})
    key = SHAPED["github_token"]
    said = scrub(
        None, "info", {"event": f"a-secret-of-this-test {key}", "x": ["a-secret-of-this-test"]}
    )
    assert said == {
        "event": "[REDACTED:TELEMETRY_TEST] [REDACTED:github_token]",
        "x": ["[REDACTED:TELEMETRY_TEST]"],
    }


@given(
    st.lists(
        st.one_of(
            st.text(max_size=20),
            st.lists(
                st.sampled_from(
                    [
                        *(*SHAPED.values(), JWT, "Bearer", "abc.def", "https://u:p@h", "&token=x"),
                        *("a", " ", "\n", "\t", "\x1b", "\u202e", "x" * 9_990),
                    ]
                )
            ).map("".join),
        ),
        max_size=4,
    )
)
def test_an_ordinary_line_is_cleaned_as_any_other(texts: list[str]) -> None:
    """All its texts are looked at together; what is found in each of them is the same."""
    each = [scrub(None, "info", {"k": [text]})["k"][0] for text in texts]
    together = scrub(None, "info", {f"k{n}": text for n, text in enumerate(texts)})
    assert list(together.values()) == each


def test_odd_values_are_logged_without_harm() -> None:
    """Bytes are counted, objects become text, depth is bounded."""
    deep: list[object] = []
    for _ in range(50):
        deep = [deep]
    clean = scrub(None, "info", {"event": "x", "b": b"12", "e": ValueError(JWT), "d": deep})
    assert clean["b"] == "<2 bytes>"
    assert clean["e"] == "[token]"
    assert json.dumps(clean["d"]).count("[") == 6


@given(st.text(), st.sampled_from(["a {} b", "{}", "({})", "x={}", "'{}',"]))
def test_a_token_is_found_in_any_text(text: str, frame: str) -> None:
    """No surroundings keep the signature of a token."""
    said = scrub(None, "info", {"event": text + " " + frame.format(JWT)})["event"]
    assert "c2lnbmF0dXJl" not in str(said)


def test_the_document_lists_exactly_the_metrics() -> None:
    """Each metric has its line in the reference, each line its metric."""
    documented = re.findall(r"^\| `(pandar_\w+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    existing = [name for name in Metrics().names() if not name.startswith("process_")]
    assert sorted(documented) == existing


def test_documented_labels_and_kinds_are_right() -> None:
    """The table tells each metric's kind and labels as they are."""
    text = DOCUMENT.read_text()
    told = {
        name: (kind, re.findall(r"`(\w+)`", labels))
        for name, kind, labels in re.findall(
            r"^\| `(pandar_\w+)` \| (\w+) \| ([^|]*)\|", text, re.MULTILINE
        )
    }
    assert told["pandar_commands_total"] == ("counter", ["action", "outcome"])
    filled = used().registry.collect()
    for family in filled:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        if name in told:
            kind, labels = told[name]
            assert family.type == kind
            assert {*family.samples[0].labels} - {"le"} == {*labels}


def used() -> Metrics:
    """Return metrics of a process that has done everything once."""
    metrics = Metrics()
    metrics.command("task.create", "ok", 0.01)
    metrics.appended(3, 0.002)
    metrics.heads(log=9, bus=7)
    metrics.relayed(7)
    metrics.projected("tasks", 5)
    metrics.slots(free=3, busy=1)
    metrics.executed("completed")
    metrics.served("GET", "/api/v1/tasks/{id}", 200, 0.003)
    metrics.streams.inc()
    metrics.streamed()
    metrics.connected(yes=True)
    return metrics


def test_metrics_are_rendered() -> None:
    """The text holds what was told."""
    text = used().render().decode()
    for line in (
        'pandar_commands_total{action="task.create",outcome="ok"} 1.0',
        "pandar_append_batch_size_sum 3.0",
        "pandar_log_position 9.0",
        "pandar_bus_position 7.0",
        'pandar_projection_lag_events{model="tasks"} 4.0',
        'pandar_http_requests_total{method="GET",route="/api/v1/tasks/{id}",status="200"} 1.0',
        "pandar_nats_connected 1.0",
    ):
        assert f"\n{line}\n" in text
    assert "_created" not in text


def test_lag_grows_while_a_read_model_stands() -> None:
    """A stuck projector looks stuck."""
    metrics = used()
    metrics.heads(log=100)
    assert b'pandar_projection_lag_events{model="tasks"} 95.0' in metrics.render()


def test_labels_stay_few() -> None:
    """Garbage from outside makes no new series."""
    metrics = Metrics()
    for number in range(100):
        metrics.command(f"task.{number}", "400", 0)
        metrics.served(f"M{number}", "unmatched", 405, 0)
    text = metrics.render().decode()
    assert text.count("\npandar_commands_total{") == 1
    assert text.count("\npandar_http_requests_total{") == 1


def test_two_processes_in_one_do_not_collide() -> None:
    """Each object counts for itself."""
    used()
    assert b"pandar_relay_published_total 7.0" in used().render()


PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("given_text", "valid"),
    [
        (PARENT, PARENT),
        (PARENT[:-2] + "00", PARENT[:-2] + "00"),
        (PARENT[:-2] + "ff", PARENT),
        ("cc" + PARENT[2:] + "-what-comes", PARENT),
        (PARENT + "-more", None),
        ("ff" + PARENT[2:], None),
        (PARENT.upper(), None),
        (PARENT + "\n", None),
        (" " + PARENT, None),
        (f"00-{'0' * 32}-b7ad6b7169203331-01", None),
        (f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01", None),
        (PARENT.replace("0af7", "0ag7"), None),
        ("", None),
        (None, None),
    ],
)
def test_traceparent(given_text: str | None, valid: str | None) -> None:
    """Only what the recommendation allows is taken, as version 00 says it."""
    assert valid_traceparent(given_text) == valid


def test_a_trace_goes_on() -> None:
    """A child is in its parent's trace, elsewhere; a new trace is valid."""
    clock = ManualClock()
    root = Traceparent.new(clock.new_id(), clock.new_id())
    child = root.child(clock.new_id())
    assert valid_traceparent(str(root)) == str(root)
    assert child.trace_id == root.trace_id
    assert child.span_id != root.span_id
    assert Traceparent.parse(str(child)) == child


@given(st.uuids(version=4))
def test_any_id_makes_a_valid_span(fresh: UUID) -> None:
    """The random half of an id is a span id."""
    parent = Traceparent.parse(PARENT)
    assert parent is not None
    assert valid_traceparent(str(parent.child(fresh))) is not None


@given(st.text())
def test_parsing_never_raises(text: str) -> None:
    """Any header is a place in a trace or nothing."""
    assert Traceparent.parse(text) is None or valid_traceparent(text)
