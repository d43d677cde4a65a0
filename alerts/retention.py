"""How long it is kept what was told; a little is deleted at a time."""

from __future__ import annotations

import datetime as dt
from typing import Final

from django.utils import timezone

from alerts.models import Incident, Notification
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
    """Delete old messages, and incidents that were resolved long ago; say whether there are more."""
    now = timezone.now()
    with across_tenants():
        messages = Notification.objects.filter(
            created_at__lt=now - MESSAGES_ARE_KEPT, state__in=_DONE
        )
        incidents = Incident.objects.filter(resolved_at__lt=now - INCIDENTS_ARE_KEPT)
        old_messages = list(messages.order_by("pk").values_list("pk", flat=True)[:STEP])
        old_incidents = list(incidents.order_by("pk").values_list("pk", flat=True)[:STEP])
        Notification.objects.filter(pk__in=old_messages).delete()
        Incident.objects.filter(pk__in=old_incidents).delete()
    return STEP in (len(old_messages), len(old_incidents))
