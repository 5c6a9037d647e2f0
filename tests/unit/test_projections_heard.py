"""What read models listen to: what they have something to say about, and nothing else."""

from __future__ import annotations

from itertools import pairwise

import pytest
from msgspec import structs

from events import codec
from projections.base import ReadModel, heard_types
from projections.executions import EXECUTIONS
from projections.models import MODELS
from projections.outputs import OUTPUTS
from projections.stats import STATS
from tests.support.lives import Chronicle, created, random_lives


@pytest.mark.parametrize("model", list(MODELS.values()), ids=list(MODELS))
def test_models_hear_only_types_there_are(model: ReadModel) -> None:
    """A mistyped name of an event is noticed."""
    assert heard_types(model)
    for handle in model.handles:
        assert any(name.startswith(handle) for name in codec.EVENTS), handle


def test_no_type_is_the_beginning_of_another() -> None:
    """So a model that names whole types hears these and no others."""
    names = sorted(codec.EVENTS)
    assert [a for a, b in pairwise(names) if b.startswith(a)] == []


def test_outputs_hears_all_it_answers_to() -> None:
    """Of an event it does not hear it would have nothing to say."""
    told = Chronicle()
    for task_id, event in random_lives(21, 60):
        told.add(f"task-{task_id}", event)
    unheard = [one for one in told.recorded if one.type not in heard_types(OUTPUTS)]
    assert len({one.type for one in unheard}) > 3
    for recorded in unheard:
        said = codec.decode(recorded)
        assert said is not None
        assert OUTPUTS.on(recorded, said) == []


def test_what_a_model_does_not_hear_cannot_poison_it() -> None:
    """A progress report that cannot be read is no concern of executions, counts and outputs."""
    told = Chronicle()
    [recorded] = told.add("task-42", created())
    data = codec.raw(b'{"type": "task.progressed"}')
    corrupt = structs.replace(recorded, type="task.progressed", data=data)
    for model in (EXECUTIONS, STATS, OUTPUTS):
        assert model.project(corrupt) == []
    with pytest.raises(codec.CorruptEvent):
        MODELS["tasks"].project(corrupt)
