"""How long it is kept what was told; a little is deleted at a time."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from django.conf import settings
from django.db.models import QuerySet
from django.utils import timezone

from alerts.models import Incident, Notification, ScanNews
from monitoring.worker import periodic
from tenants.scoping import across_tenants

MESSAGES_ARE_KEPT: Final = dt.timedelta(days=90)
INCIDENTS_ARE_KEPT: Final = dt.timedelta(days=400)
STEP: Final = 500
_DONE: Final = [
    Notification.State.SENT,
    Notification.State.FAILED,
    Notification.State.SUPPRESSED,
]


@periodic("forget alerts", every=dt.timedelta(hours=1))
def forget_step() -> bool:
    """Delete old messages, incidents that were resolved long ago, and what is left of old scans.

    Say whether there are more.
    """
    with across_tenants():
        return STEP in [_delete_some(old) for old in expired()]


def expired() -> list[QuerySet[Any]]:
    """What is old enough to go, in the order of an index."""
    now = timezone.now()
    messages = Notification.objects.filter(
        created_at__lt=now - MESSAGES_ARE_KEPT, state__in=_DONE
    ).order_by("created_at")
    incidents = Incident.objects.filter(resolved_at__lt=now - INCIDENTS_ARE_KEPT)
    news = ScanNews.objects.filter(settled_at__lt=now - settings.SCANS_ARE_KEPT)
    return [messages, incidents.order_by("resolved_at"), news.order_by("settled_at")]


def _delete_some(rows: QuerySet[Any]) -> int:
    some = list(rows.values_list("pk", flat=True)[:STEP])
    rows.model._default_manager.filter(pk__in=some).delete()
    return len(some)
