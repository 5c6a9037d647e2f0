"""What each route takes and gives, for the description of the API."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from msgspec import Struct

from events.commands import (
    AddMember,
    CancelTask,
    Command,
    ConfirmTask,
    CreateProject,
    CreateTask,
    RetryTask,
    StartTask,
    UpdateProject,
    UpdateTask,
)
from events.grant import RevokeGrant
from events.notifying import MarkAllRead
from events.task import Json
from pandar_daemon.adapters.http import (
    answers,
    confirmation_answers,
    confirmations,
    diffs,
    events,
    grants,
    history,
    notification_settings,
    notifications,
    output,
    projects,
    secrets,
    task_events,
    tasks,
    usage,
)
from pandar_daemon.adapters.http import task_actions as actions
from pandar_daemon.adapters.http.params import Query

ANY_TIME: Final = (400, 401, 403, 404, 422, 429, 500, 503)
"""With what any request to the API may be refused."""
OF_WRITES: Final = (*ANY_TIME, 409, 412, 413, 415)
OF_STREAMS: Final = ANY_TIME

_WRITTEN: Final = ("ETag", "Pandar-Command-Id", "Pandar-Position")
_TEXT: Final = "text/plain"
_SSE: Final = "text/event-stream"


class Operation(Struct, frozen=True, kw_only=True):
    """One method of one path; the text for people is its handler's docstring.

    ``takes`` and ``gives`` are the names of headers; ``command`` is what it sends on the bus.
    ``media`` are the types of an answer that is not, or not only, JSON.
    """

    name: str
    answer: object = None
    query: type[Query] | None = None
    body: type[Struct] | None = None
    status: HTTPStatus = HTTPStatus.OK
    command: str | None = None
    takes: tuple[str, ...] = ("Pandar-Min-Position",)
    gives: tuple[str, ...] = ()
    media: tuple[str, ...] = ()
    refusals: tuple[int, ...] = ANY_TIME
    others: tuple[int, ...] = ()
    security: list[dict[str, list[str]]] | None = None


def _one(name: str, answer: type[Struct], query: type[Query] | None = None) -> Operation:
    takes = ("If-None-Match", "Pandar-Min-Position")
    return Operation(
        name=name, answer=answer, query=query, takes=takes, gives=("ETag",), others=(304,)
    )


def _write(
    name: str,
    command: str | None,
    body: type[Command | Struct] | None,
    answer: type[Struct] | None = answers.Task,
    *,
    status: HTTPStatus = HTTPStatus.OK,
    query: type[Query] | None = None,
) -> Operation:
    return Operation(
        name=name,
        answer=answer,
        query=query,
        body=body,
        status=status,
        command=command,
        takes=("Idempotency-Key", "If-Match"),
        gives=(*_WRITTEN, "Location") if status is HTTPStatus.CREATED else _WRITTEN,
        refusals=OF_WRITES,
    )


def _stream(name: str, query: type[Query]) -> Operation:
    takes = ("Last-Event-ID", "Pandar-Min-Position")
    return Operation(name=name, query=query, takes=takes, media=(_SSE,), refusals=OF_STREAMS)


def _probe(name: str, answer: object, *media: str, others: tuple[int, ...] = ()) -> Operation:
    return Operation(
        name=name, answer=answer, media=media, takes=(), refusals=(), others=others, security=[]
    )


_CREATED: Final = HTTPStatus.CREATED
_GONE: Final = HTTPStatus.NO_CONTENT

OPERATIONS: Final[dict[str, Operation]] = {
    "GET /tasks": Operation(name="listTasks", answer=answers.TaskPage, query=tasks.Listing),
    "POST /tasks": _write("createTask", "task.create", CreateTask, status=_CREATED),
    "GET /tasks/stats": Operation(
        name="getTaskStats", answer=answers.TaskStats, query=tasks.OfProject
    ),
    "GET /tasks/search": Operation(
        name="searchTasks", answer=answers.TaskPage, query=tasks.Searching
    ),
    "GET /tasks/recent": Operation(
        name="listRecentTasks", answer=list[answers.Task], query=tasks.Few
    ),
    "GET /tasks/running": Operation(
        name="listRunningTasks", answer=list[answers.Task], query=tasks.Few
    ),
    "POST /tasks/bulk": Operation(
        name="actOnTasks",
        answer=answers.BulkResult,
        body=actions.BulkAction,
        takes=("Idempotency-Key",),
        refusals=(*ANY_TIME, 413, 415),
    ),
    "GET /tasks/{id}": _one("getTask", answers.Task, tasks.At),
    "PUT /tasks/{id}": _write("updateTask", "task.update", UpdateTask),
    "DELETE /tasks/{id}": _write(
        "deleteTask", "task.delete", None, None, status=_GONE, query=tasks.Deletion
    ),
    "POST /tasks/{id}/action": _write("actOnTask", None, actions.TaskAction),
    "POST /tasks/{id}/confirm": _write("confirmTask", "task.confirm", ConfirmTask),
    "POST /tasks/{id}/cancel": _write("cancelTask", "task.cancel", CancelTask, query=actions.Why),
    "POST /tasks/{id}/retry": _write("retryTask", "task.retry", RetryTask, query=actions.Why),
    "POST /tasks/{id}/execute": _write("executeTask", "task.start", StartTask, query=actions.Why),
    "GET /tasks/{id}/output": Operation(
        name="getTaskOutput",
        answer=answers.Output,
        query=output.Wanted,
        takes=("Range", "Pandar-Min-Position"),
        gives=("Pandar-Output-Offset", "Pandar-Attempt"),
        media=(_TEXT,),
        refusals=(*OF_STREAMS, 416),
        others=(206,),
    ),
    "GET /tasks/{id}/diff": Operation(
        name="getTaskDiff",
        answer=diffs.TaskDiff,
        query=diffs.Wanted,
        takes=("If-None-Match", "Pandar-Min-Position"),
        gives=("ETag", "Pandar-Checkpoint"),
        media=(diffs.PATCH, _TEXT),
        others=(304,),
    ),
    "GET /tasks/{id}/logs": Operation(
        name="getTaskLogs", answer=answers.LogPage, query=history.Logs
    ),
    "GET /tasks/{id}/executions": Operation(
        name="listTaskExecutions", answer=answers.ExecutionPage, query=history.Pages
    ),
    "GET /tasks/{id}/usage": Operation(name="getTaskUsage", answer=usage.TaskUsage),
    "GET /tasks/{id}/timeline": Operation(
        name="getTaskTimeline", answer=answers.Timeline, query=history.After
    ),
    "GET /tasks/{id}/stream": _stream("streamTask", task_events.Wanted),
    "POST /tasks/{id}/link": Operation(
        name="linkTask",
        answer=confirmation_answers.Link,
        body=confirmations.LinkWanted,
        takes=(),
        refusals=OF_WRITES,
    ),
    "GET /tasks/{id}/confirmations": Operation(
        name="listTaskConfirmations",
        answer=confirmation_answers.ConfirmationHistory,
        query=confirmations.Pages,
    ),
    "GET /confirmations": Operation(
        name="listConfirmations",
        answer=confirmation_answers.ConfirmationPage,
        query=confirmations.Listing,
    ),
    "GET /confirmations/{confirmation_id}": Operation(
        name="getConfirmation", answer=confirmation_answers.Confirmation
    ),
    "GET /events": _stream("streamEvents", events.Wanted),
    "GET /projects/{id}/grants": Operation(name="listGrants", answer=grants.GrantList),
    "POST /projects/{id}/grants": _write(
        "createGrant", None, grants.NewGrant, grants.Grant, status=HTTPStatus.CREATED
    ),
    "POST /grants/{grant}/revoke": _write("revokeGrant", "grant.revoke", RevokeGrant, grants.Grant),
    "GET /usage": Operation(name="sumUsage", answer=usage.UsageSums, query=usage.Wanted),
    "GET /projects": Operation(
        name="listProjects", answer=answers.ProjectPage, query=projects.Listing
    ),
    "POST /projects": _write(
        "createProject", "project.create", CreateProject, answers.Project, status=_CREATED
    ),
    "GET /projects/{id}": _one("getProject", answers.Project),
    "PUT /projects/{id}": _write("updateProject", "project.update", UpdateProject, answers.Project),
    "GET /projects/{id}/members": Operation(name="listMembers", answer=answers.MemberList),
    "POST /projects/{id}/members": _write(
        "addMember", "project.add_member", AddMember, answers.Project, status=_CREATED
    ),
    "DELETE /projects/{id}/members/{user}": _write(
        "removeMember", "project.remove_member", None, None, status=_GONE
    ),
    "GET /projects/{id}/secrets": Operation(name="listSecrets", answer=secrets.SecretList),
    "PUT /projects/{id}/secrets/{secret}": _write(
        "setSecret", None, secrets.NewSecret, secrets.ProjectSecret
    ),
    "DELETE /projects/{id}/secrets/{secret}": _write(
        "removeSecret",
        "project.remove_secret",
        None,
        None,
        status=_GONE,
    ),
    "POST /secrets/rekey": Operation(
        name="rekeySecrets", answer=secrets.Rekeyed, takes=(), refusals=ANY_TIME
    ),
    "GET /projects/{id}/notifications": Operation(
        name="getProjectNotificationSettings", answer=notification_settings.NotificationSettings
    ),
    "POST /projects/{id}/notifications": _write(
        "changeProjectNotificationSettings",
        None,
        notification_settings.NewSettings,
        notification_settings.NotificationSettings,
    ),
    "GET /notifications": Operation(
        name="listNotifications",
        answer=notifications.NotificationPage,
        query=notifications.Listing,
    ),
    "POST /notifications/read": _write(
        "readNotifications", "notification.read_all", MarkAllRead, notifications.AllRead
    ),
    "GET /notifications/settings": Operation(
        name="getNotificationSettings", answer=notification_settings.NotificationSettings
    ),
    "POST /notifications/settings": _write(
        "changeNotificationSettings",
        None,
        notification_settings.NewSettings,
        notification_settings.NotificationSettings,
    ),
    "POST /notifications/{notification}/read": _write(
        "readNotification", None, None, notifications.Notification
    ),
    "POST /notifications/{notification}/unread": _write(
        "unreadNotification", None, None, notifications.Notification
    ),
    "GET /openapi.json": _probe("getDescription", Json),
    "GET /healthz": _probe("getAlive", answers.Alive),
    "GET /readyz": _probe("getReady", answers.Ready, others=(503,)),
    "GET /metrics": Operation(
        name="getMetrics",
        media=(_TEXT,),
        takes=(),
        refusals=(401, 403),
        security=[{}, {"bearerAuth": []}],
    ),
}
"""Every route by method and path, below the prefix but for the probes."""
