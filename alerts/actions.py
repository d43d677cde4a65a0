"""What people do with incidents and deliveries; who calls it audits it, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from django.db import transaction

from alerts import incidents, telling
from alerts.models import Incident, Notification
from alerts.policy import everybody_named, policy_for
from monitoring.database import database_now
from tenants.models import User

MOST_AT_ONCE: Final = 500


def acknowledge(
    incident_id: int, *, by: str, user: User | None = None, text: str = ""
) -> Incident | None:
    """Take care of an incident; None when it was not open any more. Raises Incident.DoesNotExist."""
    with transaction.atomic():
        incident = _locked(incident_id)
        now = database_now()
        done = incidents.acknowledge(incident, now, by=by, user=user, text=text)
        return incident if done else None


def resolve(incident_id: int, *, by: str, user: User | None = None) -> Incident | None:
    """Close an incident; None when it was resolved already. Raises Incident.DoesNotExist."""
    with transaction.atomic():
        incident = _locked(incident_id)
        if incident.is_resolved:
            return None
        policy = policy_for(incident.workflow_id)
        incidents.resolve(incident, policy, database_now(), by=by, user=user)
        return incident


ACTS: Final[dict[str, Callable[..., Incident | None]]] = {
    "acknowledge": acknowledge,
    "resolve": resolve,
}


def act_on_many(
    act: str,
    ids: Collection[int],
    *,
    by: str,
    user: User | None,
    record: Callable[[Incident], object],
) -> int:
    """Do one act with several incidents; return with how many it was done. Unknown ids are none.

    Each is a transaction of its own, in which `record` is called, too.
    """
    known = Incident.objects.filter(pk__in=list(ids)[:MOST_AT_ONCE]).order_by("pk")
    done = 0
    for pk in known.values_list("pk", flat=True):
        with transaction.atomic():
            incident = ACTS[act](pk, by=by, user=user)
            if incident is not None:
                record(incident)
                done += 1
    return done


def _locked(incident_id: int) -> Incident:
    found = Incident.objects.select_for_update(of=("self",))
    return found.select_related("workflow__environment").get(pk=incident_id)


class NotNamedError(Exception):
    """The settings don't name the address of a message any more."""


def redeliver(notification_id: int) -> Notification | None:
    """Send a message once more, with the same id; None when it waits to be sent anyway.

    Raises Notification.DoesNotExist for one that has no target, NotNamedError.
    """
    with transaction.atomic():
        found = Notification.objects.select_related("target", "incident").exclude(target=None)
        target_id = found.values_list("target_id", flat=True).get(pk=notification_id)
        assert target_id is not None
        telling.wake([target_id])
        notification = found.select_for_update(of=("self",)).get(pk=notification_id)
        if notification.state == Notification.State.PENDING:
            return None
        if not _is_named(notification):
            raise NotNamedError
        notification.state = Notification.State.PENDING
        notification.summary = None
        notification.next_try_at, notification.tries = database_now(), 1
        notification.save(update_fields=["state", "summary", "next_try_at", "tries"])
        return notification


def _is_named(notification: Notification) -> bool:
    target, incident = notification.target, notification.incident
    assert target is not None
    if notification.kind == Notification.Kind.OFF:
        return True  # owners hear of it wherever they are
    named = policy_for(incident.workflow_id).named if incident else everybody_named()
    return (target.channel, target.address) in named
