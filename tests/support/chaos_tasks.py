"""Tasks that write down what they do, and when, so that nothing they did can be denied later.

A task of a campaign appends to a file a line for each thing it does, with the execution and the
time, and prints what can be foretold from its number alone. The file is one for all, or, where
tasks are confined to their folders, one in each of these.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from msgspec import Struct

from events import commands as do
from events.task import Json, Priority
from tests.support.history import Effect

_MARK = """mark() {{
printf '%s %s %s %s\\n' $PANDAR_TASK_ID $PANDAR_EXECUTION_ID $EPOCHREALTIME $1 >> {marks}; }}"""
# No process is forked between two beats: `read` waits on a terminal where nobody types.
_BEATS = """mark start
for ((i = 0; i < {beats}; i++)); do
mark beat-$i; printf '%0{width}d\\n' $i; read -t 0.02
done
mark end; exit $((PANDAR_ATTEMPT <= {fails}))"""
_CHILD = """( setsid /bin/bash -c '{mark}
for ((i = 0; ; i++)); do mark child-$i; read -t 0.05 <> <(:); done' >/dev/null 2>&1 & )"""


class Deed(Struct, frozen=True, kw_only=True):
    """What the task ``n`` of a campaign does: so many beats, 20 ms apart, each a line of output.

    Its first ``fails`` attempts fail at the end; with ``child`` it leaves a process behind that
    goes on by itself until it is killed.
    """

    n: int
    beats: int
    width: int
    fails: int
    child: bool
    metadata: Json
    priority: Priority = Priority.MEDIUM

    def command(self, marks: Path | str) -> str:
        """Return it as a shell command."""
        mark = _MARK.format(marks=marks)
        child = _CHILD.format(mark=mark.replace("'", '"')) if self.child else ":"
        beats = _BEATS.format(beats=self.beats, width=self.width, fails=self.fails)
        return f"{mark}\n{child}\n{beats}"

    def creation(self, marks: Path | str) -> do.CreateTask:
        """Return the command that files it."""
        return do.CreateTask(
            name=f"deed {self.n}",
            command=self.command(marks),
            project_id=1,
            metadata=self.metadata,
            priority=self.priority,
        )

    @property
    def printed(self) -> bytes:
        """What it prints when it comes to its end."""
        return b"".join(b"%0*d\n" % (self.width, i) for i in range(self.beats))


def random_deed(rng: random.Random, n: int) -> Deed:
    """Return a task of any kind: short or long, failing, with a key, with much output."""
    metadata: Json = {
        "max_retries": rng.choice([0, 0, 1]),
        "on_lost": rng.choice(["retry", "confirm", "confirm", "fail"]),
    }
    if rng.random() < 0.25:
        metadata["concurrency_key"] = f"key-{rng.randrange(3)}"
    return Deed(
        n=n,
        beats=rng.choice([rng.randrange(2, 20), rng.randrange(20, 60), rng.randrange(60, 250)]),
        width=rng.choice([6, 6, 80, 3_000]),
        fails=rng.choice([0, 0, 0, 1]),
        child=rng.random() < 0.25,
        metadata=metadata,
        priority=rng.choice(list(Priority)),
    )


class Marks:
    """The files that the tasks of a campaign append to, read as they grow."""

    def __init__(self, path: Path | str, files: Callable[[], Iterable[Path]] | None = None) -> None:
        """Let tasks write to ``path``, as they see it; ``files`` are what that is from outside."""
        self.path = path
        self.effects: list[Effect] = []
        self._files = files or (lambda: [Path(path)])
        self._begun: set[int] = set()
        self._read: dict[Path, int] = {}

    @classmethod
    def in_workspaces(cls, root: Path) -> Marks:
        """Return those that each task writes into its own folder, of any machine under ``root``."""
        return cls("marks", lambda: root.glob("data-*/workspaces/task-*/marks"))

    @property
    def count(self) -> int:
        """How much was done so far."""
        self._catch_up()
        return len(self.effects)

    @property
    def begun(self) -> set[int]:
        """Which tasks ever did anything."""
        self._catch_up()
        return self._begun

    def _catch_up(self) -> None:
        for path in self._files():
            self._catch_up_with(path)

    def _catch_up_with(self, path: Path) -> None:
        read = self._read.get(path, 0)
        if not path.exists() or path.stat().st_size == read:
            return
        with path.open("rb") as file:
            file.seek(read)
            whole, _, _ = file.read().rpartition(b"\n")
        self._read[path] = read + len(whole) + bool(whole)
        for line in whole.decode().splitlines():
            task, execution, at, what = line.split()
            when = datetime.fromtimestamp(float(at), UTC)
            self.effects.append(Effect(int(task), UUID(execution), when, what))
            self._begun.add(int(task))
