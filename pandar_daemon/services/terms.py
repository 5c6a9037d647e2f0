"""The terms of a conversation with an agent, from all that says something about them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from events.running import Assignment
from pandar_daemon.domain.money import Price
from pandar_daemon.domain.options import TaskOptions
from pandar_daemon.domain.talking import Terms
from pandar_daemon.services.workspace import Work


def terms_of(
    assignment: Assignment, wanted: TaskOptions, work: Work, prices: Mapping[str, Price]
) -> Terms:
    """Return what a conversation is about, as task, agent and folder say."""
    assert work.launch is not None  # noqa: S101 - it is an agent's
    context = wanted.context
    return Terms(
        agent=assignment.agent or "",
        prompt=assignment.prompt,
        rules=assignment.rules,
        workspace=work.spec.cwd,
        home=work.home,
        allowances=tuple(assignment.allowances),
        resume=assignment.resume,
        context=context if isinstance(context, str) else msgspec.json.encode(context).decode(),
        spent=assignment.spent,
        max_cost_usd=wanted.max_cost_usd,
        max_tokens=wanted.max_tokens,
        price=prices.get(work.launch.model),
        park_after_sec=wanted.park_after_sec,
        proxy=wanted.proxy_agent or "",
        proxy_answers=wanted.max_proxy_answers if wanted.proxy_agent else 0,
        tells_usage=work.launch.tells_usage,
        denies_softly=work.launch.denies_softly,
        hears_reasons=work.launch.hears_reasons,
    )
