"""What ``git`` is ordered to do outside a box: pushes; whatever fetches is told what to do."""

from __future__ import annotations

from typing import Final

from events.calls import ToolCall
from pandar_daemon.domain.remotes import is_same, protocol_of
from pandar_daemon.ports import Ending, Order, Show
from pandar_daemon.services.broker import refuse
from pandar_daemon.services.pushing import Pushing

_TAKING: Final = frozenset({"-C", "-c", "--git-dir", "--work-tree", "--namespace", "--config-env"})
_FETCHING: Final = frozenset({"fetch", "pull", "ls-remote", "clone"})
_UNFETCHED: Final = (
    "git {verb}: the project's repository cannot be reached from a sandbox. The clone has what it"
    " had when the task began, as origin/*"
)
_PLUMBING: Final = frozenset({"send-pack", "http-push"})


class GitOrders:
    """Those of one execution; without ``pushing`` the project has no repository."""

    def __init__(self, pushing: Pushing | None) -> None:
        self._pushing = pushing

    async def order(self, order: Order, show: Show) -> Ending:
        """See `ports.Orders`."""
        verb = verb_of(order.argv)
        if verb in _PLUMBING:
            return await refuse(show, f"git {verb} is not offered in a sandbox: use git push")
        if verb == "lfs":
            return await refuse(show, "git lfs cannot reach its server from a sandbox")
        if self._pushing is not None and verb in _FETCHING and self._is_ours(order):
            return await refuse(show, _UNFETCHED.format(verb=verb))
        if verb != "push" or self._pushing is None:
            return Ending(argv=order.argv)  # in the box: as far as its hosts let it
        return await self._pushing.push(order, show)

    def _is_ours(self, order: Order) -> bool:
        """Tell whether it is about the project's repository, and that is beyond every proxy."""
        if self._pushing is None or protocol_of(self._pushing.url) not in {"ssh", "file"}:
            return False
        words = order.argv[order.argv.index(verb_of(order.argv)) + 1 :]
        named = next((word for word in words if not word.startswith("-")), "origin")
        return named == "origin" or is_same(named, self._pushing.url)

    async def foresee(self, order: Order) -> ToolCall | None:
        """See `services.broker.Service`."""
        if self._pushing is None or verb_of(order.argv) != "push":
            return None
        return await self._pushing.foresee(order)


def verb_of(argv: tuple[str, ...]) -> str:
    """Return which command of git is meant; empty when none is."""
    words = iter(argv)
    for word in words:
        if word in _TAKING:
            next(words, "")
        elif not word.startswith("-"):
            return word
    return ""
