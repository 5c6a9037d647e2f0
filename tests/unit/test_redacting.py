"""Messages without secrets: whose texts are changed, whose are refused, and what stays."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest

from events import commands as do
from events import running as tell
from events.calls import ToolCall, Verdict
from pandar_daemon.domain.options import validate
from pandar_daemon.domain.redacting import redacted
from pandar_daemon.domain.redaction import Redactor
from pandar_daemon.domain.refusals import Invalid
from tests.support.secrets_seen import HARMLESS, SHAPED

EXECUTION = UUID("0195512a-7c00-7000-8000-000000000101")
KEY = SHAPED["anthropic_key"]
NOW = datetime(2026, 1, 2, tzinfo=UTC)
REDACTOR = Redactor({"PASSPHRASE": "correct horse"})


def record(call: ToolCall, *, reason: str = "") -> tell.RecordCall:
    """Return what a runner says of a call."""
    return tell.RecordCall(
        task_id=1,
        execution_id=EXECUTION,
        epoch=1,
        call=call,
        verdict=Verdict.ALLOW,
        rule="r",
        reason=reason,
    )


def test_every_text_of_a_message_is_looked_into() -> None:
    """Nested ones, those in lists, keys of objects; numbers, ids and words of ours stay."""
    call = ToolCall(command=f"echo {KEY}", paths=["/a", "/correct horse"], diff="+correct horse")
    clean = redacted(record(call, reason="the correct horse"), REDACTOR)
    assert clean.call.command == "echo [REDACTED:anthropic_key]"
    assert clean.call.paths == ["/a", "/[REDACTED:PASSPHRASE]"]
    assert clean.call.diff == "+[REDACTED:PASSPHRASE]"
    assert clean.reason == "the [REDACTED:PASSPHRASE]"
    assert (clean.execution_id, clean.verdict) == (EXECUTION, Verdict.ALLOW)


def test_cards_are_looked_into() -> None:
    """A card is JSON of any depth."""
    ask = tell.AskConfirmation(
        task_id=1,
        execution_id=EXECUTION,
        epoch=1,
        confirmation_id=EXECUTION,
        gate="g",
        card={"a": [{"b correct horse": ["correct horse", 1, None, True]}], "c": "d"},
        expires_at=NOW,
    )
    assert redacted(ask, REDACTOR).card == {
        "a": [{"b [REDACTED:PASSPHRASE]": ["[REDACTED:PASSPHRASE]", 1, None, True]}],
        "c": "d",
    }


def test_a_message_without_secrets_is_the_same() -> None:
    """Not even a copy is made."""
    message = record(ToolCall(command="\n".join(HARMLESS)), reason="fine")
    assert redacted(message, REDACTOR) is message


def test_a_text_that_becomes_too_long_is_cut() -> None:
    """So the daemon accepts every message that it would have accepted before."""
    reason = ("correct horse" * 40)[: do.REASON_MAX]
    clean = redacted(record(ToolCall(), reason=reason), REDACTOR)
    assert len(clean.reason) == do.REASON_MAX
    body = msgspec.json.encode(clean)
    assert msgspec.json.decode(body, type=tell.RecordCall) == clean


# --- what a task is to do ------------------------------------------------------------------------

TASK = do.CreateTask(name="n", command="true", project_id=1)
WHERE = {
    "name": msgspec.structs.replace(TASK, name=f"a {KEY}"),
    "command": msgspec.structs.replace(TASK, command=f"KEY={KEY} make"),
    "description": msgspec.structs.replace(TASK, description=KEY),
    "prompt": do.CreateTask(name="n", prompt=f"use {KEY}", project_id=1, metadata={"agent": "a"}),
    "metadata.a.b[1]": msgspec.structs.replace(TASK, metadata={"a": {"b": ["", KEY]}}),
    "metadata.context": msgspec.structs.replace(TASK, metadata={"context": KEY}),
    "metadata.a": do.UpdateTask(metadata={"a": {KEY: 1}}),
}


@pytest.mark.parametrize("field", WHERE)
def test_a_key_in_what_a_task_is_to_do_is_refused(field: str) -> None:
    """The field and the kind are named, and where to put it instead; the key is not repeated."""
    with pytest.raises(Invalid) as refused:
        validate(WHERE[field], {"a"}, NOW)
    [fault] = refused.value.problem.errors
    assert fault.field == field
    assert "anthropic_key" in fault.rule
    assert "pandar project secret set" in fault.rule
    assert KEY not in str(refused.value.problem)


def test_what_is_no_key_is_accepted() -> None:
    """Hashes, ids and the passwords of a test's own database; and addresses of channels."""
    text = "\n".join([*HARMLESS, "DATABASE_URL=postgres://postgres:postgres@localhost/x"])
    hook = "https://hooks.slack.com/services/T01AB/B02AB/0123456789abcdef"
    metadata = {"context": text, "notify": [hook]}
    validate(
        do.CreateTask(name="n", command=text[:9_000], project_id=1, metadata=metadata), (), NOW
    )
