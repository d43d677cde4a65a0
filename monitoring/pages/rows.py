"""Executions as lists show them: everything said in Python, so that templates only place it."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterable
from dataclasses import dataclass

from django.utils import timezone

from monitoring.models import Execution
from monitoring.pages.addresses import execution_urls
from monitoring.words import LOST, Status


@dataclass(frozen=True, slots=True)
class ExecutionRow:
    """One execution in a list. `elapsed_ms` stands for the duration while it goes on."""

    id: uuid.UUID
    url: str
    status: str
    started: dt.datetime
    workflow: str
    environment: str
    trigger: str
    duration_ms: int | None
    elapsed_ms: float | None
    nodes: str
    reason: str
    version: str
    attempt: int | None


def shown_status(execution: Execution) -> str:
    """The canonical status, or "lost" while running without a sign of life."""
    if execution.state is Status.RUNNING and execution.lost_contact_at is not None:
        return LOST
    return execution.state.slug


def goes_on(execution: Execution) -> bool:
    """Whether more may be heard of it: also of one that lost contact a late end is believed."""
    return execution.state in (Status.PENDING, Status.RUNNING, Status.WAITING)


def elapsed_ms(execution: Execution, now: dt.datetime) -> float | None:
    """How long an execution has been going on; None once it is finished or not begun."""
    if execution.state not in (Status.RUNNING, Status.WAITING):
        return None
    return max((known_until(execution, now) - execution.started).total_seconds() * 1_000, 0.0)


def known_until(execution: Execution, now: dt.datetime) -> dt.datetime:
    """Until when an unfinished execution surely ran: now, or when it was heard of last."""
    is_lost = shown_status(execution) == LOST
    return (execution.lost_contact_at if is_lost else None) or now


def reason(node: str | None, message: str | None) -> str:
    """Why it failed in one line: "Fetch orders: Connection timed out"."""
    line = " ".join((message or "").split())
    return f"{node}: {line}" if node and line else line or (f"{node} failed" if node else "")


def nodes_done(execution: Execution) -> str:
    """Finished nodes of all: "4/7"; nothing when no nodes were sent."""
    if not execution.node_count:
        return ""
    return f"{execution.node_done_count}/{execution.node_count}"


def rows_of(executions: Iterable[Execution], slug: str, query: str) -> list[ExecutionRow]:
    """Rows of `history.page`; each leads to its execution with the list's filters in `query`."""
    now = timezone.now()
    url_of = execution_urls(slug)
    return [
        ExecutionRow(
            id=one.id,
            url=url_of(one.id) + query,
            status=shown_status(one),
            started=one.started,
            workflow=one.workflow.name,
            environment=one.environment.name,
            trigger=one.trigger_type or "",
            duration_ms=one.duration_ms,
            elapsed_ms=elapsed_ms(one, now),
            nodes=nodes_done(one),
            reason=reason(one.error_node_name, one.reason),  # type: ignore[attr-defined]
            version=one.version or "",
            attempt=one.attempt if one.attempt and one.attempt > 1 else None,
        )
        for one in executions
    ]
