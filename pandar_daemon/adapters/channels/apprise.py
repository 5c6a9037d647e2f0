"""Everything else, through Apprise: in a thread, for it waits for the network itself.

Apprise is optional: ``pip install pandar-daemon[apprise]``. It opens its own connections, so the
host a channel names is judged beforehand; that another one answers to the name a moment later is
not excluded. Redirects are off.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

from pandar_daemon.adapters.channels.outbound import Blocked, Guard
from pandar_daemon.ports import Delivered, Fate, Notice

TIMEOUT_SEC: Final = 25.0
_MISSING: Final = Delivered(
    fate=Fate.REFUSED,
    detail="this channel needs Apprise, which is not installed: pip install pandar-daemon[apprise]",
)


class AppriseChannel:
    """Sends what no channel of our own can."""

    def __init__(self, guard: Guard) -> None:
        """Ask ``guard`` about the hosts that channels name."""
        self._guard = guard

    async def send(self, url: str, notice: Notice) -> Delivered:
        """Send a message; done when Apprise says so, which tells no reason when it is not."""
        try:
            async with asyncio.timeout(TIMEOUT_SEC):
                return await self._send(url, notice)
        except ImportError:
            return _MISSING
        except Blocked as error:
            return Delivered(fate=Fate.REFUSED, detail=str(error))
        except OSError as error:
            return Delivered(fate=Fate.LATER, detail=f"no answer: {type(error).__name__}")

    async def _send(self, url: str, notice: Notice) -> Delivered:
        service = await asyncio.to_thread(_service, url)
        if service is None:
            return Delivered(fate=Fate.REFUSED, detail="Apprise cannot read this channel")
        await self._check(service)
        if await asyncio.to_thread(_notify, service, notice.title, _body(notice)):
            return Delivered(fate=Fate.SENT)
        return Delivered(fate=Fate.LATER, detail="Apprise could not send it")

    async def _check(self, service: Any) -> None:  # noqa: ANN401 - Apprise is optional
        """Raise `Blocked` when the service is on a host that must not be called."""
        host = str(service.host or "")
        if not host or not any("{host}" in template for template in service.templates):
            return
        try:
            await self._guard.addresses(host, int(service.port or 443))
        except TimeoutError:
            raise
        except OSError:
            if "." in host:
                raise
            # A word without a dot that is no host here is a topic or a key of a public service.


def _service(url: str) -> Any:  # noqa: ANN401 - Apprise is optional
    """Return Apprise's own object for a channel, ``None`` when it knows no such one."""
    import apprise  # noqa: PLC0415 - optional, and it takes a second

    asset = apprise.AppriseAsset(
        app_id="Pandar",
        app_desc="Pandar",
        app_url="",
        async_mode=False,
        secure_logging=True,
        http_redirects=False,
        storage_mode=apprise.PersistentStoreMode.MEMORY,
    )
    service = apprise.Apprise.instantiate(url, asset=asset, suppress_exceptions=True)
    if service is not None:
        service.redirects = False
    return service


def _notify(service: Any, title: str, body: str) -> bool:  # noqa: ANN401 - Apprise is optional
    import apprise  # noqa: PLC0415 - optional

    everything = apprise.Apprise(service)
    said = everything.notify(body=body, title=title, body_format=apprise.NotifyFormat.TEXT)
    return bool(said)


def _body(notice: Notice) -> str:
    parts = []
    for item in notice.items:
        title = "" if len(notice.items) == 1 else item.title
        parts.append("\n".join(line for line in (title, item.content, item.url) if line))
    return "\n\n".join(parts)
