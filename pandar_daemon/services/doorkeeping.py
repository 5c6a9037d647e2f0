"""The doors of one execution's box, and who asks on behalf of whoever comes to them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from msgspec import Struct

from events.running import Assignment
from pandar_daemon.domain.talking import Terms
from pandar_daemon.ports import Ending, Inquire, Order, Process, Show
from pandar_daemon.services.broker import Broker, refuse
from pandar_daemon.services.consent import Consent
from pandar_daemon.services.git_orders import GitOrders
from pandar_daemon.services.granted import Grants
from pandar_daemon.services.inquiries import Asking, Inquiries
from pandar_daemon.services.line import Line
from pandar_daemon.services.means import Means
from pandar_daemon.services.pushing import Pushing, Site
from pandar_daemon.services.recording import Recording
from pandar_daemon.services.way_out import Attempts, outward_of
from pandar_daemon.services.workspace import Work


class Keeping(Struct, frozen=True, kw_only=True):
    """Whose doors are kept; without ``site`` there is nowhere to push to.

    ``inquire`` is an agent's; whoever else runs asks by itself, with ``consent`` and ``wait``.
    """

    assignment: Assignment
    work: Work
    line: Line
    consent: Consent
    wait: Callable[[bool], Awaitable[None]]
    inquire: Inquire | None = None
    site: Site | None = None


@asynccontextmanager
async def kept(means: Means, keeping: Keeping, process: Process) -> AsyncIterator[None]:
    """Serve the doors of a process as long as it lives; what is being done then is done first."""
    inquire = keeping.inquire or _inquiries(means, keeping).inquire
    pushing = _pushing(means, keeping, inquire)
    broker = Broker({"git": GitOrders(pushing).order}, _unknown)
    async with AsyncExitStack() as stack:
        if pushing is not None:
            stack.push_async_callback(pushing.close)
        attempts = Attempts(keeping.line)
        stack.push_async_callback(attempts.close)
        outward = outward_of(keeping.assignment, keeping.work.launch)
        served = means.openings.serving(
            process.doors, broker.order, outward, inquire, attempts.tell
        )
        await stack.enter_async_context(served)
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


def _pushing(means: Means, keeping: Keeping, inquire: Inquire) -> Pushing | None:
    if keeping.site is None:
        return None
    return Pushing(
        keeping.site,
        means.trees.git,
        means.data / "quarantine",
        inquire=inquire,
        line=keeping.line,
        clock=means.clock,
    )


async def _unknown(order: Order, show: Show) -> Ending:
    return await refuse(
        show,
        f"{order.tool}: this reaches out of the sandbox, and nobody has configured how."
        f" The project's owner can: [projects.N.tools.{order.tool}] in pandar.toml",
    )
