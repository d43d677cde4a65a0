"""How incidents and deliveries are said on pages."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from django.urls import reverse
from django.utils import timezone

from alerts import scan_news
from alerts.channels.registry import channels
from alerts.models import Incident, Notification
from alerts.models.incident import FINDINGS
from alerts.rules.base import workflow_rules
from alerts.telling import BEGINNINGS

_ICONS = {
    Notification.State.PENDING: "pending",
    Notification.State.SENT: "success",
    Notification.State.FAILED: "failed",
    Notification.State.SUPPRESSED: "skipped",
}


def rule_titles() -> dict[str, str]:
    """Rule → what people call it."""
    return {rule.slug: rule.title for rule in workflow_rules()} | scan_news.RULE_TITLES


@dataclass(frozen=True, slots=True)
class IncidentRow:
    """An incident in a list."""

    id: int
    url: str
    severity: str
    status: str
    status_word: str
    tone: str
    rule: str
    title: str
    detail: str
    workflow: str
    environment: str
    count: int
    since: dt.datetime
    last_at: dt.datetime
    suppressed: str
    is_from_scan: bool


_TONES = {Incident.Status.OPEN: "bad", Incident.Status.ACKNOWLEDGED: "warn"}


def row_of(incident: Incident, slug: str) -> IncidentRow:
    """An incident (with its workflow and environment read) as lists show it."""
    workflow = incident.workflow
    status = Incident.Status(incident.status)
    return IncidentRow(
        id=incident.pk,
        url=reverse("alerts:incident", args=[slug, incident.pk]),
        severity=incident.level.slug,
        status=status.value,
        status_word=str(status.label),
        tone=_TONES.get(status, "good" if incident.is_resolved else ""),
        rule=rule_titles().get(incident.rule, incident.rule),
        title=incident.title,
        detail=incident.detail,
        workflow=workflow.name if workflow else "",
        environment=workflow.environment.name if workflow else "",
        count=incident.count,
        since=incident.since,
        last_at=incident.last_at,
        suppressed="" if incident.is_resolved else incident.suppressed,
        is_from_scan=incident.rule == FINDINGS and not incident.is_resolved,
    )


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A message as the delivery log shows it."""

    id: int
    key: str
    icon: str
    state: str
    kind: str
    title: str
    incident_url: str
    channel: str
    address: str
    tries: int
    status: int | None
    latency_ms: int | None
    said: str
    created_at: dt.datetime
    next_try_at: dt.datetime | None
    held_until: dt.datetime | None
    attempts: list[object]
    may_send_again: bool
    in_summary: str


def delivery_of(notification: Notification, slug: str) -> DeliveryRow:
    """A message (with target and attempts read) as the log shows it."""
    attempts = list(notification.attempts.all())
    last = attempts[-1] if attempts else None
    target = notification.target
    state = Notification.State(notification.state)
    channel = channels().get(target.channel) if target else None
    incident_id = notification.incident_id
    return DeliveryRow(
        id=notification.pk,
        key=str(notification.key),
        icon=_ICONS[state],
        state=str(state.label),
        kind=str(Notification.Kind(notification.kind).label),
        title=_title(notification),
        incident_url=reverse("alerts:incident", args=[slug, incident_id]) if incident_id else "",
        channel=channel.title if channel else "",
        address=channel.shown(target.address) if channel and target else "",
        tries=notification.tries,
        status=last.status if last else None,
        latency_ms=last.latency_ms if last else None,
        said=notification.reason or (last.said if last else ""),
        created_at=notification.created_at,
        next_try_at=notification.next_try_at,
        held_until=_held_until(notification, tries=len(attempts)),
        attempts=attempts,  # type: ignore[arg-type]
        may_send_again=target is not None and state is not Notification.State.PENDING,
        in_summary=_summary_url(notification, slug),
    )


def _held_until(notification: Notification, *, tries: int) -> dt.datetime | None:
    """When a message that was never tried may go out, because its address has got so many."""
    target, now = notification.target, timezone.now()
    is_new = notification.state == Notification.State.PENDING and not tries
    if target is None or not is_new or target.due_at is None or target.due_at <= now:
        return None
    return target.due_at


def _title(notification: Notification) -> str:
    """What it says beside its kind, which its title may begin with."""
    title: str = notification.content.get("title", "")
    return title.removeprefix(BEGINNINGS.get(notification.kind, ""))


def _summary_url(notification: Notification, slug: str) -> str:
    """The list that a summary counts, for the summary and for the messages in it."""
    is_summary = notification.kind == Notification.Kind.SUMMARY
    number = notification.pk if is_summary else notification.summary_id
    return f"{reverse('alerts:inbox', args=[slug])}?summary={number}" if number else ""
