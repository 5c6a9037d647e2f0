"""What a guardian can do to its tree: ask it to end, freeze it, thaw it, kill it.

Whoever descends from us is found at the cost of their number: the kernel knows everybody's
children. Who carries the tag without descending from us can only be searched for, at the cost of
everybody's number; so that comes last, and while a tree stays frozen it takes no more than a small
share of the time. When 500 trees end at once the difference is that between seconds and minutes.

Standard library only, for the guardian's sake.
"""

from __future__ import annotations

import os
import signal
import time

from pandar_daemon.adapters.process.tree import (
    STOPPED,
    Entry,
    Newcomers,
    carriers,
    descendants,
    send,
    tree,
)

_SHARE = 2000  # a search is followed by so many times its duration without one
_SEARCH_SEC = 0.25  # at least


class Grip:
    """A hold on all descendants of this process, and on all who carry a tag."""

    def __init__(self, tag: str, newcomers: Newcomers) -> None:
        self._tag, self._newcomers = tag, newcomers
        self._stopped: set[int] | None = None  # whom we stopped
        self._search_at = 0.0
        self.childless = False
        """Nobody descends from us, now and for ever. Whoever waits for children knows."""
        self.is_forsaken = False
        """There is no runner."""
        self.is_searched = True
        """Nobody else carries the tag either. When `left` found nobody and this is false, the
        runner has to search."""

    @property
    def is_frozen(self) -> bool:
        """Whether it was frozen, and not thawed since."""
        return self._stopped is not None

    def left(self) -> list[Entry]:
        """Return descendants, and when there are none, whoever else is of the tree.

        Where that means to search the machine, it is left to the runner as long as there is one.
        """
        if not self.childless:
            return descendants(os.getpid()) or self._tree()
        others = self._newcomers.tagged(self._tag)
        self.is_searched = others is not None or self.is_forsaken
        return self._tree() if others or (others is None and self.is_forsaken) else []

    def ask(self) -> None:
        """Ask descendants to end."""
        for process in descendants(os.getpid()):
            send(process.pid, signal.SIGTERM)
            send(process.pid, signal.SIGCONT)  # one stopped by its shell hears it too

    def kill(self) -> bool:
        """Kill whom `left` finds; return whether there was anybody."""
        return [process for process in self.left() if send(process.pid, signal.SIGKILL)] != []

    def freeze(self) -> bool:
        """Stop who runs, parents before children, so that none sees its child stop.

        Returns whether anybody had to be stopped.
        """
        stopped = self._stopped = set() if self._stopped is None else self._stopped
        running = self._running(descendants(os.getpid())) or self._others_running()
        for process in running:
            if send(process.pid, signal.SIGSTOP):
                stopped.add(process.pid)
        return bool(running)

    def _others_running(self) -> list[Entry]:
        began = time.monotonic()
        if began < self._search_at:
            return []
        running = self._running(self._tree())
        if not running:
            now = time.monotonic()
            self._search_at = now + max(_SEARCH_SEC, _SHARE * (now - began))
        return running

    def _running(self, processes: list[Entry]) -> list[Entry]:
        return [process for process in processes if not self._has_stopped(process)]

    def _has_stopped(self, process: Entry) -> bool:
        # A parent in vfork waits in the kernel for a child that we stopped: it stops on leaving.
        waits = process.state == "D" and self._stopped is not None and process.pid in self._stopped
        return waits or process.state in STOPPED

    def thaw(self) -> None:
        """Let go on whom we stopped, children before parents; who was stopped before, stays."""
        if self._stopped is None:
            return
        ours = [process.pid for process in descendants(os.getpid())]
        others = carriers(self._tag, self._stopped - {*ours})
        for pid in others + ours[::-1]:
            if pid in self._stopped:
                send(pid, signal.SIGCONT)
        self._stopped, self._search_at = None, 0.0

    def _tree(self) -> list[Entry]:
        return tree(self._tag, os.getpid())
