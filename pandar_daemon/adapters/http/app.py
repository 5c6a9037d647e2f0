"""The HTTP API of Pandar: which path leads where, and how it is served.

Reads come from the read models and the log; writes are commands. No handler writes anything
itself.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import AbstractAsyncContextManager
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from pandar_daemon.adapters.http import (
    confirmations,
    diffs,
    events,
    grants,
    health,
    history,
    limiting,
    links,
    middlewares,
    notification_settings,
    notifications,
    openapi,
    output,
    projects,
    secrets,
    task_actions,
    task_events,
    tasks,
    usage,
)
from pandar_daemon.adapters.http.deps import Deps
from pandar_daemon.adapters.http.guesses import Guesses
from pandar_daemon.adapters.http.listening import listening
from pandar_daemon.adapters.http.streaming import STREAMS, Streams
from pandar_daemon.adapters.http.visibility import Membership

PREFIX: Final = "/api/v1"

ROUTES: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("GET", "/tasks", tasks.page),
    ("POST", "/tasks", tasks.create),
    ("GET", "/tasks/stats", tasks.stats),
    ("GET", "/tasks/search", tasks.search),
    ("GET", "/tasks/recent", tasks.recent),
    ("GET", "/tasks/running", tasks.running),
    ("POST", "/tasks/bulk", task_actions.bulk),
    ("GET", "/tasks/{id}", tasks.get),
    ("PUT", "/tasks/{id}", tasks.update),
    ("DELETE", "/tasks/{id}", tasks.delete),
    ("POST", "/tasks/{id}/action", task_actions.act),
    ("POST", "/tasks/{id}/confirm", task_actions.confirm),
    ("POST", "/tasks/{id}/cancel", task_actions.cancel),
    ("POST", "/tasks/{id}/retry", task_actions.retry),
    ("POST", "/tasks/{id}/execute", task_actions.execute),
    ("POST", "/tasks/{id}/link", confirmations.link),
    ("GET", "/tasks/{id}/confirmations", confirmations.of_task),
    ("GET", "/tasks/{id}/output", output.get),
    ("GET", "/tasks/{id}/diff", diffs.get),
    ("GET", "/tasks/{id}/logs", history.logs),
    ("GET", "/tasks/{id}/executions", history.executions),
    ("GET", "/tasks/{id}/usage", usage.of_task),
    ("GET", "/tasks/{id}/timeline", history.timeline),
    ("GET", "/tasks/{id}/stream", task_events.stream),
    ("GET", "/confirmations", confirmations.page),
    ("GET", "/confirmations/{confirmation_id}", confirmations.get),
    ("GET", "/events", events.stream),
    ("GET", "/usage", usage.sums),
    ("GET", "/projects/{id}/grants", grants.page),
    ("POST", "/projects/{id}/grants", grants.create),
    ("POST", "/grants/{grant}/revoke", grants.revoke),
    ("GET", "/projects", projects.page),
    ("POST", "/projects", projects.create),
    ("GET", "/projects/{id}", projects.get),
    ("PUT", "/projects/{id}", projects.update),
    ("GET", "/projects/{id}/members", projects.members),
    ("POST", "/projects/{id}/members", projects.add_member),
    ("DELETE", "/projects/{id}/members/{user}", projects.remove_member),
    ("GET", "/projects/{id}/secrets", secrets.page),
    ("PUT", "/projects/{id}/secrets/{secret}", secrets.put),
    ("DELETE", "/projects/{id}/secrets/{secret}", secrets.remove),
    ("POST", "/secrets/rekey", secrets.rekey),
    ("GET", "/projects/{id}/notifications", notification_settings.project_settings),
    ("POST", "/projects/{id}/notifications", notification_settings.change_project_settings),
    ("GET", "/notifications", notifications.page),
    ("POST", "/notifications/read", notifications.read_all),
    ("GET", "/notifications/settings", notification_settings.settings),
    ("POST", "/notifications/settings", notification_settings.change_settings),
    ("POST", "/notifications/{notification}/read", notifications.mark_read),
    ("POST", "/notifications/{notification}/unread", notifications.mark_unread),
    ("GET", "/openapi.json", openapi.get),
)
"""The API, below its prefix; a slash at the end of a path makes no difference."""

PROBES: Final[tuple[tuple[str, Handler], ...]] = (
    ("/healthz", health.alive),
    ("/readyz", health.ready),
    ("/metrics", health.metrics),
)

PAGES: Final[tuple[tuple[str, str, Handler], ...]] = (
    ("GET", "/a/{token}", links.show),
    ("POST", "/a/{token}", links.decide),
    ("GET", "/a/{token}/state", links.state),
    ("GET", "/assets/{name}", links.asset),
)
"""What browsers ask for, without any token but the one in the path; also by ``HEAD``."""

SERVED: Final = openapi.Served(PREFIX, ROUTES, PROBES)


def build_app(needs: Deps) -> web.Application:
    """Return the application; it starts nothing by itself."""
    app = web.Application(client_max_size=needs.limits.body_bytes)
    middlewares.install(app, needs)
    app[events.MEMBERSHIP] = Membership(needs)
    app[links.GUESSES], app[links.TELLING] = Guesses(needs.clock), set()
    app[limiting.COUNTERS] = limiting.Counters(needs)
    app[STREAMS] = streams = Streams()
    app[openapi.SERVED] = SERVED
    app[health.LATENESS] = defaultdict(health.Lateness)
    app.on_shutdown.append(streams.close)
    for method, path, handler in ROUTES:
        for slash in ("", "/"):
            app.router.add_route(method, f"{PREFIX}{path}{slash}", handler)
    for path, handler in PROBES:
        app.router.add_get(path, handler)
    for method, path, handler in PAGES:
        app.router.add_route(method, path, handler)
        if method == "GET":
            app.router.add_route("HEAD", path, handler)
    return app


def serving(needs: Deps, host: str, port: int) -> AbstractAsyncContextManager[int]:
    """Serve the API while the context lasts, and give the port it listens on; see `listening`."""
    return listening(build_app(needs), needs.limits, host, port)
