"""Work of the due rows that look whether something is wrong."""

from __future__ import annotations

import datetime as dt
import functools
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.db import connection, transaction

from alerts import incidents, scan_news, telling
from alerts.models import Check, Incident, ScanNews
from alerts.policy import Policy, policies_for
from alerts.rules.base import Case, Verdict, WorkflowRule, workflow_rules
from monitoring.database import database_now
from monitoring.models import Workflow
from monitoring.words import Severity
from scheduling.due import Claim, LeaseLostError, finishing_together
from tenants.scoping import current_tenant, tenant_scope

KIND: Final = "alert check"
SCAN_KIND: Final = "scan news"
SHORTEST_CALM, LONGEST_CALM = dt.timedelta(seconds=2), dt.timedelta(seconds=30)
CALM_PART: Final = 0.1
"""While an incident is open, its workflow rests between two looks for this part of the time that it
is open: what is new of it is not urgent."""

OPEN_LOOKS: Final = 20
"""Hundreds may be open at once: a tenant's are looked at about so often in a second, all together."""


def look_at_workflows(claims: Sequence[Claim[Check]]) -> None:
    """Look at many workflows together: in a storm hundreds wait, and posts for the machine."""
    of_tenant: dict[int, list[Claim[Check]]] = defaultdict(list)
    for claim in claims:
        of_tenant[claim.row.tenant_id].append(claim)
    for theirs in of_tenant.values():
        with tenant_scope(theirs[0].row.tenant):
            _look_at(theirs)


def look_at_workflow(claim: Claim[Check]) -> None:
    """Look at one workflow alone."""
    _look_at([claim])


def _look_at(claims: Sequence[Claim[Check]]) -> None:
    """Ask every rule about workflows of one tenant and settle their incidents.

    The rows are locked at the end only, so that the relay, which makes them due, does not wait for
    the rules. What a row was asked for meanwhile may be newer than what they saw: it is looked at
    again.
    """
    with transaction.atomic():
        _commit_without_waiting()
        seen = _seen(claims)
        now = database_now()
        looks = _settle([check.workflow for check in seen.values()], now)
        with finishing_together(claims, order="workflow_id") as rows:
            for row in rows:
                look = looks[row.workflow_id]
                times = [look.again_at] if look.again_at else []
                if row.asked != seen[row.pk].asked:
                    times.append(look.calm_until or now)
                row.due_at, row.calm_until = min(times, default=None), look.calm_until
            Check.objects.bulk_update(rows, ["calm_until"])


def _seen(claims: Sequence[Claim[Check]]) -> dict[int, Check]:
    """The rows with their workflows, by their ids. Raises LeaseLostError."""
    found = Check.objects.select_related("workflow__environment").in_bulk(
        [claim.row.pk for claim in claims]
    )
    for claim in claims:
        if claim.row.pk not in found or found[claim.row.pk].fence != claim.row.fence:
            raise LeaseLostError(f"{KIND} {claim.row.pk} is somebody else's by now")
    return found


def _commit_without_waiting() -> None:
    """Let the transaction's end not wait for the disk, which posts wait for.

    Only a death of the server can lose it, as a whole, and then the rows are looked at again. Nobody
    was told by then: deliveries commit for good before they send, and so all that was before.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL synchronous_commit TO off")


@dataclass(slots=True)
class _Look:
    """When to look again: without anything happening, and at the earliest."""

    again_at: dt.datetime | None = None
    calm_until: dt.datetime | None = None

    def add(self, again_at: dt.datetime | None, calm_until: dt.datetime) -> None:
        """Take in what another incident asks for: the earlier counts."""
        if again_at is not None:
            self.again_at = min(self.again_at or again_at, again_at)
        self.calm_until = min(self.calm_until or calm_until, calm_until)


def _settle(workflows: Sequence[Workflow], now: dt.datetime) -> dict[int, _Look]:
    """Settle the incidents of workflows; return what each asks for, by the workflow's id."""
    policies = policies_for(workflow.pk for workflow in workflows)
    since = min(now - policy.settings.window for policy in policies.values())
    known = incidents.lock_known(policies, since)
    ruled = [(rule, _rule_on(rule, workflows, policies, known, now)) for rule in workflow_rules()]
    _keep_targets([each for _, cases in ruled for each in cases], known, policies)
    looks = {workflow.pk: _Look() for workflow in workflows}
    calm = _Calm(now)
    for rule, cases in ruled:
        for case, verdict in cases:
            incident = incidents.settle_subject(
                rule.slug,
                rule.subject(case.workflow),
                case.workflow,
                case.before,
                verdict,
                case.policy,
                now,
            )
            if incident is not None and not incident.is_resolved:
                again_at = incidents.look_again_at(incident, verdict, case.policy, now)
                looks[case.workflow.pk].add(again_at, calm.until(incident))
    for pk, policy in policies.items():
        incidents.tell_kept_back(known.kept_back(pk), policy, now)
    return looks


_Ruled = tuple[Case, Verdict]


def _rule_on(
    rule: WorkflowRule,
    workflows: Sequence[Workflow],
    policies: Mapping[int, Policy],
    known: incidents.Known,
    now: dt.datetime,
) -> list[_Ruled]:
    cases = [
        Case(workflow, known.last(rule.slug, rule.subject(workflow)), policies[workflow.pk])
        for workflow in workflows
    ]
    return list(zip(cases, rule.look(cases, now), strict=True))


def _keep_targets(
    ruled: Sequence[_Ruled], known: incidents.Known, policies: Mapping[int, Policy]
) -> None:
    """Lock, all at once, whom this may tell: one after the other, two could wait for each other."""
    said = [
        (case.policy, max(verdict.severity, case.before.level if case.before else Severity.INFO))
        for case, verdict in ruled
        if verdict.is_problem
    ]
    said += [
        (policy, each.level) for pk, policy in policies.items() for each in known.kept_back(pk)
    ]
    addresses = {
        address
        for policy, severity in said
        if not policy.silence(severity)
        for address in policy.addresses
    }
    over = [case.before for case, verdict in ruled if case.before and verdict.why_over]
    if addresses or over:
        telling.keep_all(current_tenant(), addresses, over)


class _Calm:
    """How long workflows with an open incident rest between two looks."""

    def __init__(self, now: dt.datetime) -> None:
        self._now = now

    @functools.cached_property
    def _turns(self) -> dt.timedelta:
        beside = Incident.objects.unresolved()[: round(OPEN_LOOKS * LONGEST_CALM.total_seconds())]
        return dt.timedelta(seconds=beside.count() / OPEN_LOOKS)

    def until(self, incident: Incident) -> dt.datetime:
        """What is new of the incident is looked at by then."""
        part = CALM_PART * (self._now - incident.opened_at)
        rest = min(max(part, self._turns, SHORTEST_CALM), LONGEST_CALM)
        return self._now + dt.timedelta(seconds=settings.PACE.seconds(rest.total_seconds()))


def look_at_scan(claim: Claim[ScanNews]) -> None:
    """Do a step of settling what a scan that ended says about workflows."""
    with claim.finishing() as news:
        now = database_now()
        if scan_news.settle_step(news, now):
            news.due_at = now
