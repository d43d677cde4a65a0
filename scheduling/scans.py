"""Scans: the linter over a tenant's workflows, in steps that are kept.

A step looks at a few workflows and commits what it found together with the place where the next
step begins, so that a scan which dies goes on where it stood.
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from django.conf import settings
from django.db import IntegrityError, models, transaction
from django.db.models import Count, F, Q, Sum

from monitoring import health
from monitoring.database import database_now
from monitoring.definitions import current_versions, graph_of
from monitoring.health import Health
from monitoring.metrics.ranges import totals_by_workflow
from monitoring.metrics.timerange import TimeRange
from monitoring.metrics.totals import Totals
from monitoring.models import Event, Workflow, WorkflowVersion
from monitoring.words import Severity
from scheduling.comparison import difference
from scheduling.due import CannotReviveError, Claim
from scheduling.lint.engine import Facts, Violation, check, structure_score
from scheduling.lint.facts import facts_of
from scheduling.models import Finding, Scan, ScannedWorkflow, Scope

logger = logging.getLogger(__name__)

WINDOW: Final = dt.timedelta(days=7)
"""The failure rate of this long counts in the health score."""

MOST_PENALTY: Final = 20.0
_AT_ONCE: Final = 50
_STEP_SECONDS: Final = 5.0
# A step that has found so many ends, since storing them takes its time, too.
_STEP_FINDINGS: Final = 5_000
_INSERTED_AT_ONCE: Final = 1_000
# Findings of one rule and severity in one workflow that get rows of their own.
MOST_LISTED: Final = 100
TOOK_TOO_LONG: Final = "took too long"
FINDINGS: Final = Count("id") + Sum("more")
"""How many findings rows stand for."""
_ACTIVE_WITHIN: Final = dt.timedelta(days=30)
_RETRY_MINUTES: Final = (1, 5, 15)
MAX_ATTEMPTS: Final = len(_RETRY_MINUTES) + 1
_WORST: Final = 20


def rest(attempts: int) -> dt.timedelta:
    """A failed scan is tried again after 1, 5 and 15 minutes."""
    minutes = _RETRY_MINUTES[min(attempts, len(_RETRY_MINUTES)) - 1]
    return dt.timedelta(seconds=settings.PACE.seconds(60.0 * minutes))


def execution_penalty(failure_rate: float | None) -> float:
    """failure rate × 20, at most 20 points (requirement 000, section 7); `failure_rate` is 0–1."""
    return min((failure_rate or 0.0) * MOST_PENALTY, MOST_PENALTY)


@dataclass(frozen=True)
class Looked:
    """What the linter says of one workflow; `structure_score` is None without a definition."""

    workflow: Workflow
    version: WorkflowVersion | None
    violations: Sequence[Violation]
    structure_score: float | None
    execution_penalty: float
    problem: str | None = None

    @property
    def health_score(self) -> float | None:
        """Structure score less execution penalty, at least 0."""
        if self.structure_score is None:
            return None
        return max(self.structure_score - self.execution_penalty, 0.0)

    @cached_property
    def listed(self) -> Sequence[tuple[Violation, int]]:
        """The first violations of each rule and severity, the last of them with how many more are."""
        groups: dict[tuple[str, Severity], list[Violation]] = {}
        for violation in self.violations:
            groups.setdefault((violation.rule, violation.severity), []).append(violation)
        more = {
            id(g[MOST_LISTED - 1]): len(g) - MOST_LISTED for g in groups.values() if g[MOST_LISTED:]
        }
        kept = {id(each) for group in groups.values() for each in group[:MOST_LISTED]}
        return [(each, more.get(id(each), 0)) for each in self.violations if id(each) in kept]


def do_step(claim: Claim[Scan]) -> None:
    """Look at the next workflows of a scan and store what was found; the last step sums it up."""
    row = claim.row
    batch = list(in_scope(row).filter(id__gt=row.position).order_by("id")[:_AT_ONCE])
    careful_until = row.careful_until
    if batch and row.attempts > 1:
        careful_until = max(careful_until, batch[-1].pk)
    if batch and batch[0].pk <= careful_until:
        looked = _look_carefully(claim, batch[0])
    else:
        looked = list(_look_at(batch))
    with claim.finishing() as scan:
        if scan.status not in Scan.OPEN:
            return
        now = database_now()
        if scan.status == Scan.Status.PENDING:
            scan.status, scan.started_at = Scan.Status.RUNNING, now
            scan.workflow_count = in_scope(scan).count()
        scan.careful_until, scan.looking_at = careful_until, None
        _store(scan, looked, now)
        if len(looked) < _AT_ONCE and len(looked) == len(batch):
            _complete(scan, now)
        else:
            scan.due_at = now
        scan.save()


def give_up(scan: Scan) -> None:
    """Report a scan that failed too often."""
    scan.status, scan.completed_at = Scan.Status.FAILED, database_now()
    scan.problem = scan.last_error or "The processes that worked on it ended each time."
    scan.save(update_fields=["status", "completed_at", "problem"])
    _tell(scan)


def reopen(scan: Scan) -> None:
    """Let a scan that was given up go on where it stood. Raises CannotReviveError."""
    status = Scan.Status.RUNNING if scan.started_at else Scan.Status.PENDING
    try:
        with transaction.atomic():
            Scan.objects.filter(pk=scan.pk).update(status=status, completed_at=None, problem="")
    except IntegrityError as conflict:
        raise CannotReviveError("Another scan of the same schedule is running.") from conflict


def cancel(scan: Scan) -> bool:
    """End an open scan, keeping what it found; False when it had ended already.

    The greater fence refuses the step that may be working on it.
    """
    return bool(
        Scan.objects.filter(pk=scan.pk, status__in=Scan.OPEN).update(
            status=Scan.Status.CANCELED,
            completed_at=database_now(),
            due_at=None,
            leased_until=None,
            fence=F("fence") + 1,
        )
    )


def in_scope(scan: Scan) -> models.QuerySet[Workflow]:
    """The workflows that a scan looks at.

    Where no definition says whether a workflow is active, one that ran within 30 days is.
    """
    workflows = Workflow.objects.all()
    if scan.scope == Scope.SELECTED:
        return workflows.filter(id__in=scan.selected_ids)
    if scan.scope == Scope.ACTIVE:
        ran = Q(is_active__isnull=True, last_executed_at__gte=database_now() - _ACTIVE_WITHIN)
        return workflows.filter(Q(is_active=True) | ran)
    return workflows


# --- looking ------------------------------------------------------------------------------------


def _look_at(workflows: Sequence[Workflow]) -> Iterator[Looked]:
    """Lint workflows until they are done or the step's time is over."""
    ids = [workflow.pk for workflow in workflows]
    versions = current_versions(ids)
    now = database_now()
    window = TimeRange.last(WINDOW, now=now)
    totals = totals_by_workflow(ids, window, percentiles=False, durations=False)
    facts = facts_of(ids, now=now)
    end = time.monotonic() + _STEP_SECONDS
    found = 0
    for workflow in workflows:
        looked = _lint(workflow, versions.get(workflow.pk), facts[workflow.pk], totals[workflow.pk])
        yield looked
        found += len(looked.listed)
        if found >= _STEP_FINDINGS or time.monotonic() > end:
            return


def _look_carefully(claim: Claim[Scan], workflow: Workflow) -> list[Looked]:
    """Lint one workflow after keeping that it is looked at; pass over one that was not survived.

    `last_error` is what an attempt said that ended by itself, so it was not the workflow.
    """
    if claim.row.looking_at == workflow.pk and not claim.row.last_error:
        version = current_versions([workflow.pk]).get(workflow.pk)
        return [Looked(workflow, version, (), None, 0.0, problem=TOOK_TOO_LONG)]
    with claim.holding() as scan:
        scan.looking_at, scan.last_error = workflow.pk, ""
        scan.save(update_fields=["looking_at", "last_error"])
    return list(_look_at([workflow]))


def _lint(
    workflow: Workflow, version: WorkflowVersion | None, facts: Facts, totals: Totals
) -> Looked:
    penalty = execution_penalty(totals.failure_rate)
    try:
        violations = check(graph_of(version), facts) if version else []
    except Exception as error:  # one definition that nobody foresaw does not end the scan
        logger.exception("a workflow could not be linted", extra={"workflow": workflow.pk})
        return Looked(workflow, version, (), None, penalty, problem=f"{type(error).__name__}")
    score = structure_score(violations) if version else None
    return Looked(workflow, version, violations, score, penalty)


# --- storing ------------------------------------------------------------------------------------


def _store(scan: Scan, looked: Sequence[Looked], now: dt.datetime) -> None:
    ScannedWorkflow.objects.bulk_create([_scanned(scan, each) for each in looked])
    findings = [
        _finding(scan, each, violation, more) for each in looked for violation, more in each.listed
    ]
    Finding.objects.bulk_create(findings, batch_size=_INSERTED_AT_ONCE)
    health.store([_health(each, now) for each in looked])
    scan.workflows_scanned += len(looked)
    # Workflows that were made meanwhile are looked at, too.
    scan.workflow_count = max(scan.workflow_count or 0, scan.workflows_scanned)
    scan.issues_found += sum(len(each.violations) for each in looked)
    scan.critical_issues += sum(
        1 + one.more for one in findings if one.severity == Severity.CRITICAL
    )
    if looked:
        scan.position = looked[-1].workflow.pk


def _scanned(scan: Scan, looked: Looked) -> ScannedWorkflow:
    critical = sum(each.severity is Severity.CRITICAL for each in looked.violations)
    return ScannedWorkflow(
        tenant=scan.tenant,
        scan=scan,
        workflow=looked.workflow,
        version=looked.version.number if looked.version else None,
        structure_score=looked.structure_score,
        execution_penalty=looked.execution_penalty,
        health_score=looked.health_score,
        findings=len(looked.violations),
        critical=critical,
        problem=looked.problem,
    )


def _finding(scan: Scan, looked: Looked, violation: Violation, more: int) -> Finding:
    said = f" And {more:,} more of this rule in this workflow." if more else ""
    return Finding(
        tenant=scan.tenant,
        scan=scan,
        workflow=looked.workflow,
        rule=violation.rule,
        severity=violation.severity,
        node_id=violation.node_id,
        node_name=violation.node_name,
        message=violation.message + said,
        fix=violation.fix,
        evidence=violation.evidence,
        fingerprint=violation.fingerprint,
        more=more,
    )


def _health(looked: Looked, now: dt.datetime) -> Health:
    return Health(
        looked.workflow.pk,
        looked.structure_score,
        looked.execution_penalty,
        looked.health_score,
        now,
    )


# --- the end ------------------------------------------------------------------------------------


def _complete(scan: Scan, now: dt.datetime) -> None:
    scan.status, scan.completed_at = Scan.Status.COMPLETED, now
    before = previous(scan)
    scan.summary = {
        "by_severity": _counted(scan, "severity"),
        "by_rule": _counted(scan, "rule"),
        "compared_with": before.pk if before else None,
    }
    if before:
        found = difference(before, scan)
        scan.summary |= {
            "new": found.new.count(),
            "first_seen": found.first_seen.count(),
            "fixed": found.fixed.count(),
        }
    _tell(scan)


def previous(scan: Scan) -> Scan | None:
    """The completed scan before this one with the same workflows in view, whoever asked for it."""
    same = Scan.objects.filter(
        id__lt=scan.pk,
        status=Scan.Status.COMPLETED,
        scope=scan.scope,
        selected_ids=scan.selected_ids,
    )
    return same.order_by("-id").first()


def _counted(scan: Scan, field: str) -> dict[str, int]:
    rows = scan.findings.values_list(field).annotate(n=FINDINGS).order_by(field)
    return {Severity(key).slug if field == "severity" else key: n for key, n in rows}


def _tell(scan: Scan) -> None:
    """Write the outbox event `scan.finished`; `worst` are the workflows with the least health."""
    worst = scan.workflows.filter(health_score__isnull=False).order_by("health_score")[:_WORST]
    body: dict[str, Any] = {
        "scan": scan.pk,
        "status": scan.status,
        "workflows_scanned": scan.workflows_scanned,
        "issues_found": scan.issues_found,
        "critical_issues": scan.critical_issues,
        "worst": [
            {"workflow": one.workflow_id, "health": one.health_score, "critical": one.critical}
            for one in worst
        ],
    }
    Event.objects.create(
        tenant=scan.tenant, kind="scan.finished", body=body, created_at=database_now()
    )
