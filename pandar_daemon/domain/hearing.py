"""What is heard from an agent, whatever protocol it speaks; `conversation` holds the rules.

A driver turns bytes into these. Texts are as the agent wrote them: control characters included.
"""

from __future__ import annotations

from enum import StrEnum, auto
from typing import Final

from msgspec import Struct

from events.calls import ToolCall
from events.instant import Instant
from events.task import Usage

DOOR: Final = "door:"
"""How the id of a request begins that was made at a door of the box; no agent's own does."""


class Stop(StrEnum):
    """Why a turn ended."""

    DONE = auto()  # the agent says that it is done
    CANCELLED = auto()
    REFUSED = auto()  # the model would not
    LIMIT = auto()  # too many tokens, or too many requests in one turn
    FAILED = auto()  # an error was reported, whatever the protocol calls the end


class Fault(StrEnum):
    """What kind of failure a turn ended with, where the agent tells."""

    MODEL = auto()  # the model's server did not answer well: worth another try, or another agent
    QUOTA = auto()  # the provider's quota is used up
    AGENT = auto()  # anything else


class CallStatus(StrEnum):
    """How far a tool call is."""

    PENDING = auto()
    RUNNING = auto()
    DONE = auto()
    FAILED = auto()


class Ready(Struct, frozen=True, kw_only=True):
    """The agent can be prompted; ``loaded`` when it knows what was said in an earlier process."""

    session_id: str = ""
    loaded: bool = False


class Said(Struct, frozen=True, kw_only=True):
    """A piece of what it writes; ``thought`` when it is not meant for us."""

    text: str
    thought: bool = False


class Called(Struct, frozen=True, kw_only=True):
    """A tool call began, or went on. Says nothing about whether anybody allowed it."""

    call_id: str
    call: ToolCall
    status: CallStatus = CallStatus.PENDING
    output: str = ""


class Asked(Struct, frozen=True, kw_only=True):
    """It waits until somebody allows or denies this; ``call_id`` as in `Called`.

    What its programs ask for at a door is asked in the same words, under an id of `DOOR`.
    ``foreseen``: the call is already what will come to the door, word for word.
    """

    request_id: str
    call: ToolCall
    call_id: str = ""
    intent: str = ""
    foreseen: bool = False


class Questioned(Struct, frozen=True, kw_only=True):
    """It waits for an answer to a question that is no permission."""

    request_id: str
    text: str
    choices: list[str] = []


class Withdrawn(Struct, frozen=True, kw_only=True):
    """It waits for this request no longer."""

    request_id: str


class Used(Struct, frozen=True, kw_only=True):
    """What this session has consumed so far, in all its turns."""

    usage: Usage


class TurnEnded(Struct, frozen=True, kw_only=True):
    """The answer to a prompt. ``usage`` is ``None`` when the agent did not tell any.

    ``retry_at`` is when a used up quota is there again.
    """

    stop: Stop
    error: str = ""
    fault: Fault = Fault.AGENT
    usage: Usage | None = None
    retry_at: Instant | None = None


class Broken(Struct, frozen=True, kw_only=True):
    """It broke its protocol, or could not begin: nothing more can come of it."""

    error: str
    fault: Fault = Fault.AGENT


Heard = Ready | Said | Called | Asked | Questioned | Withdrawn | Used | TurnEnded | Broken
