"""The doors of one execution's box, and who asks on behalf of whoever comes to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec import Struct, structs

from events.running import Assignment
from pandar_daemon.domain.redaction import Redactor
from pandar_daemon.domain.talking import Terms
from pandar_daemon.ports import Box, Inquire, Process
from pandar_daemon.ports.sandbox import CONTROL
from pandar_daemon.services.broker import Broker, Service
from pandar_daemon.services.callers import Callers
from pandar_daemon.services.consent import Consent
from pandar_daemon.services.git_access import GitAccess
from pandar_daemon.services.git_orders import GitOrders
from pandar_daemon.services.granted import Grants
from pandar_daemon.services.inquiries import Asking, Inquiries
from pandar_daemon.services.line import Line
from pandar_daemon.services.making import Tree
from pandar_daemon.services.means import Means
from pandar_daemon.services.pushing import Pushing, Site
from pandar_daemon.services.recording import Recording
from pandar_daemon.services.secret_orders import SecretOrders
from pandar_daemon.services.secrets import Secrets
from pandar_daemon.services.tool_orders import ToolOrders, Workshop
from pandar_daemon.services.way_out import Attempts, outward_of
from pandar_daemon.services.workspace import Work


class Keeping(Struct, frozen=True, kw_only=True):
    """Whose doors are kept: of a process in ``tree``.

    ``callers`` are an agent's; whoever else runs asks by itself, with ``consent`` and ``wait``.
    """

    assignment: Assignment
    work: Work
    tree: Tree
    line: Line
    redactor: Redactor
    consent: Consent
    wait: Callable[[bool], Awaitable[None]]
    callers: Callers | None = None

    @property
    def box(self) -> Box | None:
        """What confines whoever works for it beside its own process."""
        box = self.work.spec.box
        return None if box is None else structs.replace(box, doors=(), overlays={})


@asynccontextmanager
async def kept(means: Means, keeping: Keeping, process: Process) -> AsyncIterator[None]:
    """Serve the doors of a process as long as it lives; what is being done then is done first."""
    if not process.doors:
        yield
        return
    inquire = (keeping.callers or _inquiries(means, keeping)).inquire
    secrets = Secrets(keeping.line, means.vault)
    async with AsyncExitStack() as stack:
        pushing = _pushing(means, keeping, secrets, inquire, stack)
        workshop = _workshop(means, keeping, secrets)
        tools = ToolOrders(workshop, inquire)
        git, released = GitOrders(pushing), SecretOrders(secrets, inquire)
        served: dict[str, Service] = {
            "git": git,
            "pandar-secret": released,
            **dict.fromkeys(workshop.tools, tools),
        }
        broker = Broker(served, tools)
        if keeping.callers is not None and CONTROL in process.doors:
            keeping.callers.foresee = lambda asked: broker.foresee(asked, keeping.work.spec.cwd)
        attempts = Attempts(keeping.line)
        stack.push_async_callback(attempts.close)
        outward = outward_of(keeping.assignment, keeping.work.launch)
        serving = means.openings.serving(
            process.doors, broker.order, outward, inquire, attempts.tell
        )
        await stack.enter_async_context(serving)
        yield


def _inquiries(means: Means, keeping: Keeping) -> Inquiries:
    assignment, work = keeping.assignment, keeping.work
    grants = Grants(assignment, keeping.line, means.clock, work.spec.cwd, work.home)
    asking = Asking(
        assignment=assignment,
        consent=keeping.consent,
        recording=Recording(keeping.line),
        grants=grants,
        wait=keeping.wait,
    )
    terms = Terms(
        agent="",
        prompt="",
        rules=assignment.rules,
        workspace=work.spec.cwd,
        home=work.home,
        allowances=tuple(assignment.allowances),
    )
    return Inquiries(asking, terms)


def _pushing(
    means: Means, keeping: Keeping, secrets: Secrets, inquire: Inquire, stack: AsyncExitStack
) -> Pushing | None:
    """Return who pushes for it, if the project has a repository: done with as ``stack`` is."""
    repository = keeping.assignment.repository
    if repository is None:
        return None
    access = GitAccess(secrets, repository.url, means.data)
    stack.callback(access.close)
    site = Site(
        url=repository.url,
        own=keeping.tree.branch,
        base=repository.base_branch,
        protected=tuple(keeping.assignment.confines.protected),
        objects=means.trees.objects(repository.url),
        box=keeping.box,
        admit=access.admission,
        redact=keeping.redactor.bytes,
    )
    pushing = Pushing(
        site,
        means.trees.git,
        means.data / "quarantine",
        inquire=inquire,
        line=keeping.line,
        clock=means.clock,
    )
    stack.push_async_callback(pushing.close)
    return pushing


def _workshop(means: Means, keeping: Keeping, secrets: Secrets) -> Workshop:
    repository = keeping.assignment.repository
    return Workshop(
        host=means.host,
        clock=means.clock,
        folder=means.data / "outside",
        path=means.path,
        tools=means.openings.tools(keeping.assignment.project_id),
        openings=means.openings,
        secrets=secrets,
        workspace=keeping.work.spec.cwd,
        box=keeping.box,
        repository=repository.url if repository is not None else "",
        branch=keeping.tree.branch,
        redact=keeping.redactor.bytes,
    )
