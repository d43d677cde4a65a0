"""Writes down what is to be told to whom; deliveries go from there.

Looks at workflows don't make targets due themselves: hundreds that tell the same addresses would wait
for each other, and deliveries for them. An event that commits with the message does.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Final

from django.db import connection, transaction

from alerts import links
from alerts.channels.registry import kind_of_channel
from alerts.message import About, Fact, Message, fact
from alerts.models import Incident, IncidentEvent, Notification, Target
from alerts.policy import Address, Policy
from monitoring.models import Event
from scheduling.wake import wake as wake_workers
from tenants.models import Tenant
from tenants.scoping import current_tenant

TOLD: Final = "alert.told"
_Kind = Notification.Kind
_State = Notification.State


def tell(incident: Incident, kind: Notification.Kind, policy: Policy, now: dt.datetime) -> None:
    """Tell an incident's news to everybody whom the policy names, or write down why to nobody."""
    if incident.suppressed:
        write_down(incident, kind, policy, now, incident.suppressed)
    else:
        message = message_of(incident, kind, policy.tenant, now)
        _announce(_find_or_make(policy.tenant, policy.addresses), message, now, incident)


def write_down(
    incident: Incident, kind: Notification.Kind, policy: Policy, now: dt.datetime, reason: str
) -> None:
    """Keep why an incident's news is told to nobody now."""
    Notification.objects.create(
        tenant=policy.tenant,
        incident=incident,
        kind=kind,
        state=_State.SUPPRESSED,
        reason=reason,
        content=message_of(incident, kind, policy.tenant, now).stored(),
        created_at=now,
    )


def tell_recovery(incident: Incident, policy: Policy, now: dt.datetime, why: str) -> bool:
    """Tell those who heard last of an incident that it was a problem that it is over.

    False when there is nobody.
    """
    heard = incident.notifications.exclude(state=_State.SUPPRESSED).exclude(target=None)
    heard = heard.filter(target__switched_off_at=None)
    last = dict(heard.order_by("id").values_list("target_id", "kind"))
    waiting = [target_id for target_id, kind in last.items() if kind != _Kind.RESOLVED]
    if waiting:
        message = message_of(incident, _Kind.RESOLVED, policy.tenant, now, why)
        _announce(waiting, message, now, incident)
    return bool(waiting)


def _announce(
    target_ids: Sequence[int], message: Message, now: dt.datetime, incident: Incident
) -> None:
    """Write one message for each target, and have them made due after the commit."""
    with connection.cursor() as cursor:
        cursor.execute(_KEEP, [list(target_ids)])
    _write(target_ids, message, now, incident)
    Event.objects.create(
        tenant=current_tenant(), kind=TOLD, body={"targets": list(target_ids)}, created_at=now
    )


def wake_all(target_ids: Iterable[int]) -> None:
    """Make targets due now, and have workers woken after the commit."""
    _wake_workers(wake(target_ids))


def targets_of(policy: Policy) -> list[int]:
    """The targets that a policy names (made where they are new), due now."""
    return targets_at(policy.tenant, policy.addresses)


def targets_at(tenant: Tenant, addresses: Iterable[Address]) -> list[int]:
    """The targets at (channel, address), made where they are new, due now."""
    return wake(_find_or_make(tenant, addresses))


def _find_or_make(tenant: Tenant, addresses: Iterable[Address]) -> list[int]:
    named = sorted(set(addresses))
    slugs, texts = [slug for slug, _ in named], [text for _, text in named]
    with connection.cursor() as cursor:
        found = cursor.execute(_FIND, [tenant.pk, slugs, texts]).fetchall()
        if len(found) < len(named):
            cursor.execute(_MAKE, [tenant.pk, slugs, texts])
            found = cursor.execute(_FIND, [tenant.pk, slugs, texts]).fetchall()
    return sorted(pk for (pk,) in found)


def wake(target_ids: Iterable[int]) -> list[int]:
    """Lock targets, as deliveries do, and make them due now; return their ids."""
    ids = sorted(target_ids)
    with connection.cursor() as cursor:
        cursor.execute(_WAKE, [ids])
    return ids


def hold(target_ids: Iterable[int]) -> None:
    """Lock targets: whoever changes messages that wait for one holds it first, as deliveries do."""
    held = Target.objects.select_for_update(of=("self",)).filter(pk__in=list(target_ids))
    list(held.order_by("pk").values_list("pk", flat=True))


def keep_all(tenant: Tenant, addresses: Iterable[Address], over: Iterable[Incident] = ()) -> None:
    """Make and keep, before more than one is told of, whoever will be told of problems at addresses
    and whoever was told of incidents that are over: in the order in which all lock targets."""
    wanted = _find_or_make(tenant, addresses)
    heard = Notification.objects.filter(incident__in=over).exclude(target=None)
    wanted += heard.values_list("target_id", flat=True).distinct()
    with connection.cursor() as cursor:
        cursor.execute(_KEEP, [wanted])


# Targets that exist are locked in the order of their ids, everywhere. New ones are made before that,
# in the order of their names, by who holds none.
_MAKE: Final = """
INSERT INTO alerts_target (tenant_id, channel, address, attempts, fence, last_error)
SELECT tenant, named.channel, named.address, 0, 0, ''
FROM (SELECT %s::bigint) AS of (tenant), unnest(%s::text[], %s::text[]) AS named (channel, address)
WHERE NOT EXISTS (SELECT FROM alerts_target t WHERE t.tenant_id = tenant
                  AND t.channel = named.channel AND t.address = named.address)
ORDER BY 2, 3
ON CONFLICT (tenant_id, channel, address) DO NOTHING
"""
_FIND: Final = """
SELECT id FROM alerts_target
WHERE tenant_id = %s AND (channel, address) IN (SELECT * FROM unnest(%s::text[], %s::text[]))
"""
# Holds off who takes targets out, and neither deliveries nor other looks.
_KEEP: Final = "SELECT FROM alerts_target WHERE id = ANY(%s) ORDER BY id FOR KEY SHARE"
# A target that was given up gets another chance with each new message.
_WAKE: Final = """
WITH chosen AS (SELECT id FROM alerts_target WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE)
UPDATE alerts_target t SET due_at = least(t.due_at, clock_timestamp()), quarantined_at = NULL,
    attempts = CASE WHEN t.quarantined_at IS NULL THEN t.attempts ELSE 0 END
FROM chosen WHERE t.id = chosen.id
"""


def send_to(target_ids: Sequence[int], message: Message, now: dt.datetime) -> list[Notification]:
    """Write one message for each target; the targets must be due by then."""
    made = _write(target_ids, message, now)
    _wake_workers(target_ids)
    return made


def _write(
    target_ids: Sequence[int],
    message: Message,
    now: dt.datetime,
    incident: Incident | None = None,
) -> list[Notification]:
    return Notification.objects.bulk_create(
        Notification(
            tenant=current_tenant(),
            incident=incident,
            target_id=target_id,
            kind=message.kind,
            content=message.stored(),
            created_at=now,
            next_try_at=now,
        )
        for target_id in target_ids
    )


def _wake_workers(target_ids: Sequence[int]) -> None:
    """Have workers woken for the targets' channels after the commit."""
    woken = Target.objects.filter(pk__in=target_ids).values_list("channel", flat=True)
    for slug in sorted(set(woken)):
        transaction.on_commit(partial(wake_workers, kind_of_channel(slug)), robust=True)


def note_told(incidents: Sequence[Incident], text: str, now: dt.datetime) -> None:
    """Write into the timelines that a message about more told of these incidents, too."""
    IncidentEvent.objects.bulk_create(
        [
            IncidentEvent(
                tenant_id=incident.tenant_id,
                incident=incident,
                at=now,
                kind=IncidentEvent.Kind.TOLD,
                text=text,
            )
            for incident in incidents
        ],
        batch_size=500,
    )


# --- words --------------------------------------------------------------------------------------

BEGINNINGS: Final[Mapping[str, str]] = {
    _Kind.RESOLVED: "Resolved: ",
    _Kind.REPEATED: "Still: ",
    _Kind.REOPENED: "Again: ",
}
"""How titles of messages begin, by their kind."""


def message_of(
    incident: Incident, kind: Notification.Kind, tenant: Tenant, now: dt.datetime, why: str = ""
) -> Message:
    """What is said of an incident now."""
    return Message(
        kind=kind,
        tenant=tenant.name,
        tenant_slug=tenant.slug,
        title=BEGINNINGS.get(kind, "") + incident.title,
        severity=incident.level.slug,
        url=links.incident_url(tenant.slug, incident.pk),
        at=now,
        text=why or incident.detail,
        facts=_facts(incident),
        incident=_about(incident),
    )


def _facts(incident: Incident) -> list[Fact]:
    facts = []
    if incident.workflow is not None:
        facts.append(fact("Workflow", incident.workflow.name))
        facts.append(fact("Environment", incident.workflow.environment.name))
    facts.append(fact("Count", f"{incident.count:,}"))
    facts.append(fact("Since", _clock(incident.since)))
    facts.append(fact("Last", _clock(incident.last_at)))
    if incident.acknowledged_by:
        facts.append(fact("Acknowledged by", incident.acknowledged_by))
    return facts


def _clock(at: dt.datetime) -> str:
    return f"{at.astimezone(dt.UTC):%d %b %Y %H:%M:%S} UTC"


def _about(incident: Incident) -> About:
    workflow = incident.workflow
    return About(
        id=incident.pk,
        rule=incident.rule,
        status=incident.status,
        count=incident.count,
        opened_at=incident.opened_at,
        first_at=incident.since,
        last_at=incident.last_at,
        workflow_id=workflow.external_id if workflow else None,
        workflow_name=workflow.name if workflow else None,
        environment=workflow.environment.name if workflow else None,
    )
