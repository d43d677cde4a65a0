"""Addresses that don't work: after days of nothing but failures one is switched off.

The tenant's owners are told by mail, and the pages say so; a person switches it on again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from django.conf import settings

from alerts import links, telling
from alerts.channels.base import Channel
from alerts.channels.registry import channels
from alerts.message import Message, fact
from alerts.models import Attempt, Notification, Target
from alerts.models.delivery import SAID_LENGTH
from alerts.policy import policy_for
from monitoring.models import Event
from tenants.audit import printable
from tenants.models import Membership, Role, Tenant

FEWEST_TRIES: Final = 8
"""Failed tries that an address has at least before it is switched off: days without a message are none."""

TARGET_OFF: Final = "alerts.target-off"
"""Kind of events with {"target", "said"}."""

IS_OFF: Final = "The address is switched off, because every message to it failed for days."


def note_success(target: Target) -> None:
    """A message arrived. Call it, as the next one, in the transaction that holds the target."""
    if target.failing_since is not None:
        target.failing_since = None
        target.save(update_fields=["failing_since"])


def note_failure(target: Target, channel: Channel, said: str, now: dt.datetime) -> None:
    """A try failed: when all did for too long, the address is switched off and owners are told."""
    if target.failing_since is None:
        target.failing_since = now
        target.save(update_fields=["failing_since"])
    if channel.patience is None or target.switched_off_at is not None:
        return
    patience = dt.timedelta(seconds=settings.PACE.seconds(channel.patience))
    if now - target.failing_since >= patience and _has_failed_often(target):
        _switch_off(target, said, now)


def _has_failed_often(target: Target) -> bool:
    failed = Attempt.objects.filter(target=target, is_delivered=False, at__gte=target.failing_since)
    return failed[:FEWEST_TRIES].count() >= FEWEST_TRIES


def _switch_off(target: Target, said: str, now: dt.datetime) -> None:
    target.switched_off_at = now
    target.save(update_fields=["switched_off_at"])
    waiting = Notification.objects.filter(target=target, state=Notification.State.PENDING)
    waiting.update(state=Notification.State.SUPPRESSED, reason=IS_OFF, next_try_at=None)
    # Who is told has targets of his own, which are not to be locked after this one.
    Event.objects.create(
        tenant_id=target.tenant_id,
        kind=TARGET_OFF,
        body={"target": target.pk, "said": printable(said, SAID_LENGTH)},
        created_at=now,
    )


@dataclass(frozen=True, slots=True)
class Off:
    """An address that the settings name and that is switched off."""

    target: Target
    shown: str
    said: str
    """What came of the last try."""


def switched_off_addresses() -> list[Off]:
    """What is switched off of what the settings of the scope's tenant name."""
    found = list(Target.objects.exclude(switched_off_at=None))
    named = policy_for().named if found else []
    return [_off(target) for target in found if (target.channel, target.address) in named]


def _off(target: Target) -> Off:
    channel = channels()[target.channel]
    last = Attempt.objects.filter(target=target).order_by("-at").first()
    shown = f"{channel.title} {channel.shown(target.address)}"
    return Off(target, shown, last.said if last else "")


def switch_on(targets: Iterable[Target]) -> None:
    """Let addresses get messages again; call it while `preferences.changing`."""
    ids = [target.pk for target in targets]
    telling.hold(ids)
    Target.objects.filter(pk__in=ids).update(switched_off_at=None, failing_since=None)


def tell_owners(tenant: Tenant, target_id: int, said: str, now: dt.datetime) -> None:
    """Tell the tenant's owners by mail that an address was switched off, if it still is."""
    target = Target.objects.filter(pk=target_id).exclude(switched_off_at=None).first()
    if target is None:
        return
    message = _message(tenant, target, said, now)
    owners = Membership.objects.filter(role=Role.OWNER, user__is_active=True)
    emails = sorted(set(owners.values_list("user__email", flat=True)))
    if emails and settings.MAIL_CONFIGURED:
        named = [("email", email) for email in emails]
        telling.send_to(telling.targets_at(tenant, named), message, now)
        return
    Notification.objects.create(
        tenant=tenant,
        kind=message.kind,
        state=Notification.State.SUPPRESSED,
        reason="No mail can reach the owners.",
        content=message.stored(),
        created_at=now,
    )


def _message(tenant: Tenant, target: Target, said: str, now: dt.datetime) -> Message:
    channel = channels()[target.channel]
    assert target.failing_since is not None
    return Message(
        kind=Notification.Kind.OFF,
        tenant=tenant.name,
        tenant_slug=tenant.slug,
        title=f"{channel.title} {channel.shown(target.address)} is switched off",
        severity="warning",
        url=links.settings_url(tenant.slug),
        at=now,
        text="Every message to it has failed. Nothing is sent there until somebody switches it on "
        "again in the alert settings.",
        facts=[
            fact("Failing since", f"{target.failing_since.astimezone(dt.UTC):%d %b %Y %H:%M} UTC"),
            fact("At last", said),
        ],
    )
