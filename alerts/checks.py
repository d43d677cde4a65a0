"""Work of the due rows that look whether something is wrong."""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.db import connection, transaction

from alerts import incidents, scan_news
from alerts.models import Check, Incident, ScanNews
from alerts.policy import Policy, policies_for, policy_for
from alerts.rules.base import WorkflowRule, workflow_rules
from monitoring.models import Workflow
from scheduling.due import Claim, LeaseLostError, database_now, finish_together
from tenants.scoping import tenant_scope

KIND: Final = "alert check"
SCAN_KIND: Final = "scan news"
SHORTEST_CALM, LONGEST_CALM = dt.timedelta(seconds=2), dt.timedelta(seconds=30)
CALM_PART: Final = 0.1
"""While an incident is open, its workflow rests between two looks for this part of the time that it
is open: what is new of it is not urgent."""

OPEN_LOOKS: Final = 20
"""Hundreds may be open at once: a tenant's are looked at about so often in a second, all together."""


def finish_quiet(claims: list[Claim[Check]]) -> list[Claim[Check]]:
    """End together the looks at workflows of which no rule would find anything; return the others.

    In a storm most have failed, but not as often as the threshold.
    """
    of_tenant: dict[int, list[Claim[Check]]] = defaultdict(list)
    for claim in claims:
        of_tenant[claim.row.tenant_id].append(claim)
    for theirs in of_tenant.values():
        with tenant_scope(theirs[0].row.tenant), transaction.atomic():
            _commit_without_waiting()
            suspects = _suspects({claim.row.workflow_id for claim in theirs}, database_now())
            quiet = [claim for claim in theirs if claim.row.workflow_id not in suspects]
            finish_together(quiet, unchanged=["asked"], calm_until=None)
    return [claim for claim in claims if not claim.ended]


def _suspects(workflow_ids: set[int], now: dt.datetime) -> set[int]:
    """Workflows of the scope's tenant that must be looked at one by one."""
    policies = policies_for(workflow_ids)
    since = min(now - policy.settings.window for policy in policies.values())
    recent = Incident.objects.unresolved() | Incident.objects.filter(resolved_at__gt=since)
    suspects = set(
        recent.filter(workflow_id__in=workflow_ids).values_list("workflow_id", flat=True)
    )
    for rule in workflow_rules():
        suspects |= rule.suspects(policies, now)
    return suspects


def look_at_workflow(claim: Claim[Check]) -> None:
    """Ask every rule about a workflow and settle its incidents.

    The row is locked at the end only, so that the relay, which makes it due, does not wait for the
    rules. What it was asked for meanwhile may be newer than what they saw: it is looked at again.
    """
    with transaction.atomic():
        _commit_without_waiting()
        found = Check.objects.select_related("workflow__environment")
        seen = found.filter(pk=claim.row.pk, fence=claim.row.fence).first()
        if seen is None:
            raise LeaseLostError(f"{KIND} {claim.row.pk} is somebody else's by now")
        now = database_now()
        policy = policy_for(seen.workflow.pk)
        kept_back = incidents.kept_back(seen.workflow)
        looks = [_look(rule, seen.workflow, policy, now) for rule in workflow_rules()]
        incidents.tell_kept_back(kept_back, policy, now)
        calm_until = min((look.calm_until for look in looks if look.calm_until), default=None)
        times = [look.again_at for look in looks if look.again_at]
        with claim.finishing() as check:
            if check.asked != seen.asked:
                times.append(calm_until or now)
            check.due_at = min(times, default=None)
            check.calm_until = calm_until
            check.save(update_fields=["calm_until"])


def _commit_without_waiting() -> None:
    """Let the transaction's end not wait for the disk, which posts wait for.

    Only a death of the server can lose it, as a whole, and then the row is looked at again. Nobody
    was told by then: deliveries commit for good before they send, and so all that was before.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit TO off")


@dataclass(frozen=True, slots=True)
class _Look:
    """When to look again: without anything happening, and at the earliest."""

    again_at: dt.datetime | None = None
    calm_until: dt.datetime | None = None


def _look(rule: WorkflowRule, workflow: Workflow, policy: Policy, now: dt.datetime) -> _Look:
    """Settle one rule's incident."""
    before = incidents.last_of(rule.slug, rule.subject(workflow), now - policy.settings.window)
    verdict = rule.look(workflow, before, policy, now)
    incident = incidents.settle_subject(
        rule.slug, rule.subject(workflow), workflow, before, verdict, policy, now
    )
    if incident is None or incident.is_resolved:
        return _Look()
    again_at = incidents.look_again_at(incident, verdict, policy, now)
    return _Look(again_at, now + _calm(now - incident.opened_at))


def _calm(open_for: dt.timedelta) -> dt.timedelta:
    beside = Incident.objects.unresolved()[: round(OPEN_LOOKS * LONGEST_CALM.total_seconds())]
    their_turns = dt.timedelta(seconds=beside.count() / OPEN_LOOKS)
    rest = min(max(CALM_PART * open_for, their_turns, SHORTEST_CALM), LONGEST_CALM)
    return dt.timedelta(seconds=settings.PACE.seconds(rest.total_seconds()))


def look_at_scan(claim: Claim[ScanNews]) -> None:
    """Do a step of settling what a scan that ended says about workflows."""
    with claim.finishing() as news:
        now = database_now()
        if scan_news.settle_step(news, now):
            news.due_at = now
