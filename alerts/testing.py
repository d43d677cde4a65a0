"""The test message: through every channel that is set up, at once, with each one's result."""

from __future__ import annotations

import datetime as dt
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from django.db import transaction

from alerts import delivery, links
from alerts.channels.base import Channel
from alerts.channels.registry import channels
from alerts.message import Message
from alerts.models import Notification
from alerts.policy import Policy
from alerts.telling import send_to, targets_of
from scheduling.due import database_now

MOST_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Result:
    """What became of the test message to one address."""

    channel: str
    address: str
    is_delivered: bool
    said: str
    latency_ms: int


def send_test(policy: Policy) -> list[Result]:
    """Send a test message to every address that a policy names; none is tried again."""
    now = database_now()
    prepared = _prepare(policy, now)
    with ThreadPoolExecutor(MOST_AT_ONCE) as pool:
        outcomes = list(
            pool.map(lambda each: delivery.try_to_send(each[0], each[1], now), prepared)
        )
    results = []
    with transaction.atomic():
        for (channel, notification), outcome in zip(prepared, outcomes, strict=True):
            delivery.store(notification, outcome, channel, database_now(), is_last=True)
            told = outcome.sent or outcome.error
            assert told is not None
            assert notification.target is not None
            results.append(
                Result(
                    channel.slug,
                    notification.target.address,
                    outcome.error is None,
                    told.said,
                    outcome.latency_ms,
                )
            )
    return results


def _prepare(policy: Policy, now: dt.datetime) -> list[tuple[Channel, Notification]]:
    """Write the messages down as tried, so that no worker sends them, too."""
    tenant = policy.tenant
    message = Message(
        kind=Notification.Kind.TEST,
        tenant=tenant.name,
        tenant_slug=tenant.slug,
        title="Test of your alerts",
        severity="info",
        url=links.settings_url(tenant.slug),
        at=now,
        text="This is how alerts reach you. Nothing is wrong.",
    )
    with transaction.atomic():
        made = send_to(targets_of(policy), message, now)
        ids = [each.pk for each in made]
        Notification.objects.filter(pk__in=ids).update(
            state=Notification.State.FAILED, next_try_at=None, reason="It was never answered."
        )
    found = Notification.objects.filter(pk__in=ids).select_related("target").order_by("pk")
    known = channels()
    return [
        (known[each.target.channel].for_address(each.target.address, policy.settings, now), each)
        for each in found
        if each.target is not None
    ]
