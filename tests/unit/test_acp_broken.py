"""What an ACP agent can do wrong, and what is heard of it."""

from __future__ import annotations

import pytest

from events.calls import Verdict
from pandar_daemon.adapters.agents.asking import FLOOD_MAX, OPEN_MAX
from pandar_daemon.adapters.agents.jsonrpc import LINE_MAX
from pandar_daemon.adapters.agents.peer import STRAYS_MAX
from pandar_daemon.domain.hearing import Broken, Fault, Heard, Said, TurnEnded, Used
from tests.support.acp_lines import (
    CANCELLED,
    asks,
    began,
    driver,
    ended,
    heard,
    hello,
    line,
    messages,
    prompted,
    said,
)

PUSH = {
    "toolCallId": "c1",
    "title": "git push",
    "kind": "execute",
    "rawInput": {"command": "git push"},
}


def broken(told: list[Heard]) -> str:
    """Return why nothing more is heard."""
    assert isinstance(told[-1], Broken)
    return told[-1].error


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ([b""], "robot ended before it said hello"),
        ([b"half a li", b""], "robot ended before it said hello, in the middle of a line"),
        ([hello(), b""], "robot ended before it was ready"),
        ([hello(), began(), b""], "robot ended"),
    ],
)
def test_names_an_early_end(lines: list[bytes], error: str) -> None:
    """An agent that ends is broken, and when it did is told."""
    made = driver()
    made.open("/srv")
    assert broken([each for data in lines for each in made.receive(data)[0]]) == error


def test_names_an_end_within_a_turn() -> None:
    """An agent that ends while it works is broken."""
    assert broken(heard(prompted(), b"")) == "robot ended in the middle of a turn"


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ({"result": {"protocolVersion": 2}}, "robot speaks version 2 of the protocol, not 1"),
        ({"result": None}, "robot speaks version null of the protocol, not 1"),
        ({"error": {"code": -32603, "message": "no luck"}}, "robot cannot begin: no luck"),
        ({"error": {"code": -32000, "message": "x"}}, "robot cannot begin (it wants to be logged"),
    ],
)
def test_refuses_a_bad_hello(reply: dict[str, object], error: str) -> None:
    """An agent of another protocol, or one that cannot begin, is named."""
    made = driver()
    made.open("/srv")
    assert broken(heard(made, line(id=1, **reply))).startswith(error)


@pytest.mark.parametrize("result", [None, {}, {"sessionId": 3}, {"sessionId": "x" * 201}])
def test_refuses_a_session_without_a_name(result: object) -> None:
    """A session has to have a name that can be kept."""
    made = driver()
    made.open("/srv")
    assert "without a usable name" in broken(heard(made, hello(), line(id=2, result=result)))


def test_tells_the_fault_of_a_refused_session() -> None:
    """When it cannot begin for its model's sake, that is told."""
    made = driver()
    made.open("/srv")
    told = heard(made, hello(), line(id=2, error={"code": -32603, "message": "HTTP 529"}))
    assert told == [Broken(error="robot cannot begin a session: HTTP 529", fault=Fault.MODEL)]


GARBAGE = [
    b"npm warn something\n",
    b'{"jsonrpc":"2.0"}\n',
    b'{"jsonrpc":"2.0","id":77,"result":{}}\n',
    b'{"id":{},"method":"x"}\n',
    b"\x00\x01\xff\xfe\n",
    b"[" * 100_000 + b"\n",
    b'"text"\n',
    b"[]\n",
]


@pytest.mark.parametrize("stray", GARBAGE)
def test_tolerates_some_garbage(stray: bytes) -> None:
    """Lines that mean nothing are passed over, up to a number; then the last of them is named."""
    made = prompted()
    assert heard(made, stray * STRAYS_MAX, b"\n \n", said("on")) == [Said(text="on")]
    error = broken(heard(made, stray))
    assert error.startswith(f"robot broke its protocol {STRAYS_MAX + 1} times, the last time with")


def test_a_second_answer_is_garbage() -> None:
    """An answer nobody waits for any more changes nothing."""
    made = prompted()
    told = heard(made, ended(), ended("refusal"), said("on"))
    assert [type(each) for each in told] == [Used, TurnEnded, Said]


def test_a_second_request_with_an_open_id_is_garbage() -> None:
    """It cannot change what is being decided."""
    made = prompted()
    assert len(heard(made, asks(7, PUSH), asks(7, {**PUSH, "rawInput": {"command": "rm"}}))) == 1


def test_limits_what_is_open() -> None:
    """Beyond a number of open requests, each is answered at once; far beyond, it is given up."""
    made = prompted()
    first, out = made.receive(b"".join(asks(n, PUSH) for n in range(OPEN_MAX + 1)))
    assert len(first) == OPEN_MAX
    assert messages(out) == [{"jsonrpc": "2.0", "id": OPEN_MAX, "result": CANCELLED}]
    rest = b"".join(asks(n, PUSH) for n in range(OPEN_MAX + 1, FLOOD_MAX))
    assert "asked 10,000 times" in broken(heard(made, rest))


def test_an_answer_makes_room() -> None:
    """Who waits for answers may ask as often as it wants."""
    made = prompted()
    for number in range(OPEN_MAX * 3):
        assert len(heard(made, asks(number, PUSH))) == 1
        assert made.answer(str(number), Verdict.ALLOW)


def test_nothing_is_heard_after_the_end() -> None:
    """Once broken, it neither hears nor says anything."""
    made = prompted()
    made.receive(b"")
    assert made.receive(said("still here")) == ([], b"")
    assert made.receive(b"") == ([], b"")
    assert made.prompt("x") + made.cancel() + made.answer("7", Verdict.ALLOW) == b""


def test_a_line_too_long_is_the_end() -> None:
    """A line of 100 MB ends it, and no more than the limit was ever held."""
    made = prompted()
    chunk = b"x" * 2**16
    for _ in range(LINE_MAX // len(chunk)):
        assert heard(made, chunk) == []
    assert broken(heard(made, b"x")) == "robot wrote a line of more than 16 MiB"
    assert made._inbox.held_bytes == 0
