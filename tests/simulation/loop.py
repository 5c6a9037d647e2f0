"""A loop whose time is a number, and whose processes are queues of what is ready to run.

Nothing here waits: when nothing is ready, time jumps to the next timer. Every callback belongs to
the `Node` in whose context it was scheduled. Within a node order is asyncio's own; between nodes
it is drawn, as it would be between processes. A frozen node keeps its queue, a dead one loses it:
none of its code runs ever again, its ``finally`` included.
"""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context, ContextVar, copy_context
from itertools import count
from random import Random
from typing import Any, TypeVar, cast

T = TypeVar("T")

STEPS_MAX = 20_000_000
"""Callbacks of one run: more is a loop without an end."""
_RESOLUTION_SEC = 1e-6


class Stuck(Exception):
    """Nothing is ready and no timer is set: nothing will ever happen again."""


class Node:
    """A process, or the world outside of all of them, as the loop sees it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.frozen = False
        self.dead = False
        self.ready: deque[asyncio.Handle] = deque()
        self.context: Context = copy_context()
        self.context.run(_NODE.set, self)


_NODE: ContextVar[Node] = ContextVar("node")
WORLD = Node("world")
"""Where servers, networks, guardians and programs run: never frozen, never dead."""


def node_of(context: Context) -> Node:
    """Return the node that runs in a context."""
    return context.get(_NODE, WORLD)


class _Ready:
    """What `asyncio.BaseEventLoop` takes for its queue of ready callbacks."""

    def __init__(self, dice: Random, loop: asyncio.AbstractEventLoop) -> None:
        self._dice = dice
        self._hurry = dice.choice((0.0, 0.5, 0.9))  # how often who came last runs first
        self._runnable: list[Node] = []
        self._count = 0
        self._steps = 0
        self._nothing = asyncio.Handle(lambda: None, (), loop)
        self._nothing.cancel()

    def __len__(self) -> int:
        return self._count

    def append(self, handle: asyncio.Handle) -> None:
        node = node_of(handle._context)  # type: ignore[attr-defined]
        if node.dead:
            return
        node.ready.append(handle)
        if not node.frozen:
            self._count += 1
            if len(node.ready) == 1:
                self._runnable.append(node)

    def popleft(self) -> asyncio.Handle:
        self._steps += 1
        if self._steps > STEPS_MAX:
            raise Stuck("a loop without an end")
        if not self._runnable:
            return self._nothing  # who was about to run froze, or died, meanwhile
        at = self._choose()
        node = self._runnable[at]
        handle = node.ready.popleft()
        self._count -= 1
        if not node.ready:
            del self._runnable[at]
        return handle

    def _choose(self) -> int:
        last = len(self._runnable) - 1
        if last == 0 or self._dice.random() < self._hurry:
            return last
        return int(self._dice.random() * (last + 1))

    def clear(self) -> None:
        for node in self._runnable:
            node.ready.clear()
        self._runnable, self._count = [], 0

    def freeze(self, node: Node) -> None:
        if not node.frozen and not node.dead:
            self._forget(node)
            node.frozen = True

    def thaw(self, node: Node) -> None:
        if node.frozen and not node.dead:
            node.frozen = False
            self._count += len(node.ready)
            if node.ready:
                self._runnable.append(node)

    def bury(self, node: Node) -> None:
        if not node.frozen:
            self._forget(node)
        node.dead = True
        node.ready.clear()

    def _forget(self, node: Node) -> None:
        self._count -= len(node.ready)
        if node.ready:
            self._runnable.remove(node)


class Turn(asyncio.Task[Any]):
    """A task whose hash is its number: sets of tasks have the same order in every run."""

    _numbers = count()

    def __init__(self, coro: Coroutine[Any, Any, Any], **options: Any) -> None:  # noqa: ANN401 - asyncio's own
        self._number = next(Turn._numbers)
        self.node = node_of(options.get("context") or copy_context())
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._number


class _Jump:
    """A selector that waits for no file: it moves the time on."""

    def __init__(self) -> None:
        self.now = 0.0

    def select(self, timeout: float | None) -> tuple[()]:
        if timeout is None:
            raise Stuck("nothing is ready and no timer is set")
        self.now += timeout
        return ()


class VirtualLoop(asyncio.BaseEventLoop):
    """See the module."""

    def __init__(self, dice: Random) -> None:
        super().__init__()
        self._selector = _Jump()
        self._clock_resolution = _RESOLUTION_SEC
        self._ready = _Ready(dice, self)
        self._kept: list[asyncio.Task[object]] = []
        Turn._numbers = count()
        self.set_task_factory(lambda loop, coro, **options: Turn(coro, loop=loop, **options))
        self.set_exception_handler(lambda _loop, _context: None)

    def time(self) -> float:
        """Return the seconds since the beginning."""
        return self._selector.now

    def freeze(self, node: Node) -> None:
        """Stop a node; what becomes ready waits. Idempotent."""
        self._ready.freeze(node)

    def thaw(self, node: Node) -> None:
        """Let a frozen node go on where it was. Idempotent."""
        self._ready.thaw(node)

    def kill(self, node: Node) -> None:
        """End a node between two instructions. Its tasks are kept, or they would clean up."""
        self._kept += [task for task in asyncio.all_tasks(self) if cast("Turn", task).node is node]
        self._ready.bury(node)

    def start(self, node: Node, coro: Coroutine[object, object, T]) -> asyncio.Task[T]:
        """Run a coroutine in a node."""
        return self.create_task(coro, context=node.context.copy())

    def _process_events(self, event_list: object) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """There is nobody to wake up: no other thread."""

    def discard(self) -> None:
        """Close the loop and what is left in it, whose clean-up nobody sees."""
        left = [*self._kept, *asyncio.all_tasks(self)]
        self._ready.clear()
        self.close()
        for task in left:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            with suppress(BaseException):
                task.get_coro().close()


@contextmanager
def virtual_loop(seed: str) -> Iterator[VirtualLoop]:
    """Give a loop of its own; the collector rests, since when it runs is not ours to decide."""
    gc.collect()
    gc.disable()
    loop = VirtualLoop(Random(f"{seed}/loop"))
    try:
        yield loop
    finally:
        loop.discard()
        gc.enable()
