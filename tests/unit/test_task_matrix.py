"""The matrix of status and command: what every command does in every state."""

from __future__ import annotations

import pytest

from pandar_daemon.domain.refusals import NotFound, Rejected
from pandar_daemon.domain.task_rules import Stale
from tests.support import matrix
from tests.support import stories as s
from tests.support.given import TASK_ID, given

MATRIX = """
|                      | filed           | queued    | pausing   | paused    | running                                 | approved                                | cancelling                 | waiting                | lost                          | parked                                  | resuming          | failed  | completed | cancelled | deleted |
|----------------------|-----------------|-----------|-----------|-----------|-----------------------------------------|-----------------------------------------|----------------------------|------------------------|-------------------------------|-----------------------------------------|-------------------|---------|-----------|-----------|---------|
| start                | start_requested | nothing   | nothing   | nothing   | 409                                     | 409                                     | 409                        | 409                    | 409                           | 409                                     | 409               | 409     | 409       | 409       | 404     |
| confirm: approve     | 409             | 409       | 409       | 409       | 409                                     | nothing                                 | 409                        | confirmed              | confirmed + retried           | confirmed + resume_requested            | nothing           | 409     | 409       | 409       | 404     |
| confirm: deny        | 409             | 409       | 409       | 409       | 409                                     | 409                                     | 409                        | denied                 | denied + failed               | denied + resume_requested               | 409               | 409     | 409       | 409       | 404     |
| confirm: changes     | 409             | 409       | 409       | 409       | 409                                     | 409                                     | 409                        | changes_requested      | 409                           | changes_requested + resume_requested    | 409               | 409     | 409       | 409       | 404     |
| cancel               | cancelled       | cancelled | cancelled | cancelled | cancel_requested                        | cancel_requested                        | nothing                    | cancel_requested       | cancelled                     | cancelled                               | cancelled         | 409     | 409       | 409       | 404     |
| retry                | 409             | 409       | 409       | 409       | 409                                     | 409                                     | 409                        | 409                    | 409                           | 409                                     | 409               | retried | 409       | retried   | 404     |
| update: name         | updated         | updated   | updated   | updated   | updated                                 | updated                                 | updated                    | updated                | updated                       | updated                                 | updated           | updated | updated   | updated   | 404     |
| update: scheduled_at | updated         | 409       | 409       | 409       | 409                                     | 409                                     | 409                        | 409                    | 409                           | 409                                     | 409               | 409     | 409       | 409       | 404     |
| delete               | deleted         | deleted   | deleted   | deleted   | 409                                     | 409                                     | 409                        | 409                    | 409                           | 409                                     | 409               | deleted | deleted   | deleted   | 404     |
| expire               | nothing         | nothing   | nothing   | nothing   | nothing                                 | nothing                                 | nothing                    | confirmation_expired   | confirmation_expired + failed | confirmation_expired + resume_requested | nothing           | nothing | nothing   | nothing   | 404     |
| claim                | 409             | started   | 409       | 409       | 409                                     | 409                                     | 409                        | 409                    | 409                           | 409                                     | started + resumed | 409     | 409       | 409       | 404     |
| progress             | stale           | stale     | stale     | stale     | progressed                              | progressed                              | progressed                 | progressed             | stale                         | stale                                   | stale             | stale   | stale     | stale     | 404     |
| ask                  | stale           | stale     | stale     | stale     | confirmation_requested                  | 409                                     | 409                        | nothing                | stale                         | stale                                   | stale             | stale   | stale     | stale     | 404     |
| finish: completed    | stale           | stale     | stale     | stale     | completed                               | completed                               | completed                  | completed              | stale                         | stale                                   | stale             | stale   | stale     | stale     | 404     |
| finish: failed       | stale           | stale     | stale     | stale     | failed                                  | failed                                  | cancelled                  | failed                 | stale                         | stale                                   | stale             | stale   | stale     | stale     | 404     |
| finish: cancelled    | stale           | stale     | stale     | stale     | cancelled                               | cancelled                               | cancelled                  | cancelled              | stale                         | stale                                   | stale             | stale   | stale     | stale     | 404     |
| finish: parked       | stale           | stale     | stale     | stale     | parked + resume_requested               | parked + resume_requested               | cancelled                  | parked                 | stale                         | stale                                   | stale             | stale   | stale     | stale     | 404     |
| finish: paused       | stale           | stale     | stale     | stale     | paused                                  | paused                                  | cancelled                  | paused                 | stale                         | stale                                   | stale             | stale   | stale     | stale     | 404     |
| lose                 | stale           | stale     | stale     | stale     | execution_lost + confirmation_requested | execution_lost + confirmation_requested | execution_lost + cancelled | execution_lost         | stale                         | stale                                   | stale             | stale   | stale     | stale     | 404     |
| withdraw             | stale           | stale     | stale     | stale     | nothing                                 | nothing                                 | nothing                    | confirmation_withdrawn | stale                         | stale                                   | stale             | stale   | stale     | stale     | 404     |
| record               | stale           | stale     | stale     | stale     | call_decided                            | call_decided                            | call_decided               | call_decided           | stale                         | stale                                   | stale             | stale   | stale     | stale     | 404     |
| record: approved     | stale           | stale     | stale     | stale     | 409                                     | call_decided                            | 409                        | 409                    | stale                         | stale                                   | stale             | stale   | stale     | stale     | 404     |
| session              | stale           | stale     | stale     | stale     | session_opened                          | session_opened                          | session_opened             | session_opened         | stale                         | stale                                   | stale             | stale   | stale     | stale     | 404     |
| checkpoint           | stale           | stale     | stale     | stale     | checkpointed                            | checkpointed                            | checkpointed               | checkpointed           | stale                         | stale                                   | stale             | stale   | stale     | stale     | 404     |
| answered             | stale           | stale     | stale     | stale     | question_answered                       | question_answered                       | question_answered          | question_answered      | stale                         | stale                                   | stale             | stale   | stale     | stale     | 404     |
| switch               | stale           | stale     | stale     | stale     | agent_switched                          | agent_switched                          | agent_switched             | agent_switched         | stale                         | stale                                   | stale             | stale   | stale     | stale     | 404     |
| narrowed             | stale           | stale     | stale     | stale     | policy_narrowed                         | policy_narrowed                         | policy_narrowed            | policy_narrowed        | stale                         | stale                                   | stale             | stale   | stale     | stale     | 404     |
| blocked              | stale           | stale     | stale     | stale     | egress_blocked                          | egress_blocked                          | egress_blocked             | egress_blocked         | stale                         | stale                                   | stale             | stale   | stale     | stale     | 404     |
| link                 | 409             | 409       | 409       | 409       | 409                                     | 409                                     | 409                        | link_issued            | link_issued                   | link_issued                             | 409               | 409     | 409       | 409       | 404     |
"""  # noqa: E501 - a table is read by its columns
"""What the specification says, by hand; the columns are `matrix.STATES`."""

Cell = tuple[str, str]


def specified() -> dict[Cell, str]:
    """Return the fields of `MATRIX`."""
    header, _, *rows = [
        [field.strip() for field in line.strip("|").split("|")]
        for line in MATRIX.strip().splitlines()
    ]
    return {(row[0], state): row[n] for row in rows for n, state in enumerate(header) if n}


SPECIFIED = specified()


def test_the_matrix_leaves_nothing_out() -> None:
    """Every command is specified in every state."""
    assert set(SPECIFIED) == set(matrix.derived())


@pytest.mark.parametrize("at", SPECIFIED, ids=" in ".join)
def test_cell(at: Cell) -> None:
    """A command does in a state exactly what the matrix says."""
    assert matrix.cell(*at) == SPECIFIED[at]


STATUS_OF = {
    **dict.fromkeys(("filed", "queued", "pausing", "paused"), "pending"),
    **dict.fromkeys(("running", "approved", "cancelling", "resuming"), "running"),
    **dict.fromkeys(("waiting", "lost", "parked"), "waiting_confirmation"),
    "failed": "failed",
    "completed": "completed",
    "cancelled": "cancelled",
}

VERBS = {
    "start": "start",
    "cancel": "cancel",
    "retry": "retry",
    "delete": "delete",
    "claim": "dispatch",
    "ask": "ask about",
    "update: scheduled_at": "reschedule",
    "link": "make a link for that confirmation of",
}

APPROVED = f"confirmation {s.confirmation(1)} was already decided by ann: approve"
VOID = f"confirmation {s.confirmation(1)} does not approve this call, or no longer"
TOLD_OTHERWISE = {
    **dict.fromkeys(
        [
            *[("confirm: deny", state) for state in ("approved", "resuming")],
            *[("confirm: changes", state) for state in ("approved", "resuming")],
            *[("link", state) for state in ("approved", "resuming")],
            ("ask", "approved"),
        ],
        APPROVED,
    ),
    **{("record: approved", state): VOID for state in ("running", "cancelling", "waiting")},
    ("confirm: changes", "lost"): (
        "changes need a reason to pass on, and a live execution to receive it"
    ),
}


@pytest.mark.parametrize(
    "at", [at for at, field in SPECIFIED.items() if field == "409"], ids=" in ".join
)
def test_refusal_names_the_state(at: Cell) -> None:
    """What a state forbids is a 409 that says what cannot be done, and names the state."""
    command, state = at
    status = STATUS_OF[state]
    verb = VERBS.get(command) or "confirm"
    plain = f"cannot {verb} task {TASK_ID} while it is {status}"
    said = matrix.outcome(command, state)
    said.refuses(Rejected, TOLD_OTHERWISE.get(at, plain), state=status)
    assert said.refusal is not None
    assert said.refusal.problem.status == 409
    assert said.refusal.problem.title == "Not possible in this state"


@pytest.mark.parametrize(
    "at", [at for at, field in SPECIFIED.items() if field == "stale"], ids=" in ".join
)
def test_a_stale_runner_is_refused(at: Cell) -> None:
    """Whatever comes from an execution that is over is a 409 of its own kind."""
    said = matrix.outcome(*at)
    over = f"execution {s.execution(1)} (epoch 1) of task {TASK_ID} is over"
    said.refuses(Stale, over, state=STATUS_OF[at[1]])


@pytest.mark.parametrize("command", matrix.COMMANDS)
def test_a_task_nobody_filed_is_not_found(command: str) -> None:
    """Whatever is asked of a task that is not there is a 404."""
    given([]).when(matrix.COMMANDS[command]).refuses(NotFound, f"there is no task {TASK_ID}")
