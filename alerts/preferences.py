"""Changing what a tenant wants to be told; pages and API come through here."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import transaction
from django.utils import timezone

from alerts import subscriptions, telling
from alerts.channels.webhook.channel import is_secret, new_secret
from alerts.models import (
    AlertSettings,
    Incident,
    Notification,
    SeverityOverride,
    WorkflowPreference,
)
from alerts.models.settings import MOST_ADDRESSES
from alerts.policy import everybody_named, settings_of
from monitoring import outbound
from monitoring.models import Workflow
from monitoring.words import ErrorClass, Severity, severity_of
from tenants.audit import printable
from tenants.models import Tenant

_BETWEEN_ADDRESSES: Final = re.compile(r"[,;\s]+")
REMOVED: Final = "The address was taken out of the settings before it was sent."


def mail_addresses(said: str | Iterable[str]) -> list[str]:
    """Mail addresses from a list, or a text with commas or lines between them.

    Raises ValueError with words for people.
    """
    parts = [said] if isinstance(said, str) else list(said)
    found = list(dict.fromkeys(a for part in parts for a in _BETWEEN_ADDRESSES.split(part) if a))
    if len(found) > MOST_ADDRESSES:
        raise ValueError(f"At most {MOST_ADDRESSES} addresses can be named")
    for address in found:
        try:
            validate_email(address)
        except ValidationError:
            raise _no_mail_address(address) from None
        if not address.isprintable():  # quoted, mail may have any character; no server takes them
            raise _no_mail_address(address)
        if len(address) > 254:
            raise ValueError("A mail address has at most 254 characters")
    return found


def _no_mail_address(text: str) -> ValueError:
    return ValueError(f"“{printable(text, 80)}” is no mail address")


def webhook_address(text: str) -> str:
    """An address that can be called, or "". Raises ValueError with words for people.

    Names are looked up when they are called; here only addresses that need no look-up are judged.
    """
    text = text.strip()
    if not text:
        return ""
    host = outbound.checked_url(text).hostname or ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return text
    if not outbound.is_allowed(address):
        raise ValueError(
            f"{host} is not a public address; the operator can allow networks by "
            "OUTBOUND_ALLOWED_NETWORKS"
        )
    return text


@contextmanager
def changing(tenant: Tenant) -> Iterator[AlertSettings]:
    """The tenant's settings as they are now, to be changed in the block by the functions below.

    Who else wants to change them (or a preference, a severity) waits, so that nobody writes over what
    another one said. It is one transaction: call `audit.record` in it, too. At its end the change
    holds for what is open and for what waits to be sent.
    """
    with transaction.atomic():
        # Rows that name the tenant may be written meanwhile.
        Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        yield settings_of(tenant)
        _follow_up()


def save_settings(
    settings: AlertSettings, *, renew_secret: bool = False, proposed_secret: str = ""
) -> str | None:
    """Store changed settings; return the webhook's secret when a new one was made.

    `proposed_secret` is taken for the first one, so that receivers can know it before anything is
    sent. The secret before goes on signing for a day.
    """
    secret = None
    if settings.webhook_url and (renew_secret or not settings.webhook_secret):
        is_known = is_secret(proposed_secret) and not settings.webhook_secret
        secret = proposed_secret if is_known else new_secret()
        settings.webhook_secret_before = settings.webhook_secret
        settings.webhook_secret, settings.webhook_secret_renewed_at = secret, timezone.now()
    settings.save()
    return secret


def _follow_up() -> None:
    """Suppress what waits for addresses that are named no more; look again at untold incidents.

    In the order in which workers lock: targets before checks.
    """
    _suppress_what_waits_for_nobody()
    untold = Incident.objects.unresolved().exclude(suppressed="").exclude(workflow=None)
    subscriptions.make_checks_due(untold.values_list("workflow_id", flat=True))


def _suppress_what_waits_for_nobody() -> None:
    named = everybody_named()
    waiting = Notification.objects.filter(state=Notification.State.PENDING).exclude(target=None)
    waiting = waiting.exclude(kind=Notification.Kind.OFF)  # owners hear of it wherever they are
    targets = waiting.values_list("target_id", "target__channel", "target__address").distinct()
    gone = [pk for pk, channel, address in targets if (channel, address) not in named]
    telling.hold(pk for pk in gone if pk is not None)
    waiting.filter(target_id__in=gone).update(
        state=Notification.State.SUPPRESSED, reason=REMOVED, next_try_at=None
    )


def save_preference(workflow: Workflow, changes: Mapping[str, Any]) -> None:
    """Store what is different for a workflow: `changes` are fields of WorkflowPreference.

    Other fields stay. Nothing different leaves no row.
    """
    found = WorkflowPreference.objects.filter(workflow=workflow).first()
    preference = found or WorkflowPreference(tenant_id=workflow.tenant_id, workflow=workflow)
    for name, value in changes.items():
        setattr(preference, name, value)
    if not preference.says_nothing:
        preference.save()
    elif found is not None:
        found.delete()


def save_severities(tenant_id: int, chosen: Mapping[ErrorClass, Severity]) -> None:
    """Store how bad classes of errors are; those as by default leave no row. Others stay."""
    SeverityOverride.objects.filter(error_class__in=list(chosen)).delete()
    SeverityOverride.objects.bulk_create(
        SeverityOverride(tenant_id=tenant_id, error_class=each, severity=severity)
        for each, severity in chosen.items()
        if severity is not severity_of(each)
    )
