"""Work of the due rows that look whether something is wrong."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from django.conf import settings

from alerts import incidents, scan_news
from alerts.models import Check, ScanNews
from alerts.policy import policy_for
from alerts.rules.base import WorkflowRule, workflow_rules
from monitoring.models import Workflow
from scheduling.due import Claim, database_now

KIND: Final = "alert check"
SCAN_KIND: Final = "scan news"
SHORTEST_CALM, LONGEST_CALM = dt.timedelta(seconds=2), dt.timedelta(seconds=30)
CALM_PART: Final = 0.1
"""While an incident is open, its workflow rests between two looks for this part of the time that it
is open: what is new of it is not urgent, and hundreds may be open at once."""


def look_at_workflow(claim: Claim[Check]) -> None:
    """Ask every rule about a workflow and settle its incidents.

    All is read after the row is locked: who makes it due again meanwhile waits, and is not lost.
    """
    with claim.finishing() as check:
        workflow = Workflow.objects.select_related("environment").get(pk=check.workflow_id)
        now = database_now()
        looks = [_look(rule, workflow, now) for rule in workflow_rules()]
        check.due_at = min((look.again_at for look in looks if look.again_at), default=None)
        check.calm_until = min((look.calm_until for look in looks if look.calm_until), default=None)
        check.save(update_fields=["calm_until"])


@dataclass(frozen=True, slots=True)
class _Look:
    """When to look again: without anything happening, and at the earliest."""

    again_at: dt.datetime | None = None
    calm_until: dt.datetime | None = None


def _look(rule: WorkflowRule, workflow: Workflow, now: dt.datetime) -> _Look:
    """Settle one rule's incident."""
    policy = policy_for(workflow.pk)
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
    rest = min(max(CALM_PART * open_for, SHORTEST_CALM), LONGEST_CALM)
    return dt.timedelta(seconds=settings.PACE.seconds(rest.total_seconds()))


def look_at_scan(claim: Claim[ScanNews]) -> None:
    """Do a step of settling what a scan that ended says about workflows."""
    with claim.finishing() as news:
        now = database_now()
        if scan_news.settle_step(news, now):
            news.due_at = now
