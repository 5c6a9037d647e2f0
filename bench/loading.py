"""A load of tasks on a running Pandar, as its API's clients make one.

A fixed number of workers each file a task and wait for its end: so many are in flight and no more
is ever remembered. Ends are heard on one stream of events; a task that is not heard of is looked
at, so that a lost stream costs time and never a task. Filing goes on through outages: a request
without an answer is repeated under its own idempotency key until patience ends.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from contextlib import suppress

import aiohttp
import msgspec
from msgspec import Struct, field

from bench.distribution import Distribution
from events.task import Json
from pandar_daemon.cli.sse import Reader

TERMINAL = frozenset({"completed", "failed", "cancelled"})
MISSING, REFUSED = "missing", "refused"
LOOK_SEC = 5.0
"""A task not heard of for so long is looked at."""
RETRY_SEC = 0.2
EARLY_MAX = 10_000
"""Ends heard of before the answer to their filing; of more than these, the oldest are forgotten."""
NAMED_MAX = 20
"""How many missing or refused tasks are named."""
_BUFFER_BYTES = 2**20
_PASSING = frozenset({408, 429})


class Load(Struct, frozen=True, kw_only=True):
    """What to file: ``rate`` is tasks a second, 0 for as many as ``in_flight`` lets."""

    tasks: int
    in_flight: int
    command: str = "true"
    rate: float = 0.0
    project_id: int = 1
    metadata: Json = {}
    name: str = "load"
    patience_sec: float = 120.0


class Report(Struct):
    """What became of a load: tasks by how they ended, `MISSING` or `REFUSED`."""

    ended: Counter[str] = field(default_factory=Counter)
    filing: Distribution = field(default_factory=Distribution)
    life: Distribution = field(default_factory=Distribution)
    troubles: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_whole(self) -> bool:
        """Whether every task was taken and came to an end."""
        return not self.ended[MISSING] and not self.ended[REFUSED]

    def trouble(self, kind: str, text: str) -> None:
        """Count a task that is missing or was refused; the first ones are named."""
        self.ended[kind] += 1
        if len(self.troubles) < NAMED_MAX:
            self.troubles.append(f"{kind}: {text}")


def session(url: str, token: str) -> aiohttp.ClientSession:
    """Return a client of a Pandar, for `Loading`; the caller closes it."""
    return aiohttp.ClientSession(
        url,
        headers={"Authorization": f"Bearer {token}"},
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=30),
        read_bufsize=_BUFFER_BYTES,
    )


class Loading:
    """One load, done once."""

    def __init__(self, http: aiohttp.ClientSession, load: Load) -> None:
        self._http = http
        self._load = load
        self._numbers = iter(range(load.tasks))
        self._waiting: dict[str, asyncio.Future[str]] = {}
        self._early: OrderedDict[str, str] = OrderedDict()
        self._listening = asyncio.Event()
        self._report = Report()
        self._began = 0.0

    async def run(self) -> Report:
        """File the tasks and return what became of them; raises only when cancelled."""
        ears = asyncio.create_task(self._listen())
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._listening.wait(), LOOK_SEC)
            self._began = _now()
            async with asyncio.TaskGroup() as group:
                for _ in range(min(self._load.in_flight, self._load.tasks)):
                    group.create_task(self._work())
            self._report.seconds = _now() - self._began
        finally:
            ears.cancel()
            await asyncio.wait({ears})
        return self._report

    async def _work(self) -> None:
        for number in self._numbers:
            if self._load.rate:
                await asyncio.sleep(self._began + number / self._load.rate - _now())
            began = _now()
            task_id = await self._file(f"{self._load.name}-{number}", began)
            if task_id is not None:
                await self._await_end(task_id, began)

    # --- filing ---

    async def _file(self, key: str, began: float) -> int | None:
        """Return the task's id, however often that takes; ``None`` if there will be none."""
        body = {
            "name": key,
            "command": self._load.command,
            "project_id": self._load.project_id,
            "metadata": self._load.metadata,
        }
        problem = "no answer"
        while _now() - began < self._load.patience_sec:
            try:
                async with self._http.post(
                    "/api/v1/tasks", json=body, headers={"Idempotency-Key": key}
                ) as reply:
                    answer = await reply.read()
            except (aiohttp.ClientError, TimeoutError) as error:
                problem = type(error).__name__
            else:
                if reply.status < 300:
                    self._report.filing.add(_now() - began)
                    return int(msgspec.json.decode(answer)["id"])
                problem = f"{reply.status} {answer[:200].decode(errors='replace')}"
                if reply.status < 500 and reply.status not in _PASSING:
                    self._report.trouble(REFUSED, f"{key}: {problem}")
                    return None
            await asyncio.sleep(RETRY_SEC)
        self._report.trouble(MISSING, f"{key}: {problem}")
        return None

    # --- the end ---

    async def _await_end(self, task_id: int, began: float) -> None:
        stream = f"task-{task_id}"
        status = self._early.pop(stream, "")
        while status not in TERMINAL and (left := began + self._load.patience_sec - _now()) > 0:
            status = await self._heard(stream, min(left, LOOK_SEC)) or await self._seen(task_id)
        if status not in TERMINAL:
            self._report.trouble(MISSING, f"{stream} is {status or 'not to be seen'}")
            return
        self._report.ended[status] += 1
        self._report.life.add(_now() - began)

    async def _heard(self, stream: str, seconds: float) -> str:
        """Return how a task ended, empty when that is not heard in time."""
        future = self._waiting[stream] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                return str(await future)
        except TimeoutError:
            return ""
        finally:
            del self._waiting[stream]

    async def _seen(self, task_id: int) -> str:
        """Return the status a task is shown with, empty when it is not shown."""
        try:
            async with self._http.get(f"/api/v1/tasks/{task_id}") as reply:
                if reply.status != 200:
                    return ""
                return str(msgspec.json.decode(await reply.read())["status"])
        except (aiohttp.ClientError, TimeoutError):
            return ""

    # --- listening ---

    async def _listen(self) -> None:
        reader = Reader()
        while True:
            with suppress(aiohttp.ClientError, TimeoutError, ValueError):
                await self._listen_once(reader)
            await asyncio.sleep(RETRY_SEC)

    async def _listen_once(self, reader: Reader) -> None:
        async with self._http.get(
            "/api/v1/events",
            params=[("type", f"task.{status}") for status in sorted(TERMINAL)],
            headers={"Last-Event-ID": reader.last_id} if reader.last_id else {},
            timeout=aiohttp.ClientTimeout(total=None, sock_read=60),
        ) as reply:
            reply.raise_for_status()
            self._listening.set()
            async for line in reply.content:
                message = reader.line(line.decode())
                if message is not None:
                    self._hear(msgspec.json.decode(message.data))

    def _hear(self, event: Json) -> None:
        if event["data"].get("will_retry"):
            return
        stream, status = str(event["stream"]), str(event["type"]).removeprefix("task.")
        future = self._waiting.get(stream)
        if future is not None and not future.done():
            future.set_result(status)
            return
        self._early[stream] = status
        if len(self._early) > EARLY_MAX:
            self._early.popitem(last=False)


def _now() -> float:
    return asyncio.get_running_loop().time()
