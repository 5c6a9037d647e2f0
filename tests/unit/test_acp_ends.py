"""How turns end: what was consumed, what failed and until when."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from events.instant import Instant
from events.task import Usage
from pandar_daemon.adapters.agents.faults import reset_in, trouble
from pandar_daemon.adapters.agents.quirks import Quirks
from pandar_daemon.adapters.agents.usage import added, cost_usd, turn_usage
from pandar_daemon.domain.hearing import Fault, Said, Stop, TurnEnded
from tests.support.acp_lines import (
    NOW,
    PROMPT_ID,
    ended,
    failed,
    heard,
    line,
    prompted,
    said,
    update,
)

Json = dict[str, Any]


def end(*lines: bytes, quirks: Quirks | None = None) -> TurnEnded:
    """Return the end of a turn in which the agent wrote these lines."""
    found = heard(prompted(quirks), *lines)[-1]
    assert isinstance(found, TurnEnded)
    return found


@pytest.mark.parametrize(
    ("reason", "stop", "error"),
    [
        ("end_turn", Stop.DONE, ""),
        ("cancelled", Stop.CANCELLED, ""),
        ("refusal", Stop.REFUSED, "the model refused"),
        ("max_tokens", Stop.LIMIT, "a limit was reached: max_tokens"),
        ("max_turn_requests", Stop.LIMIT, "a limit was reached: max_turn_requests"),
        ("bored", Stop.FAILED, "unknown stop reason 'bored'"),
        ("", Stop.FAILED, "unknown stop reason ''"),
    ],
)
def test_reasons(reason: str, stop: Stop, error: str) -> None:
    """Each reason of the protocol, and what is not one."""
    found = end(ended(reason))
    assert (found.stop, found.error) == (stop, error)


def codex(**told: object) -> bytes:
    """Return what Codex tells beside the protocol."""
    return update("session_info_update", _meta={"codex": told})


RETRYING = {
    "message": "Reconnecting... 1/5",
    "codexErrorInfo": {"responseStreamDisconnected": {"httpStatusCode": 529}},
    "additionalDetails": "unexpected status 529",
    "willRetry": True,
}


def test_a_system_error_is_no_success() -> None:
    """Codex says ``end_turn`` when its model answered 529: its state and last words tell."""
    found = end(
        said("Working. "),
        codex(error=RETRYING),
        codex(threadStatus={"type": "systemError"}),
        said("unexpected status 529: overloaded\n"),
        ended(usage=None),
    )
    assert (found.stop, found.fault, found.usage) == (Stop.FAILED, Fault.MODEL, None)
    assert found.error == "unexpected status 529: overloaded"


def test_an_error_that_is_not_retried_is_no_success() -> None:
    """The error's own words are told when the agent says nothing more."""
    found = end(codex(error={**RETRYING, "willRetry": False}), ended())
    assert (found.stop, found.error) == (Stop.FAILED, "unexpected status 529")


def test_an_error_that_was_retried_is_none() -> None:
    """What went well at last is a success; the retry is heard as a thought."""
    told = heard(prompted(), codex(error=RETRYING), said("ok"), ended())
    thought = "Reconnecting... 1/5: unexpected status 529\n"
    assert told[0] == Said(text=thought, thought=True)
    assert isinstance(told[-1], TurnEnded)
    assert told[-1].stop is Stop.DONE


def test_an_error_of_an_earlier_turn_is_forgotten() -> None:
    """Each turn is judged by itself."""
    made = prompted()
    made.receive(codex(threadStatus={"type": "systemError"}) + ended())
    made.prompt("Again.")
    again = heard(made, line(id=PROMPT_ID + 1, result={"stopReason": "end_turn"}))[-1]
    assert again == TurnEnded(stop=Stop.DONE)


@pytest.mark.parametrize("place", ["error", "codex"])
def test_an_error_in_the_answer_is_no_success(place: str) -> None:
    """Metadata of the answer may tell of an error, too."""
    error = {"message": "stream error 500"}
    meta = {"error": error} if place == "error" else {"codex": {"error": error}}
    found = end(ended(_meta=meta))
    assert (found.stop, found.error) == (Stop.FAILED, "stream error 500")


def test_usage_missing_is_told_as_missing() -> None:
    """Whether that is a failure is not decided here."""
    assert end(ended(usage=None)) == TurnEnded(stop=Stop.DONE)


@pytest.mark.parametrize(
    ("message", "data", "fault"),
    [
        ("Internal error: API Error: x", {"errorKind": "server_error"}, Fault.MODEL),
        ("x", {"errorKind": "overloaded"}, Fault.MODEL),
        ("x", {"errorKind": "rate_limit"}, Fault.MODEL),
        ("x", {"errorKind": "billing_error"}, Fault.QUOTA),
        ("x", {"errorKind": "invalid_request"}, Fault.AGENT),
        ("x", {"codexErrorInfo": "usageLimitExceeded"}, Fault.QUOTA),
        ("x", {"codexErrorInfo": {"httpConnectionFailed": {"httpStatusCode": None}}}, Fault.MODEL),
        ("exceeded retry limit, last status: 429 Too Many Requests", {}, Fault.MODEL),
        ("API Error: 529 overloaded", {}, Fault.MODEL),
        ("connect ECONNREFUSED 127.0.0.1:9", {}, Fault.MODEL),
        ("You've hit your usage limit.", {}, Fault.QUOTA),
        ("You've hit your limit · resets 3pm (UTC)", {}, Fault.QUOTA),
        ("You have exhausted your daily quota on this model.", {}, Fault.QUOTA),
        ("insufficient_quota", {}, Fault.QUOTA),
        ("cannot find file 5290.txt", {}, Fault.AGENT),
        ("something broke", {}, Fault.AGENT),
    ],
)
def test_faults(message: str, data: Json, fault: Fault) -> None:
    """Whose fault an error is, by its kind or by its words."""
    found = end(failed(message, **data))
    assert (found.stop, found.fault) == (Stop.FAILED, fault)


def test_an_error_keeps_its_details() -> None:
    """A general message is followed by what the data say."""
    assert trouble("Internal error", {"details": "no disk"}, NOW).error == (
        "Internal error: no disk"
    )
    assert trouble("no disk", {"message": "no disk"}, NOW).error == "no disk"


def test_an_error_inside_json_is_unwrapped() -> None:
    """Gemini hands the answer of its server on as it came."""
    told = '{"error":{"code":529,"message":"scripted","status":"UNAVAILABLE"}}'
    found = trouble(told, None, NOW)
    assert (found.error, found.fault) == ("529 UNAVAILABLE scripted", Fault.MODEL)


def at(hour: int, minute: int = 0, day: int = 1) -> Instant:
    """Return a time of the month it is."""
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("words", "when"),
    [
        ("Claude AI usage limit reached|1772380800", datetime.fromtimestamp(1772380800, UTC)),
        ("You've hit your limit · resets 3pm (UTC)", at(15)),
        ("limit reached, resets at 11:30am", at(11, 30, day=2)),
        ("usage limit. Try again at 3:04 PM.", at(15, 4)),
        ("resets 5pm (America/New_York)", at(22)),
        ("Try again in 2 hours 5 minutes.", NOW + timedelta(hours=2, minutes=5)),
        ("Your quota will reset after 1h2m3s.", NOW + timedelta(seconds=3723)),
        ("Please retry in 36.5s.", NOW + timedelta(seconds=36.5)),
        ("try again in 1 day", NOW + timedelta(days=1)),
        ("until 2026-03-02T08:00:00Z", at(8, day=2)),
        ("until 2026-13-02T08:00:00Z", None),
        ("resets 3pm (Nowhere/Land)", None),
        ("resets 3:99pm", None),
        ("try again in 99999999999 days", None),
        ("usage limit reached|0000000001", None),
        ("try again later", None),
        ("", None),
    ],
)
def test_when_a_quota_is_back(words: str, when: Instant | None) -> None:
    """The times agents tell in words, at noon of the first of March, UTC."""
    assert reset_in(words, NOW) == when


def test_a_quota_is_told_with_its_end() -> None:
    """The time stands in the words, in the data, or came before in what Claude tells beside."""
    assert end(failed("usage limit, resets 3pm (UTC)")).retry_at == at(15)
    assert end(failed("usage limit", resetsAt=1772380800)).retry_at == (
        datetime.fromtimestamp(1772380800, UTC)
    )
    limit = {"_claude/rateLimit": {"status": "rejected", "resetsAt": 1772380800}}
    told = update("usage_update", used=1, size=2, _meta=limit)
    assert end(told, failed("You've hit your limit")).retry_at == (
        datetime.fromtimestamp(1772380800, UTC)
    )
    assert end(told, failed("API Error: 529")).retry_at is None


@pytest.mark.parametrize(
    ("result", "usage"),
    [
        (
            {
                "usage": {
                    "inputTokens": 2000,
                    "outputTokens": 84,
                    "cachedReadTokens": 1400,
                    "cachedWriteTokens": 100,
                    "totalTokens": 3584,
                }
            },
            Usage(input_tokens=2100, output_tokens=84, cached_tokens=1400),
        ),
        (
            {
                "usage": {
                    "totalTokens": 2284,
                    "inputTokens": 800,
                    "cachedReadTokens": 1400,
                    "cachedWriteTokens": 0,
                    "outputTokens": 84,
                    "thoughtTokens": 14,
                }
            },
            Usage(input_tokens=800, output_tokens=84, cached_tokens=1400, thought_tokens=14),
        ),
        (
            {"_meta": {"quota": {"token_count": {"input_tokens": 2400, "output_tokens": 84}}}},
            Usage(input_tokens=2400, output_tokens=84),
        ),
        ({"usage": None, "_meta": {"quota": {"token_count": None}}}, None),
        ({"usage": {"inputTokens": -1, "outputTokens": "x"}}, None),
        ({"usage": {"inputTokens": True}}, None),
        ({"usage": {"inputTokens": 10**30, "outputTokens": 1}}, Usage(output_tokens=1)),
        ({}, None),
    ],
)
def test_usage_of_each_agent(result: Json, usage: Usage | None) -> None:
    """As Claude, Codex and Gemini tell it; input leaves out what was read from a cache."""
    assert turn_usage(result) == usage


def test_input_may_include_what_was_cached() -> None:
    """Codex' own protocol counts it twice."""
    told: Json = {"usage": {"inputTokens": 2200, "cachedInputTokens": 1400, "outputTokens": 84}}
    usage = turn_usage(told, includes_cached=True)
    assert usage == Usage(input_tokens=800, output_tokens=84, cached_tokens=1400)


@pytest.mark.parametrize(
    ("cost", "usd"),
    [
        ({"amount": 0.5, "currency": "USD"}, 0.5),
        ({"amount": 2, "currency": "USD"}, 2.0),
        ({"amount": 0.5, "currency": "EUR"}, None),
        ({"amount": -1, "currency": "USD"}, None),
        ({"amount": True, "currency": "USD"}, None),
        ({"amount": "0.5", "currency": "USD"}, None),
        (None, None),
    ],
)
def test_cost_in_dollars(cost: object, usd: float | None) -> None:
    """A cost counts when it is one, in dollars."""
    assert cost_usd({"cost": cost}) == usd


def test_what_nobody_tells_stays_unknown() -> None:
    """Adding up does not make a zero of what is not known."""
    total = added(Usage(cost_usd=1.0), Usage(input_tokens=1))
    assert total == Usage(input_tokens=1, cost_usd=1.0)
