"""Any error as one clear sentence on stderr and an exit code."""

from __future__ import annotations

import sys

from pandar_daemon.cli.output import CliError, Exit, Refused, err_look, error_text
from pandar_daemon.cli.rows import ForeignAnswer
from pandar_daemon.config import ConfigError
from pandar_daemon.domain.groups import leaves
from pandar_daemon.domain.refusals import Refusal


def told(error: Exception) -> int:
    """Write what went wrong to stderr and return the exit code it calls for."""
    failure = as_failure(error)
    sys.stderr.write(error_text(failure, err_look()))
    return int(failure.code)


def as_failure(error: BaseException) -> CliError:
    """Return an error as what the user is told; of a group its first leaf that speaks for itself.

    Errors of ours do. Others are errors of the program: they are named, with how to see where
    they came from.
    """
    told = [leaf if isinstance(leaf, CliError) else _named(leaf) for leaf in leaves(error)]
    return next((each for each in told if not isinstance(each, _Unforeseen)), told[0])


class _Unforeseen(CliError):
    """An error of the program itself."""


def _named(error: BaseException) -> CliError:
    match error:
        case Refusal():
            return Refused(error.problem)
        case ConfigError():
            return CliError(str(error), code=Exit.USAGE)
        case ForeignAnswer():
            sentence = f"what answers is not Pandar, or another release of it: {error}"
            return CliError(sentence, code=Exit.UNREACHABLE)
        case OSError():
            return CliError(str(error))
        case _ if type(error).__module__.startswith("pandar_daemon."):
            return CliError(str(error))
        case _:
            return _Unforeseen(
                f"error in Pandar itself: {type(error).__name__}: {error}",
                "PANDAR_DEBUG=1 shows where; please report it",
            )
