"""Work of the due rows that look whether something is wrong."""

from __future__ import annotations

import datetime as dt
from typing import Final

from django.conf import settings

from alerts import incidents, scan_news
from alerts.models import Check, Incident, ScanNews
from alerts.policy import policy_for
from alerts.rules.base import WorkflowRule, workflow_rules
from monitoring.models import Workflow
from scheduling.due import Claim, database_now

KIND: Final = "alert check"
SCAN_KIND: Final = "scan news"
CALM_SECONDS: Final = 2.0
"""A workflow whose incident is open is looked at again after so long at the earliest."""


def look_at_workflow(claim: Claim[Check]) -> None:
    """Ask every rule about a workflow and settle its incidents.

    All is read after the row is locked: who makes it due again meanwhile waits, and is not lost.
    """
    with claim.finishing() as check:
        workflow = Workflow.objects.select_related("environment").get(pk=check.workflow_id)
        now = database_now()
        looks = [_look(rule, workflow, now) for rule in workflow_rules()]
        check.due_at = min((at for at in looks if at is not None), default=None)
        calm = now + dt.timedelta(seconds=settings.PACE.seconds(CALM_SECONDS))
        check.calm_until = calm if check.due_at else None
        check.save(update_fields=["calm_until"])


def _look(rule: WorkflowRule, workflow: Workflow, now: dt.datetime) -> dt.datetime | None:
    """Settle one rule's incident; return when to look again without anything happening."""
    policy = policy_for(workflow.pk)
    before = incidents.last_of(rule.slug, rule.subject(workflow), now - policy.settings.window)
    verdict = rule.look(workflow, before, policy, now)
    incident = incidents.settle_subject(
        rule.slug, rule.subject(workflow), workflow, before, verdict, policy, now
    )
    if incident is None or incident.status == Incident.Status.RESOLVED:
        return None
    return incidents.look_again_at(incident, verdict, policy, now)


def look_at_scan(claim: Claim[ScanNews]) -> None:
    """Settle what a scan that ended says about workflows, and tell it once."""
    with claim.finishing() as news:
        scan_news.settle(news.scan_id, database_now())
