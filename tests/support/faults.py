"""What an `Invalid` says, for tests to compare."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pandar_daemon.domain.refusals import Invalid


def faults(of: Callable[[], object]) -> dict[str, str]:
    """Return field and rule of every error of the `Invalid` that a call raises."""
    with pytest.raises(Invalid) as refused:
        of()
    assert refused.value.problem.status == 422
    return {error.field: error.rule for error in refused.value.problem.errors}
