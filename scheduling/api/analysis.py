"""`analyze-logs` (requirement 000): metrics, failing actions, what the linter says, health."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
from django.http import HttpResponse
from django.utils import timezone

from monitoring.api.answers import Percent, json_answer, rounded
from monitoring.api.endpoints import Answer, operation
from monitoring.api.examples import METRICS
from monitoring.api.finding import workflow_of
from monitoring.api.parameters import ENVIRONMENT_ID
from monitoring.api.workflows import METRICS_HOURS, MetricsAnswer, metrics_answer
from monitoring.metrics.timerange import TimeRange
from monitoring.metrics.trends import workflow_metrics
from scheduling.analysis import Correlation, correlations
from scheduling.models import Finding
from tenants.api_access import Access, ApiRequest
from tenants.roles import Role


class CorrelatedFinding(msgspec.Struct):
    """What the newest scan found at the same node."""

    rule: str
    severity: str
    message: str
    fix: str


class FailedAction(msgspec.Struct):
    """An action that failed at least twice in the window; `times` are its newest failures."""

    action_id: str
    action: str
    frequency: int
    runs: int
    failure_rate: Percent
    last_error: str | None
    error_class: str | None
    times: list[dt.datetime]
    findings: list[CorrelatedFinding]


class HealthAnswer(msgspec.Struct):
    """Health of the newest scan: structure score less execution penalty; null without one."""

    structure_score: float | None
    execution_penalty: float | None
    health_score: float | None
    scored_at: dt.datetime | None


class AnalysisAnswer(msgspec.Struct):
    """What the log of a workflow says."""

    workflow_id: str
    metrics: MetricsAnswer
    failed_actions: list[FailedAction]
    health: HealthAnswer


_EXAMPLE: dict[str, Any] = {
    "workflow_id": "invoice-sync",
    "metrics": METRICS,
    "failed_actions": [
        {
            "action_id": "fetch",
            "action": "Fetch orders",
            "frequency": 14,
            "runs": 17,
            "failure_rate": 82.4,
            "last_error": "Connection timed out",
            "error_class": "timeout",
            "times": ["2026-11-21T09:12:00Z"],
            "findings": [
                {
                    "rule": "no-timeout",
                    "severity": "warning",
                    "message": "“Fetch orders” has no time limit.",
                    "fix": "Set Options → Timeout.",
                }
            ],
        }
    ],
    "health": {
        "structure_score": 92.0,
        "execution_penalty": 16.5,
        "health_score": 75.5,
        "scored_at": "2026-11-21T08:00:00Z",
    },
}


@operation(
    "POST",
    "/api/workflows/{workflow_id}/analyze-logs",
    name="workflow-analysis",
    access=Access("read", Role.VIEWER),
    subject="Workflows",
    query=(METRICS_HOURS, ENVIRONMENT_ID),
    answers=(Answer(200, "The analysis.", AnalysisAnswer, _EXAMPLE),),
    problems=(400, 404, 409),
    capability="analyze-logs",
)
def analyze_logs(request: ApiRequest, workflow_id: str) -> HttpResponse:
    """Analyze a workflow's log: metrics, actions that fail repeatedly, findings at them, health.

    The window is the last 7 days unless `hours` says otherwise.
    """
    workflow = workflow_of(request, workflow_id)
    now, window = timezone.now(), dt.timedelta(hours=METRICS_HOURS.of(request))
    found = correlations(workflow, TimeRange.last(window, now=now))
    answer = AnalysisAnswer(
        workflow_id=workflow.external_id,
        metrics=metrics_answer(workflow_metrics(workflow, now=now, window=window)),
        failed_actions=[_failed_action(each) for each in found],
        health=HealthAnswer(
            workflow.structure_score,
            workflow.execution_penalty,
            workflow.health_score,
            workflow.health_at,
        ),
    )
    return json_answer(answer)


def _failed_action(found: Correlation) -> FailedAction:
    action = found.action
    rate = action.failure_rate
    return FailedAction(
        action_id=action.node_id,
        action=action.name,
        frequency=action.failures,
        runs=action.runs,
        failure_rate=None if rate is None else rounded(rate * 100),
        last_error=action.last_error,
        error_class=action.last_error_class.slug if action.last_error_class else None,
        times=list(action.times),
        findings=[_finding(each) for each in found.findings],
    )


def _finding(finding: Finding) -> CorrelatedFinding:
    return CorrelatedFinding(finding.rule, finding.severity_slug, finding.message, finding.fix)
