"""Faults of alerts that the tests of `test_alerts.py` must catch."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Callable, Collection, Sequence
from typing import Any

from alerts import delivery, incidents, limits, telling
from alerts.channels.base import Channel
from alerts.models import Notification


def new_key() -> None:
    """Every try has an id of its own."""
    send = delivery.try_to_send

    def try_to_send(
        channel: Channel,
        notification: Notification,
        now: dt.datetime,
        seconds: float | None = None,
    ) -> delivery.Outcome:
        kept, notification.key = notification.key, uuid.uuid4()
        try:
            return send(channel, notification, now, seconds)
        finally:
            notification.key = kept

    delivery.try_to_send = try_to_send


def store_first() -> None:
    """A message counts as sent before it is."""
    send = delivery.try_to_send

    def try_to_send(
        channel: Channel,
        notification: Notification,
        now: dt.datetime,
        seconds: float | None = None,
    ) -> delivery.Outcome:
        sent = {"state": Notification.State.SENT, "sent_at": now, "next_try_at": None}
        Notification.objects.filter(pk=notification.pk).update(**sent)
        return send(channel, notification, now, seconds)

    delivery.try_to_send = try_to_send


def repeat_all() -> None:
    """When one address fails, all that are told of the incident are told again."""
    follow = delivery._after_failure

    def after_failure(notification: Notification, *args: Any, **options: Any) -> None:
        follow(notification, *args, **options)
        others = Notification.objects.filter(incident=notification.incident_id, tries=1)
        others = others.exclude(pk=notification.pk)
        targets = list(others.values_list("target_id", flat=True))
        others.update(state=Notification.State.PENDING, next_try_at=args[-1])
        telling.wake(targets)

    delivery._after_failure = after_failure


def open_blindly() -> None:
    """Nobody looks whether an incident is open (the test takes the constraint away, too)."""

    def lock_known(workflow_ids: Collection[int], since: dt.datetime) -> incidents.Known:
        return incidents.Known([])

    incidents.lock_known = lock_known


def ungrouped() -> None:
    """Every message goes out at once and on its own."""

    def plan(reached: Sequence[dt.datetime], new: int, now: dt.datetime) -> limits.Plan:
        return limits.Plan(limits.Act.SEND if new else limits.Act.NOTHING)

    limits.plan = plan


ALERT_MUTANTS: dict[str, Callable[[], None]] = {
    "new-key": new_key,
    "store-first": store_first,
    "repeat-all": repeat_all,
    "open-blindly": open_blindly,
    "ungrouped": ungrouped,
}
