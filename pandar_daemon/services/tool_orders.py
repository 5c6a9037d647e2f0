"""Tools that reach out of a box, run outside of it by the runner: where the owner set them up.

Each runs in a box of its own, with the project's secrets and none of its files: an empty folder, or
the task's workspace to read, and only the hosts its owner named. What it writes goes back to who
ordered it, without the secrets.
"""

from __future__ import annotations

import asyncio
import shlex
import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Final

from msgspec import Struct

from events.calls import TEXT_MAX, CallKind, ToolCall
from events.secret import SecretUse
from pandar_daemon.domain.outside_tools import completed, is_inside
from pandar_daemon.domain.refusals import Refusal
from pandar_daemon.ports import (
    Blocked,
    Box,
    Clock,
    Ending,
    Inquire,
    Locked,
    Order,
    Outward,
    Permission,
    Process,
    ProcessHost,
    Show,
    Spec,
)
from pandar_daemon.ports.sandbox import PROXY, PROXY_URL
from pandar_daemon.services import errand
from pandar_daemon.services.broker import refuse
from pandar_daemon.services.openings import Openings, Tool
from pandar_daemon.services.secrets import Secrets

OUTPUT_MAX: Final = 2**22
"""Bytes of what a tool writes that are shown."""
_PROXIES: Final = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")


class Workshop(Struct, frozen=True, kw_only=True):
    """What tools are run with: ``box`` is that of the task, without doors, ``None`` without one.

    ``repository`` and ``branch`` are the task's; ``redact`` takes secrets out of what is shown.
    """

    host: ProcessHost
    clock: Clock
    folder: Path
    path: str
    tools: Mapping[str, Tool]
    openings: Openings
    secrets: Secrets
    workspace: str
    box: Box | None = None
    repository: str = ""
    branch: str = ""
    redact: Callable[[bytes], bytes] = bytes


class ToolOrders:
    """Those of one execution."""

    def __init__(self, shop: Workshop, inquire: Inquire) -> None:
        self._shop = shop
        self._inquire = inquire

    async def order(self, order: Order, show: Show) -> Ending:
        """See `ports.Orders`."""
        if is_inside(order.tool, order.argv):
            return Ending(argv=order.argv)
        tool = self._shop.tools.get(order.tool)
        if tool is None:
            return await refuse(show, _unconfigured(order.tool))
        call = _call(order, tool)
        permission = await self._inquire(call, f"{order.tool}, outside of the sandbox")
        if not permission.allowed:
            return await refuse(show, permission.text)
        try:
            return await self._run(order, tool, show)
        except (OSError, Locked, Refusal, TimeoutError) as error:
            why = str(error) or f"it took longer than {tool.timeout_sec:g} s"
            await show.error(self._shop.redact(f"{order.tool}: {why}\n".encode()))
            return Ending(exit_code=1)

    async def foresee(self, order: Order) -> ToolCall | None:
        """See `services.broker.Service`."""
        tool = self._shop.tools.get(order.tool)
        return None if tool is None or is_inside(order.tool, order.argv) else _call(order, tool)

    async def _run(self, order: Order, tool: Tool, show: Show) -> Ending:
        shop = self._shop
        folder = shop.folder / str(shop.clock.new_id())
        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True)
        try:
            spec = self._spec(order, tool, str(folder), await self._environment(tool))
            async with asyncio.timeout(tool.timeout_sec):
                told = await errand.run(
                    shop.host, spec, limit=OUTPUT_MAX, opened=self._opened(tool)
                )
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        await show.output(shop.redact(told.output))
        if told.complaint:
            await show.error(shop.redact(f"{told.complaint}\n".encode()))
        return Ending(exit_code=1 if told.exit_code is None else told.exit_code)

    async def _environment(self, tool: Tool) -> dict[str, str]:
        """Return the secrets of a tool; raises `Locked` when there is one that cannot be had."""
        values: dict[str, str] = {}
        for name in tool.secrets:
            secret = await self._shop.secrets.get(name)
            if secret is None or secret.use is not SecretUse.ENV:
                raise Locked(f"the project has no secret {name} of use env: set it first")
            values[name] = secret.value
        return values

    def _spec(self, order: Order, tool: Tool, folder: str, values: Mapping[str, str]) -> Spec:
        shop = self._shop
        box, proxied = shop.box, {}
        if box is not None:
            readable = (*box.readable, *((shop.workspace,) if tool.workspace else ()))
            box = Box(
                level=box.level,
                writable=(folder,),
                readable=readable,
                doors=(PROXY,),
                limits=box.limits,
            )
            proxied = dict.fromkeys(_PROXIES, PROXY_URL)
        argv, extra = completed(order.tool, order.argv, shop.repository, shop.branch)
        return Spec(
            execution_id=shop.clock.new_id(),
            argv=(*(tool.argv or (order.tool,)), *argv),
            cwd=shop.workspace if tool.workspace else folder,
            environment={
                "PATH": shop.path,
                "HOME": folder,
                "TMPDIR": folder,
                "LANG": "C.UTF-8",
                "TERM": "dumb",
                **extra,
                **proxied,
                **tool.env,
                **values,
            },
            box=box,
        )

    def _opened(self, tool: Tool) -> errand.Opened:
        def opened(process: Process) -> AbstractAsyncContextManager[None]:
            outward = Outward(hosts=tool.hosts)
            return self._shop.openings.serving(process.doors, _no_orders, outward, _no, _untold)

        return opened


async def _no_orders(_order: Order, show: Show) -> Ending:
    return await refuse(show, "there is no box within a box")  # pragma: no cover - it has no door


async def _no(_call: ToolCall, _why: str) -> Permission:
    return Permission(allowed=False, text="it is not among the hosts of this tool in pandar.toml")


async def _untold(_attempt: Blocked) -> None:
    """Leave it to the tool to complain: its owner named its hosts."""


def _call(order: Order, tool: Tool) -> ToolCall:
    command = shlex.join([order.tool, *order.argv])
    return ToolCall(
        kind=CallKind.EXECUTE,
        tool=order.tool,
        title=command[:200],
        command=command[:TEXT_MAX],
        cwd=order.cwd[:1_000],
        hosts=list(tool.hosts)[:20],
    )


def _unconfigured(tool: str) -> str:
    return (
        f"{tool}: this reaches out of the sandbox, and nobody has set up how. The owner of this"
        f" Pandar can, in pandar.toml: [projects.N.tools.{tool}] with secrets and hosts"
    )
