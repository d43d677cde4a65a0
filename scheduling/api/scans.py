"""One scan with its findings and health, and two scans compared."""

from __future__ import annotations

from typing import Any

import msgspec
from django.db.models import QuerySet
from django.http import HttpResponse

from monitoring.api.answers import Page, Pagination, json_answer
from monitoring.api.endpoints import Answer, operation
from monitoring.api.finding import environment_of
from monitoring.api.parameters import CURSOR, ENVIRONMENT_ID, LIMIT, OFFSET, text
from scheduling.api.paging import page_of
from scheduling.api.schedules import SCAN_EXAMPLE, SUBJECT, ScanRow, scan_row
from scheduling.comparison import difference
from scheduling.models import Finding, Scan, ScannedWorkflow
from tenants import problems
from tenants.api_access import Access, ApiRequest

RULE = text("rule", "Only findings of this rule.")


class WorkflowHealth(msgspec.Struct):
    """How one workflow stood; null: it has no definition."""

    workflow_id: str
    workflow_name: str
    environment_id: int
    version: int | None
    structure_score: float | None
    execution_penalty: float
    health_score: float | None
    findings: int
    critical: int
    problem: str | None


class FindingRow(msgspec.Struct):
    """One violation; `fingerprint` is the same in every scan that finds it."""

    id: int
    workflow_id: str
    rule: str
    severity: str
    node_id: str
    node_name: str
    message: str
    fix: str
    evidence: str
    fingerprint: str


class ScanAnswer(ScanRow):
    """A scan with a page of its findings and a page of its workflows."""

    workflow_count: int | None
    findings: Page[FindingRow]
    workflows: Page[WorkflowHealth]


class HealthChange(msgspec.Struct):
    """A workflow whose health differs."""

    workflow_id: str
    before: float | None
    after: float | None


class ComparisonAnswer(msgspec.Struct):
    """What changed from the earlier scan to the later one.

    `first_seen` are findings of workflows that the earlier one did not look into.
    """

    earlier: int
    later: int
    new: Page[FindingRow]
    first_seen: Page[FindingRow]
    fixed: Page[FindingRow]
    persisting: Page[FindingRow]
    health_changes: Page[HealthChange]


_PAGINATION = msgspec.to_builtins(Pagination(1, 50, 0, False, None))
_FINDING: dict[str, Any] = {
    "id": 31,
    "workflow_id": "invoice-sync",
    "rule": "no-timeout",
    "severity": "warning",
    "node_id": "fetch",
    "node_name": "Fetch orders",
    "message": "“Fetch orders” has no time limit.",
    "fix": "Set Options → Timeout, for example 10000 ms.",
    "evidence": "",
    "fingerprint": "5b1f0c",
}
_FINDINGS = {"data": [_FINDING], "pagination": _PAGINATION}
_HEALTH: dict[str, Any] = {
    "workflow_id": "invoice-sync",
    "workflow_name": "Invoice sync",
    "environment_id": 1,
    "version": 8,
    "structure_score": 92.0,
    "execution_penalty": 16.5,
    "health_score": 75.5,
    "findings": 1,
    "critical": 0,
    "problem": None,
}
_SCAN = {
    **SCAN_EXAMPLE,
    "workflow_count": 120,
    "findings": _FINDINGS,
    "workflows": {"data": [_HEALTH], "pagination": _PAGINATION},
}
_COMPARISON: dict[str, Any] = {
    "earlier": 6,
    "later": 7,
    "new": _FINDINGS,
    "first_seen": _FINDINGS,
    "fixed": _FINDINGS,
    "persisting": _FINDINGS,
    "health_changes": {
        "data": [{"workflow_id": "invoice-sync", "before": 92.0, "after": 75.5}],
        "pagination": _PAGINATION,
    },
}


@operation(
    "GET",
    "/api/scans/{scan_id}",
    name="scan",
    access=Access("read"),
    subject=SUBJECT,
    query=(ENVIRONMENT_ID, LIMIT, CURSOR, OFFSET, RULE),
    answers=(Answer(200, "The scan.", ScanAnswer, _SCAN),),
    problems=(400, 404),
)
def show_scan(request: ApiRequest, scan_id: str) -> HttpResponse:
    """Show a scan with its findings and the health of its workflows.

    `limit` and `cursor` page through both lists alike.
    """
    scan = _scan_of(scan_id)
    environment_id = environment_of(request)
    findings = scan.findings.order_by("-severity", "workflow_id", "pk")
    workflows = ScannedWorkflow.objects.filter(scan=scan).select_related("workflow")
    if environment_id is not None:
        findings = findings.filter(workflow__environment_id=environment_id)
        workflows = workflows.filter(workflow__environment_id=environment_id)
    rule = RULE.of(request)
    if rule:
        findings = findings.filter(rule=rule)
    worst_first = workflows.order_by("health_score", "-findings", "pk")
    answer = ScanAnswer(
        **msgspec.structs.asdict(scan_row(scan)),
        workflow_count=scan.workflow_count,
        findings=_findings(request, findings),
        workflows=page_of(request, worst_first, _health, LIMIT.of(request)),
    )
    return json_answer(answer)


@operation(
    "GET",
    "/api/scans/{scan_id}/compare/{other_id}",
    name="scan-compare",
    access=Access("read"),
    subject=SUBJECT,
    query=(ENVIRONMENT_ID, LIMIT, CURSOR, OFFSET),
    answers=(Answer(200, "What changed.", ComparisonAnswer, _COMPARISON),),
    problems=(400, 404),
)
def compare_scans(request: ApiRequest, scan_id: str, other_id: str) -> HttpResponse:
    """Compare two scans, the earlier one first however they are named.

    `limit` and `cursor` page through all lists alike.
    """
    earlier, later = sorted((_scan_of(scan_id), _scan_of(other_id)), key=lambda scan: scan.pk)
    found = difference(earlier, later, environment_of(request))
    changed = found.changed.select_related("workflow").order_by("health_score", "pk")
    answer = ComparisonAnswer(
        earlier=earlier.pk,
        later=later.pk,
        new=_findings(request, found.new.order_by("pk")),
        first_seen=_findings(request, found.first_seen.order_by("pk")),
        fixed=_findings(request, found.fixed.order_by("pk")),
        persisting=_findings(request, found.persisting.order_by("pk")),
        health_changes=page_of(request, changed, _change, LIMIT.of(request)),
    )
    return json_answer(answer)


def _scan_of(text: str) -> Scan:
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise problems.not_found()
    scan = Scan.objects.filter(pk=int(text)).first()
    if scan is None:
        raise problems.not_found()
    return scan


def _findings(request: ApiRequest, rows: QuerySet[Finding]) -> Page[FindingRow]:
    return page_of(request, rows.select_related("workflow"), _finding, LIMIT.of(request))


def _finding(row: Finding) -> FindingRow:
    return FindingRow(
        id=row.pk,
        workflow_id=row.workflow.external_id,
        rule=row.rule,
        severity=row.severity_slug,
        node_id=row.node_id,
        node_name=row.node_name,
        message=row.message,
        fix=row.fix,
        evidence=row.evidence,
        fingerprint=row.fingerprint,
    )


def _health(row: ScannedWorkflow) -> WorkflowHealth:
    return WorkflowHealth(
        workflow_id=row.workflow.external_id,
        workflow_name=row.workflow.name,
        environment_id=row.workflow.environment_id,
        version=row.version,
        structure_score=row.structure_score,
        execution_penalty=row.execution_penalty,
        health_score=row.health_score,
        findings=row.findings,
        critical=row.critical,
        problem=row.problem,
    )


def _change(row: Any) -> HealthChange:
    return HealthChange(row.workflow.external_id, row.health_before, row.health_score)
