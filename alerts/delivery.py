"""Brings messages to their targets: one at a time for each, tried again, never dropped in silence.

The work of a target's due row. A message is chosen in one transaction and its outcome stored in
another; who dies in between leaves it to be sent again, with the same id.
"""

from __future__ import annotations

import datetime as dt
import logging
import random
import time
from dataclasses import dataclass

from django.conf import settings
from django.db.models import QuerySet

from alerts import health, limits, summaries
from alerts.channels.base import Channel, Envelope, Sent, TransportError
from alerts.channels.registry import channels
from alerts.message import read
from alerts.models import Attempt, Notification, Target
from alerts.models.delivery import SAID_LENGTH
from alerts.policy import settings_of
from monitoring.database import database_now
from scheduling.due import Claim, free_connection
from tenants.audit import printable

logger = logging.getLogger(__name__)

_State = Notification.State


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one try ended."""

    sent: Sent | None
    error: TransportError | None
    latency_ms: int


def deliver_next(claim: Claim[Target]) -> None:
    """Send the target's next message, if it may have one now."""
    with claim.holding() as target:
        now = database_now()
        chosen = _choose(target, now)
        channel = _channel_to(target, now)
    if chosen is None:
        with claim.finishing() as target:
            target.due_at = _next_due(target, database_now())
        return
    free_connection()  # many may wait for receivers that hang
    outcome = try_to_send(channel, chosen, now)
    with claim.finishing() as target:
        now = database_now()
        # What is switched off is sent to by hand only, and once.
        store(chosen, outcome, channel, now, is_last=target.switched_off_at is not None)
        if outcome.error is None:
            health.note_success(target)
        else:
            health.note_failure(target, channel, outcome.error.said, now)
        target.due_at = _next_due(target, now)


def _channel_to(target: Target, now: dt.datetime) -> Channel:
    channel = channels()[target.channel]
    return channel.for_address(target.address, settings_of(target.tenant), now)


# --- what to send, and when -----------------------------------------------------------------------


def _choose(target: Target, now: dt.datetime) -> Notification | None:
    reached = reached_lately(target, now)
    retry = _retries(target).filter(next_try_at__lte=now).order_by("next_try_at", "id").first()
    if retry is not None and limits.allowed_at(reached, now) <= now:
        return retry
    new = _new(target)
    plan = limits.plan(reached, new.count(), now)
    if plan.act is limits.Act.SEND:
        return new.order_by("id").first()
    if plan.act is limits.Act.SUM_UP:
        return summaries.sum_up(target, new, now)
    return None


def _next_due(target: Target, now: dt.datetime) -> dt.datetime | None:
    reached = reached_lately(target, now)
    times = []
    retry = _retries(target).order_by("next_try_at").values_list("next_try_at", flat=True).first()
    if retry is not None:
        times.append(max(retry, limits.allowed_at(reached, now)))
    plan = limits.plan(reached, _new(target).count(), now)
    if plan.act is not limits.Act.NOTHING:
        times.append(now)
    elif plan.again_at is not None:
        times.append(plan.again_at)
    return min(times, default=None)


def _waiting(target: Target) -> QuerySet[Notification]:
    return Notification.objects.filter(target=target, state=_State.PENDING, summary=None)


def _new(target: Target) -> QuerySet[Notification]:
    return _waiting(target).filter(tries=0).exclude(kind=Notification.Kind.SUMMARY)


def _retries(target: Target) -> QuerySet[Notification]:
    """Messages that were tried before, and summaries: they are one message already."""
    tried = _waiting(target).filter(tries__gt=0)
    return tried | _waiting(target).filter(kind=Notification.Kind.SUMMARY)


def reached_lately(target: Target, now: dt.datetime) -> list[dt.datetime]:
    """When the target got a message lately, oldest first."""
    counted = Attempt.objects.filter(
        target=target, reached=True, at__gt=now - limits.longest_memory()
    )
    newest = counted.order_by("-at").values_list("at", flat=True)[: limits.MOST_IN_LONG]
    return list(reversed(newest))


# --- one try --------------------------------------------------------------------------------------


def try_to_send(
    channel: Channel, notification: Notification, now: dt.datetime, seconds: float | None = None
) -> Outcome:
    """Send a message through a channel; whatever happens is an outcome.

    `seconds` is the time there is for it, where that is less than the channel's own deadline.
    """
    began = time.monotonic()
    sent, error = None, None
    try:
        message = read(notification.content)
        sent = channel.send(Envelope(notification.key, message, now, seconds))
    except TransportError as failed:
        error = failed
    except Exception as broken:  # one message that can't be made must not hold back the others
        logger.exception("a message could not be made", extra={"notification": notification.pk})
        error = TransportError(f"{type(broken).__name__} while it was made", permanent=True)
    return Outcome(sent, error, round((time.monotonic() - began) * 1000))


def store(
    notification: Notification,
    outcome: Outcome,
    channel: Channel,
    now: dt.datetime,
    *,
    is_last: bool = False,
) -> None:
    """Write down a try and what follows from it; call it in the transaction that ends the claim.

    `is_last`: it is not tried again, whatever came out.
    """
    told = outcome.sent or outcome.error
    assert told is not None
    assert notification.target_id is not None
    # Its address may have been taken out of the settings while it was sent.
    notification.refresh_from_db(fields=["state", "reason"])
    Attempt.objects.create(
        tenant_id=notification.tenant_id,
        notification=notification,
        target_id=notification.target_id,
        at=now,
        latency_ms=outcome.latency_ms,
        is_delivered=outcome.error is None,
        reached=outcome.error is None or outcome.error.reached,
        status=told.status,
        said=printable(told.said, SAID_LENGTH),
    )
    notification.tries += 1
    notification.next_try_at = None
    if outcome.error is None:
        notification.state, notification.sent_at, notification.reason = _State.SENT, now, ""
    elif notification.state != _State.SUPPRESSED:
        _after_failure(notification, outcome.error, channel, now, is_last=is_last)
    notification.save(update_fields=["tries", "next_try_at", "state", "sent_at", "reason"])
    if notification.state != _State.PENDING:
        summaries.settle(notification)


def _after_failure(
    notification: Notification,
    error: TransportError,
    channel: Channel,
    now: dt.datetime,
    *,
    is_last: bool,
) -> None:
    pause = pause_after(channel, notification.tries)
    said = printable(error.said, SAID_LENGTH)
    if error.permanent or is_last:
        notification.state, notification.reason = _State.FAILED, said
    elif pause is None:
        notification.state = _State.FAILED
        notification.reason = f"Given up after {notification.tries} tries: {said}"
    else:
        asked = min(error.retry_after or 0.0, channel.pauses[-1])
        seconds = settings.PACE.seconds(max(pause, asked))
        notification.next_try_at = now + dt.timedelta(seconds=seconds)


def pause_after(channel: Channel, tries: int) -> float | None:
    """Seconds of rest after the `tries`-th try failed, varied; None: give up."""
    if tries > len(channel.pauses):
        return None
    varied = random.uniform(1 - channel.jitter, 1 + channel.jitter)  # noqa: S311 - no secret
    return channel.pauses[tries - 1] * varied


def give_up(target: Target) -> None:
    """Mark what waits for a target whose delivery broke again and again (a due row's quarantine)."""
    waiting = Notification.objects.filter(target=target, state=_State.PENDING)
    waiting.update(
        state=_State.FAILED,
        next_try_at=None,
        reason="Delivering to this address broke again and again; it was given up.",
    )
