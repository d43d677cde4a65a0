"""One message in place of many that wait for the same target."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from typing import Final

from django.db.models import QuerySet

from alerts import links
from alerts.message import MOST_ITEMS, Item, Message
from alerts.models import Notification, Target
from monitoring.words import Severity

_Kind = Notification.Kind
_PHRASES: Final = {
    _Kind.OPENED: "new",
    _Kind.REPEATED: "still going on",
    _Kind.WORSE: "got worse",
    _Kind.REOPENED: "again",
    _Kind.RESOLVED: "resolved",
    _Kind.SCAN: "about scans",
    _Kind.OFF: "about what is switched off",
}


def sum_up(target: Target, waiting: QuerySet[Notification], now: dt.datetime) -> Notification:
    """Store a summary of messages that wait; they share its fate from now on."""
    rows = list(waiting.order_by("-incident__severity", "id").values_list("pk", "kind"))
    tenant = target.tenant
    summary = Notification.objects.create(
        tenant=tenant,
        target=target,
        kind=_Kind.SUMMARY,
        content={},
        created_at=now,
        next_try_at=now,
    )
    ids = [pk for pk, _ in rows]
    first = Notification.objects.filter(pk__in=ids[:MOST_ITEMS]).select_related("incident")
    by_id = {each.pk: each for each in first}
    items = [_item(by_id[pk]) for pk in ids[:MOST_ITEMS]]
    summary.content = Message(
        kind=_Kind.SUMMARY,
        tenant=tenant.name,
        tenant_slug=tenant.slug,
        title=_title(Counter(kind for _, kind in rows)),
        severity=items[0].severity,
        url=links.inbox_url(tenant.slug, summary.pk),
        at=now,
        items=items,
        item_count=len(ids),
    ).stored()
    summary.save(update_fields=["content"])
    Notification.objects.filter(pk__in=ids).update(summary=summary, next_try_at=None)
    return summary


def _item(notification: Notification) -> Item:
    incident = notification.incident
    severity = incident.level if incident else Severity.INFO
    content = notification.content
    return Item(content["title"], severity.slug, content["url"])


def _title(counts: Counter[str]) -> str:
    total = sum(counts.values())
    parts = [f"{counts[kind]:,} {phrase}" for kind, phrase in _PHRASES.items() if counts[kind]]
    return f"{total:,} alerts: {', '.join(parts)}"


def settle(summary: Notification) -> None:
    """Give the messages of a summary that was sent or given up its fate."""
    if summary.kind == _Kind.SUMMARY:
        summary.summed_up.update(
            state=summary.state, sent_at=summary.sent_at, reason=summary.reason
        )
