"""What input is legal: metadata keys, texts and times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from events.calls import GATE_NAMES
from events.commands import (
    CancelTask,
    Command,
    CreateProject,
    CreateSchedule,
    CreateTask,
    UpdateTask,
)
from events.task import Json
from pandar_daemon.domain.options import (
    ApprovalPolicy,
    OnDeny,
    OnLost,
    TaskOptions,
    options,
    read_options,
    validate,
    validate_text,
)
from pandar_daemon.domain.refusals import Refusal
from tests.support.faults import faults

AGENTS = frozenset({"claude", "codex", "gemini"})
NOW = datetime(2026, 1, 31, 9, tzinfo=UTC)


def task(**fields: Any) -> CreateTask:  # noqa: ANN401
    """Return a command that is in order but for the given fields."""
    return CreateTask(**{"name": "Audit", "command": "true", "project_id": 1, **fields})


def test_the_specifications_example_is_legal() -> None:
    """Every key of the specification, as it shows them, becomes a typed option."""
    read = options(
        {
            "agent": "codex",
            "proxy_agent": "claude",
            "approval_policy": "auto_with_gates",
            "gates": ["git_push_protected", "secrets_access", "infra_change"],
            "notify": ["webhook:https://hooks.example.com/builds", "slack://builds"],
            "timeout_sec": 60,
            "max_retries": 2,
            "context": {"why": "nightly"},
            "concurrency_key": "repo-1",
            "max_duration": 3_600,
            "on_lost": "confirm",
            "on_deny": "cancel",
        },
        AGENTS,
    )
    assert read == TaskOptions(
        agent="codex",
        proxy_agent="claude",
        approval_policy=ApprovalPolicy.AUTO_WITH_GATES,
        gates=["git_push_protected", "secrets_access", "infra_change"],
        notify=["webhook:https://hooks.example.com/builds", "slack://builds"],
        timeout_sec=60,
        max_retries=2,
        context={"why": "nightly"},
        concurrency_key="repo-1",
        max_duration=3_600,
        on_lost=OnLost.CONFIRM,
        on_deny=OnDeny.CANCEL,
    )


def test_nothing_asked_means_the_defaults() -> None:
    """Absent and null keys are the same, free-form keys mean nothing."""
    assert options({}, AGENTS) == TaskOptions()
    assert options({"agent": None, "gates": None, "mine": {"a": [1, 2.5, None]}}, AGENTS) == (
        TaskOptions()
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("agent", "gpt"),
        ("agent", 1),
        ("agent", ""),
        ("proxy_agent", "nobody"),
        ("approval_policy", "sometimes"),
        ("gates", "budget"),
        ("gates", ["budget"] * 51),
        ("notify", ["slack://x"] * 21),
        ("timeout_sec", 0),
        ("timeout_sec", -5),
        ("timeout_sec", 604_801),
        ("timeout_sec", "60"),
        ("timeout_sec", 1.5),
        ("timeout_sec", True),
        ("max_retries", -1),
        ("max_retries", 11),
        ("context", ["a"]),
        ("concurrency_key", ""),
        ("concurrency_key", "  "),
        ("concurrency_key", "k" * 201),
        ("max_duration", 0),
        ("max_duration", "2h"),
        ("on_lost", "shrug"),
        ("on_deny", "shrug"),
        ("confirm_timeout_sec", 59),
        ("confirm_timeout_sec", 2_592_001),
        ("max_output_bytes", 65_535),
        ("max_output_bytes", 2**30 + 1),
    ],
)
def test_a_bad_option_is_named(key: str, value: object) -> None:
    """Wrong types, unknown names and numbers out of range are refused under their path."""
    assert list(faults(lambda: options({key: value}, AGENTS))) == [f"metadata.{key}"]


@pytest.mark.parametrize("gate", ["", "Git", "git_push", "a b", "infra_change\n", "ä"])
def test_an_unknown_gate_is_refused(gate: str) -> None:
    """By its place in the list, with the known ones listed; a project's own are among these."""
    known = ", ".join(sorted(GATE_NAMES))
    assert faults(lambda: options({"gates": ["budget", gate]}, AGENTS)) == {
        "metadata.gates[1]": f"must be one of {known}"
    }
    task = CreateTask(name="a", command="b", project_id=7, metadata={"gates": ["budget", "deploy"]})
    validate(task, AGENTS, NOW, lambda project: ["budget", "deploy"] if project == 7 else [])


@pytest.mark.parametrize("channel", ["", "slack", "://x", "a b:c", "slack:", "x:a b", "x:a\n"])
def test_an_unknown_channel_is_refused(channel: str) -> None:
    """By its place in the list, with the forms there are."""
    found = faults(lambda: options({"notify": [channel]}, AGENTS))
    assert list(found) == ["metadata.notify[0]"]
    assert "webhook:https://" in found["metadata.notify[0]"]


@pytest.mark.parametrize(
    "host", ["*", "*.com", "http://a.test", "127.1", "user@a.test", "a.test:0"]
)
def test_hosts_are_those_that_can_be_called(host: str) -> None:
    """What names nobody, or too many, is told with its place."""
    network = {"sandbox": {"network": {"allow": ["a.test:8443", host]}}}
    assert list(faults(lambda: options(network, AGENTS))) == ["metadata.sandbox.network.allow[1]"]


@pytest.mark.parametrize(
    ("work", "metadata", "field"),
    [
        ({}, {}, "command"),
        ({"command": "a", "prompt": "b"}, {"agent": "codex"}, "prompt"),
        ({"prompt": "b"}, {}, "metadata.agent"),
    ],
)
def test_a_task_is_a_command_or_a_prompt(work: dict[str, str], metadata: Json, field: str) -> None:
    """One of both, and a prompt is somebody's."""
    body = {"name": "a", "project_id": 1, "metadata": metadata, **work}
    filed = msgspec.convert(body, CreateTask)
    assert list(faults(lambda: validate(filed, AGENTS, NOW))) == [field]


def test_all_bad_options_are_told_at_once() -> None:
    """One answer names every key at fault, and what is allowed instead."""
    bad = {"agent": "gpt", "approval_policy": "never", "timeout_sec": 0, "free": "x"}
    assert faults(lambda: options(bad, AGENTS)) == {
        "metadata.agent": "must be one of claude, codex, gemini",
        "metadata.approval_policy": "must be one of auto, manual, auto_with_gates",
        "metadata.timeout_sec": "expected a whole number, at least 1",
    }


def test_metadata_is_bounded() -> None:
    """16 KiB and 20 levels are the most; one more is refused."""
    fits = {"a": "x" * (16_384 - len('{"a":""}'))}
    assert options(fits, AGENTS) == TaskOptions()
    assert faults(lambda: options({"a": fits["a"] + "x"}, AGENTS)) == {
        "metadata": "must be at most 16384 bytes of JSON"
    }
    deep: dict[str, Any] = {}
    for _ in range(19):
        deep = {"a": deep}
    assert options(deep, AGENTS) == TaskOptions()
    assert faults(lambda: options({"a": [deep]}, AGENTS)) == {
        "metadata": "must not nest deeper than 20 levels"
    }


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ("a\0b", "metadata.free"),
        (["a", {"b": "\0"}], "metadata.free[1].b"),
        ({"k\0": 1}, "metadata.free.k\\0"),
        (float("nan"), "metadata.free"),
        ([float("inf")], "metadata.free[0]"),
        (2**63, "metadata.free"),
        (-(2**63) - 1, "metadata.free"),
    ],
)
def test_what_the_store_cannot_hold_is_refused(value: object, field: str) -> None:
    """NUL characters and numbers that are none are found wherever they hide."""
    assert list(faults(lambda: options({"free": value}, AGENTS))) == [field]


def test_stored_metadata_never_stops_anything() -> None:
    """A key accepted under older rules counts as absent, the others still hold."""
    assert read_options({"agent": "retired", "gates": "x", "max_retries": 3}) == TaskOptions(
        agent="retired", max_retries=3
    )


def test_a_legal_command_is_accepted() -> None:
    """Nothing is said about a command that is in order."""
    validate(task(metadata={"agent": "codex"}, scheduled_at=NOW), AGENTS, NOW)
    validate(UpdateTask(), AGENTS, NOW)
    validate(UpdateTask(scheduled_at=None, name="x"), AGENTS, NOW)
    validate(CancelTask(), AGENTS, NOW)


def test_all_errors_of_a_command_are_told_at_once() -> None:
    """Name, command, metadata and time are judged together."""
    bad = task(
        name=" \t",
        command="cd /; sudo rm -rf /",
        description="a\0",
        metadata={"timeout_sec": -1, "agent": "x"},
        scheduled_at=NOW + timedelta(days=4_000),
    )
    assert faults(lambda: validate(bad, AGENTS, NOW)) == {
        "name": "must not be blank",
        "command": "must not run sudo",
        "description": "must not contain NUL characters",
        "metadata.timeout_sec": "expected a whole number, at least 1",
        "metadata.agent": "must be one of claude, codex, gemini",
        "scheduled_at": "must not be more than ten years ahead",
    }


def test_an_update_is_judged_by_what_it_names() -> None:
    """Fields left out are not looked at, fields named are."""
    bad = UpdateTask(name="", metadata={"gates": 1})
    assert set(faults(lambda: validate(bad, AGENTS, NOW))) == {"name", "metadata.gates"}


@pytest.mark.parametrize("command", [CreateProject(name=" "), CancelTask(reason="\0")])
def test_texts_of_other_commands_are_judged_too(command: Command) -> None:
    """Blank names and NUL are refused in every command."""
    assert len(faults(lambda: validate(command, AGENTS, NOW))) == 1


def test_a_schedules_command_is_guarded() -> None:
    """What a schedule will run is judged like what a task runs."""
    bad = CreateSchedule(name="n", command="sudo x", project_id=1, cron="* * * * *")
    assert faults(lambda: validate(bad, AGENTS, NOW)) == {"command": "must not run sudo"}


@pytest.mark.parametrize(
    ("at", "legal"),
    [
        (NOW - timedelta(days=10_000), True),
        (NOW + timedelta(days=3_653), True),
        (NOW + timedelta(days=3_654), False),
        (datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-14))), False),
        (datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14))), False),
        (datetime(2026, 1, 31), False),  # noqa: DTZ001
    ],
)
def test_times_are_sane(at: datetime, legal: bool) -> None:
    """The past is due at once; the far future and what UTC cannot say are refused."""
    if legal:
        validate(task(scheduled_at=at), AGENTS, NOW)
    else:
        assert list(faults(lambda: validate(task(scheduled_at=at), AGENTS, NOW))) == [
            "scheduled_at"
        ]


def test_validate_text() -> None:
    """A text is refused when blank or with NUL, under the name given."""
    validate_text("name", "x")
    assert faults(lambda: validate_text("name", " \n")) == {"name": "must not be blank"}
    assert faults(lambda: validate_text("reason", "a\0")) == {
        "reason": "must not contain NUL characters"
    }


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from([*TaskOptions.__struct_fields__, "free"]), _JSON))
def test_options_only_ever_refuse(metadata: dict[str, Any]) -> None:
    """Any metadata becomes options or is refused; once accepted, it always reads the same."""
    try:
        accepted = options(metadata, AGENTS)
    except Refusal:
        read_options(metadata)
    else:
        assert read_options(metadata) == accepted
