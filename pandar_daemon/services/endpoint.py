"""The one handler behind all doors: a message in, JSON out, or a `Refusal`."""

from __future__ import annotations

import msgspec
import structlog

from events import commands as do
from events import running as tell
from events.subjects import QUEUE
from pandar_daemon.domain.access import require_action
from pandar_daemon.domain.project_secrets import page
from pandar_daemon.domain.refusals import Refusal, Unavailable
from pandar_daemon.domain.resuming import look_up, require_live
from pandar_daemon.domain.task_rules import Stale
from pandar_daemon.domain.task_state import Task
from pandar_daemon.ports import Clock, GrantReads, Leases, Message
from pandar_daemon.services.commands import Commands
from pandar_daemon.services.dispatcher import Dispatcher
from pandar_daemon.services.endings import Endings
from pandar_daemon.services.families import SECRETS
from pandar_daemon.services.pacing import Pacing
from pandar_daemon.services.requests import Request, Requests
from pandar_daemon.services.streams import TASK, Loaded, Streams
from pandar_daemon.telemetry import Metrics

log = structlog.get_logger(__name__)

LOOK_AGE_SEC = 1.0
"""How long a decision that another process appended may go unnoticed here."""


Known = tell.Decided | tell.Granted | tell.Endings | tell.SealedSecrets
"""What runners can ask; nothing changes by it."""


class Endpoint:
    """Answers every command there is."""

    def __init__(
        self,
        *,
        requests: Requests,
        commands: Commands,
        dispatcher: Dispatcher,
        leases: Leases,
        clock: Clock,
        metrics: Metrics,
        streams: Streams,
        grants: GrantReads,
        endings: Endings,
        lease_ttl_sec: float,
        pace: Pacing | None = None,
    ) -> None:
        """Hand requests to the service that knows them, of one user no more than ``pace`` lets."""
        self._pace = pace
        self._streams = streams
        self._grants = grants
        self._endings = endings
        self._requests = requests
        self._commands = commands
        self._dispatcher = dispatcher
        self._leases = leases
        self._clock = clock
        self._metrics = metrics
        self._ttl = lease_ttl_sec

    async def handle(self, message: Message) -> bytes:
        """Return the JSON answer to a message; raises the `Refusal` it deserves."""
        began = self._clock.boottime()
        action, outcome = "unknown", "error"
        try:
            request = await self._requests.read(message)
            action = request.action
            if self._pace is not None:
                self._pace.check(request, queued=message.subject.startswith(f"{QUEUE}."))
            answer = await self._answer(request)
            outcome = "ok"
        except Refusal as refusal:
            outcome = str(refusal.problem.status)
            raise
        finally:
            self._metrics.command(action, outcome, self._clock.boottime() - began)
        return msgspec.json.encode(answer)

    async def _answer(
        self, request: Request
    ) -> do.Accepted | tell.Assignments | tell.Renewed | Known:
        command = request.command
        if request.action.startswith("run."):
            require_action(request.principal, request.action, None, "runner")
        if isinstance(command, tell.Claim):
            return await self._dispatcher.claim(request, command)
        if isinstance(command, tell.Renew):
            return await self._renew(request, command)
        known = await self._known(command)
        return await self._commands.execute(request) if known is None else known

    async def _known(self, command: do.Command) -> Known | None:
        """Return the answer to a question, ``None`` for what is none."""
        match command:
            case tell.LookUpDecision():
                return await self._look_up(command)
            case tell.ListGrants():
                return await self._granted(command)
            case tell.ListEnded():
                return await self._endings.of(command.task_ids)
            case tell.ListSecrets():
                return await self._secrets(command)
            case _:
                return None

    async def _granted(self, command: tell.ListGrants) -> tell.Granted:
        """Return what the project of a live execution consented to."""
        loaded = await self._loaded(command)
        return tell.Granted(items=await self._grants.active(loaded.state.project_id))

    async def _secrets(self, command: tell.ListSecrets) -> tell.SealedSecrets:
        """Return secrets of the project of a live execution, as they are now."""
        project = (await self._loaded(command)).state.project_id
        try:
            loaded = await self._streams.load(SECRETS.kind, project, max_age_sec=LOOK_AGE_SEC)
        except ConnectionError as error:
            raise Unavailable("the database is away; ask again") from error
        items, more = page(loaded.state, command.after)
        key = loaded.state.key
        return tell.SealedSecrets(project_id=project, key=key, items=items, more=more)

    async def _look_up(self, command: tell.LookUpDecision) -> tell.Decided:
        """Return what was decided, by what this process knows or the log says of late."""
        return look_up((await self._loaded(command)).state, command)

    async def _loaded(self, command: tell.OfExecution) -> Loaded[Task]:
        """Return the task of a live execution; raises `Stale` when that is over."""
        try:
            loaded = await self._streams.load(TASK, command.task_id, max_age_sec=LOOK_AGE_SEC)
            try:
                require_live(loaded.state, command)
            except Stale:
                loaded = await self._streams.load(TASK, command.task_id, fresh=True)
                require_live(loaded.state, command)
        except ConnectionError as error:
            raise Unavailable("the database is away; ask again") from error
        return loaded

    async def _renew(self, request: Request, renew: tell.Renew) -> tell.Renewed:
        try:
            states = await self._leases.renew(request.holder, renew.leases, self._ttl)
        except ConnectionError as error:
            raise Unavailable("the database is away; renew again") from error
        return tell.Renewed(ttl_sec=self._ttl, leases=states)
