"""The test message: through every channel that is set up, at once, with each one's result.

Whoever asks waits for it, and it goes wherever a tenant says. So it holds a web process but shortly,
and is no way to flood anybody: one test of a tenant at a time, few in a process, few messages an hour.
"""

from __future__ import annotations

import datetime as dt
import math
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import Final

from django.conf import settings
from django.db import connection, transaction

from alerts import delivery, limits, links
from alerts.channels.base import Channel, TransportError
from alerts.channels.registry import channels
from alerts.message import Message
from alerts.models import Notification, Target
from alerts.models.delivery import SAID_LENGTH
from alerts.policy import Policy
from alerts.telling import send_to, targets_of
from monitoring.database import database_now
from scheduling.due import free_connection
from tenants.audit import printable

DEADLINE_SECONDS: Final = 8.0
MOST_IN_PROCESS: Final = 3
MOST_TO_ADDRESS: Final = 5
MOST_OF_TENANT: Final = 60
"""Test messages within an hour, with which no further test begins."""

_MOST_AT_ONCE: Final = 8
_HOUR: Final = 3_600.0
_OVERDUE_SECONDS: Final = DEADLINE_SECONDS + 4
"""A test that has no results after so long has died with its process."""
_TAKE_TURNS: Final = "SELECT pg_advisory_xact_lock(hashtextextended('alert test', %s))"

_places: Final = threading.BoundedSemaphore(MOST_IN_PROCESS)


class TooManyTestsError(Exception):
    """Nothing was sent, with words for people; a test may be sent in `retry_after` seconds."""

    def __init__(self, said: str, retry_after: float) -> None:
        super().__init__(said)
        self.retry_after = max(1, math.ceil(retry_after))


@dataclass(frozen=True, slots=True)
class Result:
    """What became of the test message to one address."""

    channel: str
    address: str
    is_delivered: bool
    said: str
    latency_ms: int


@dataclass(frozen=True, slots=True)
class _Test:
    """What is sent, and what isn't because the address has got enough."""

    now: dt.datetime
    messages: list[tuple[Channel, Notification]]
    refused: list[Result]


def send_test(policy: Policy) -> list[Result]:
    """Send a test message to every address that a policy names; none is tried again.

    Raises TooManyTestsError.
    """
    if not _places.acquire(blocking=False):
        raise TooManyTestsError("Others send tests now: try it again in a moment.", 5)
    try:
        test = _prepare(policy)
        free_connection()
        end = monotonic() + settings.PACE.seconds(DEADLINE_SECONDS)
        with ThreadPoolExecutor(_MOST_AT_ONCE) as pool:
            outcomes = list(
                pool.map(lambda each: _try(each[0], each[1], test.now, end), test.messages)
            )
        return [*_store(test, outcomes), *test.refused]
    finally:
        _places.release()


def _try(
    channel: Channel, notification: Notification, now: dt.datetime, end: float
) -> delivery.Outcome:
    left = end - monotonic()
    if left <= 0:
        said = "Not tried: the others took all of the time that a test has."
        return delivery.Outcome(None, TransportError(said), 0)
    return delivery.try_to_send(channel, notification, now, left)


def _store(test: _Test, outcomes: Sequence[delivery.Outcome]) -> list[Result]:
    results = []
    with transaction.atomic():
        for (channel, notification), outcome in zip(test.messages, outcomes, strict=True):
            delivery.store(notification, outcome, channel, database_now(), is_last=True)
            told = outcome.sent or outcome.error
            assert told is not None
            assert notification.target is not None
            results.append(
                Result(
                    channel.slug,
                    notification.target.address,
                    outcome.error is None,
                    printable(told.said, SAID_LENGTH),
                    outcome.latency_ms,
                )
            )
    return results


# --- what may be sent -----------------------------------------------------------------------------


def _prepare(policy: Policy) -> _Test:
    """Write the messages down as tried, so that no worker sends them, too."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(_TAKE_TURNS, [policy.tenant.pk])
        now = database_now()
        _demand_rest(now)
        targets = Target.objects.in_bulk(targets_of(policy))
        free_at = {pk: _free_at(target, now) for pk, target in targets.items()}
        allowed = [pk for pk, at in free_at.items() if at <= now]
        if free_at and not allowed:
            wait = min(free_at.values()) - now
            raise TooManyTestsError(f"{_ENOUGH} {_in(wait)}.", wait.total_seconds())
        ids = [each.pk for each in send_to(allowed, _message(policy, now), now)]
        Notification.objects.filter(pk__in=ids).update(
            state=Notification.State.FAILED, next_try_at=None, reason="It was never answered."
        )
    found = Notification.objects.filter(pk__in=ids).select_related("target").order_by("pk")
    known = channels()
    messages = [
        (known[each.target.channel].for_address(each.target.address, policy.settings, now), each)
        for each in found
        if each.target is not None
    ]
    refused = [
        Result(
            targets[pk].channel,
            targets[pk].address,
            False,
            f"Not sent. {_ENOUGH} {_in(at - now)}.",
            0,
        )
        for pk, at in free_at.items()
        if at > now
    ]
    return _Test(now, messages, refused)


_ENOUGH: Final = "The address has got as many messages as one may get; it may get another"


def _in(wait: dt.timedelta) -> str:
    minutes = max(1, math.ceil(wait.total_seconds() / 60))
    return "in a minute" if minutes == 1 else f"in {minutes} minutes"


def _demand_rest(now: dt.datetime) -> None:
    """Refuse a test beside another one of the tenant, or after many."""
    tests = Notification.objects.filter(
        kind=Notification.Kind.TEST, created_at__gt=now - _seconds(_HOUR)
    )
    overdue = _seconds(_OVERDUE_SECONDS)
    if tests.filter(tries=0, created_at__gt=now - overdue).exists():
        raise TooManyTestsError(
            "A test is on its way already: wait for what comes of it.", overdue.total_seconds()
        )
    times = list(tests.order_by("created_at").values_list("created_at", flat=True))
    wait = limits.allowed_at(times, now, [(_HOUR, MOST_OF_TENANT)]) - now
    if wait:
        raise TooManyTestsError(
            f"Many tests were sent within the hour; another may be sent {_in(wait)}.",
            wait.total_seconds(),
        )


def _free_at(target: Target, now: dt.datetime) -> dt.datetime:
    """When an address may get a test: seldom, and never more than it may get of all messages."""
    tests = target.notifications.filter(kind=Notification.Kind.TEST)
    lately = tests.filter(created_at__gt=now - _seconds(_HOUR)).order_by("created_at")
    times = list(lately.values_list("created_at", flat=True))
    return max(
        limits.allowed_at(times, now, [(_HOUR, MOST_TO_ADDRESS)]),
        limits.allowed_at(delivery.reached_lately(target, now), now),
    )


def _seconds(value: float) -> dt.timedelta:
    return dt.timedelta(seconds=settings.PACE.seconds(value))


def _message(policy: Policy, now: dt.datetime) -> Message:
    tenant = policy.tenant
    return Message(
        kind=Notification.Kind.TEST,
        tenant=tenant.name,
        tenant_slug=tenant.slug,
        title="Test of your alerts",
        severity="info",
        url=links.settings_url(tenant.slug),
        at=now,
        text="This is how alerts reach you. Nothing is wrong.",
    )
