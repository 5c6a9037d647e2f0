"""The command line: what it understands, and how fast it is there."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest

from pandar_daemon.adapters.embedded.errors import CannotStart
from pandar_daemon.adapters.postgres.migrate import MigrationError
from pandar_daemon.cli import app
from pandar_daemon.cli.app import run
from pandar_daemon.cli.failures import as_failure
from pandar_daemon.cli.output import MEANING, CliError, Exit
from pandar_daemon.cli.reference import cli_reference
from pandar_daemon.config import ConfigError
from pandar_daemon.domain.refusals import VersionMismatch


@pytest.mark.parametrize(
    "arguments",
    [
        ("task",),
        ("nonsense",),
        ("task", "create", "--name", "x"),
        ("task", "create", "--command", "a", "--", "b"),
        ("task", "create", "-m", "novalue", "--", "b"),
        ("task", "create", "--metadata", "[1]", "--", "b"),
        ("task", "create", "--scheduled-at", "2026-01-31T09:00:00", "--", "b"),
        ("task", "show", "x"),
        ("task", "confirm", "1", "--deny", "--changes", "x"),
        ("rebuild",),
        ("url",),
        ("url", "nonsense"),
        ("rebuild", "nonsense"),
        ("epoch", "advance"),
        ("token", "--ttl", "never"),
        ("up", "--data", "/nonexistent", "more"),
    ],
)
def test_what_cannot_be_understood_is_refused(
    arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    """A mistyped command line changes nothing and says what is wrong."""
    assert run(arguments) == 2
    said = capsys.readouterr()
    assert said.err
    assert "Traceback" not in said.err


def test_help_imports_nothing_slow() -> None:
    """`pandar --help` answers at once, since only click is imported for it."""
    program = (
        "import sys; from pandar_daemon.cli.app import run; run(['--help']);"
        " print(*sorted({'aiohttp', 'rich', 'msgspec', 'asyncio', 'nats'} & set(sys.modules)))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert "Commands:" in ran.stdout
    assert ran.stdout.splitlines()[-1] == ""


def test_the_short_help_is_that_of_the_commands() -> None:
    """The lines of the help, which must not import the commands, are the commands' own."""
    for name, (where, line) in app._COMMANDS.items():
        command = app.pandar.get_command(click.Context(app.pandar), name)
        assert command is not None, where
        assert (command.help or "").splitlines()[0] == line


def test_the_reference_has_every_command_and_code() -> None:
    """The page is made from the commands, so none is forgotten."""
    page = cli_reference()
    for words in ("pandar up", "pandar task create", "pandar epoch advance", "--scheduled-at"):
        assert words in page
    assert all(f"| {code.value} |" in page for code in Exit)
    assert set(MEANING) == set(Exit)


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (ConfigError("PANDAR_SLOTS is odd"), Exit.USAGE, "PANDAR_SLOTS is odd"),
        (VersionMismatch(1, 2), Exit.REFUSED, "It changed meanwhile: expected version 1"),
        (OSError(98, "Address already in use"), Exit.FAILED, "Address already in use"),
        (KeyError("x"), Exit.FAILED, "error in Pandar itself: KeyError: 'x'"),
        (CannotStart("no Postgres here"), Exit.FAILED, "no Postgres here"),
        (MigrationError("0001 was edited"), Exit.FAILED, "0001 was edited"),
        (ExceptionGroup("g", [KeyError("x"), ConfigError("odd")]), Exit.USAGE, "odd"),
        (ExceptionGroup("g", [ExceptionGroup("h", [CliError("inner")])]), Exit.FAILED, "inner"),
    ],
)
def test_every_error_is_one_sentence(error: Exception, code: Exit, sentence: str) -> None:
    """Whatever goes wrong, the user reads what, not where in the program."""
    failure = as_failure(error)
    assert failure.code is code
    assert sentence in failure.sentence
