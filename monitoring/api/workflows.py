"""Workflows with statistics, history, failures and metrics (requirements 000, 001 and 003)."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from typing import Annotated

import msgspec
from django.http import HttpResponse
from django.utils import timezone

from monitoring.api import examples
from monitoring.api.answers import (
    CANONICAL,
    Milliseconds,
    Page,
    json_answer,
    rounded,
    status_schema,
)
from monitoring.api.endpoints import Answer, operation
from monitoring.api.executions import error_class_slug, severity_slug
from monitoring.api.finding import page_of, workflow_of
from monitoring.api.parameters import (
    CURSOR,
    END_DATE,
    ENVIRONMENT_ID,
    LIMIT,
    OFFSET,
    SEARCH,
    START_DATE,
    STATUS,
    hours,
)
from monitoring.api.workflow_pages import page_of_workflows
from monitoring.deletion import clear_workflow_step
from monitoring.history import ExecutionQuery
from monitoring.metrics.statistics import Statistics, workflow_statistics
from monitoring.metrics.trends import WorkflowMetrics, workflow_metrics
from monitoring.models import Execution, Workflow
from monitoring.words import Status
from tenants import audit
from tenants.api_access import Access, ApiRequest
from tenants.models import Tenant
from tenants.roles import Role

METRICS_HOURS = hours(24 * 7)
FAILURES_HOURS = hours(24)
CLEAR_SECONDS = 15.0
"""How long one call goes on clearing; what is left then is for the next call."""

LogStatus = Annotated[str, status_schema(CANONICAL)]


class WorkflowAnswer(msgspec.Struct):
    """A workflow with its all-time statistics."""

    id: Annotated[str, msgspec.Meta(description="The external id, as in addresses.")]
    workflow_id: str
    name: str
    environment_id: int
    environment_name: str
    provider: str
    execution_count: int
    success_count: int
    failure_count: int
    partial_count: int
    last_executed_at: dt.datetime | None
    average_duration_ms: Milliseconds
    created_at: dt.datetime


class LogEntry(msgspec.Struct):
    """One execution as a line of a log."""

    id: uuid.UUID
    external_id: str | None
    workflow_id: str
    workflow_name: str
    location_id: str
    environment_id: int
    status: LogStatus
    failed_action_id: str | None
    failed_action_name: str | None
    error_message: str | None
    error_class: str | None
    severity: str | None
    execution_time_ms: Milliseconds
    executed_at: dt.datetime
    completed_at: dt.datetime | None


class FailureEntry(msgspec.Struct):
    """One failure: when, in which action, why."""

    execution_id: uuid.UUID
    external_id: str | None
    timestamp: dt.datetime
    failed_action_id: str | None
    action: str | None
    error: str | None
    error_class: str | None
    severity: str | None
    execution_time_ms: Milliseconds


class LastFailureAnswer(msgspec.Struct):
    """The newest failure in the window."""

    timestamp: dt.datetime
    action: str | None
    error: str | None
    execution_id: uuid.UUID
    error_class: str | None


class MetricsAnswer(msgspec.Struct):
    """Failure rate, average time, last failure and trend of one workflow."""

    failure_rate: Annotated[
        float,
        msgspec.Meta(
            ge=0,
            le=100,
            description="Percent (0–100): failed of success, failed and partial; 0 of none.",
        ),
    ]
    avg_execution_time: Annotated[float, msgspec.Meta(description="Milliseconds; 0 of none.")]
    last_failure: LastFailureAnswer | None
    failure_trend: Annotated[
        str, msgspec.Meta(extra_json_schema={"enum": ["increasing", "decreasing", "stable"]})
    ]
    total_executions: int
    failed_executions: int


class Cleared(msgspec.Struct):
    """What clearing a history did."""

    deleted: int
    complete: Annotated[
        bool, msgspec.Meta(description="False: there is more than one call does. Repeat the call.")
    ]
    success: bool = True


@operation(
    "GET",
    "/api/workflows",
    name="workflows",
    capability="read.workflows",
    access=Access("read"),
    subject="Workflows",
    query=(SEARCH, ENVIRONMENT_ID, LIMIT, OFFSET, CURSOR),
    answers=(
        Answer(200, "A page, by name.", Page[WorkflowAnswer], examples.page([examples.WORKFLOW])),
    ),
    problems=(400,),
)
def list_workflows(request: ApiRequest) -> HttpResponse:
    """List workflows with their all-time statistics."""
    rows, pagination = page_of_workflows(request)
    statistics = workflow_statistics(rows)
    return json_answer(
        Page([_workflow_answer(row, statistics[row.pk]) for row in rows], pagination)
    )


@operation(
    "GET",
    "/api/workflows/{workflow_id}",
    name="workflow",
    access=Access("read"),
    subject="Workflows",
    query=(ENVIRONMENT_ID,),
    answers=(Answer(200, "The workflow.", WorkflowAnswer, examples.WORKFLOW),),
    problems=(404, 409),
)
def show_workflow(request: ApiRequest, workflow_id: str) -> HttpResponse:
    """Show one workflow with its all-time statistics."""
    workflow = workflow_of(request, workflow_id)
    return json_answer(_workflow_answer(workflow, workflow_statistics([workflow])[workflow.pk]))


@operation(
    "GET",
    "/api/workflows/{workflow_id}/executions",
    name="workflow-executions-of",
    access=Access("read"),
    subject="Workflows",
    query=(STATUS, START_DATE, END_DATE, ENVIRONMENT_ID, LIMIT, OFFSET, CURSOR),
    answers=(
        Answer(200, "A page, newest first.", Page[LogEntry], examples.page([examples.LOG_ENTRY])),
    ),
    problems=(400, 404, 409),
)
def list_history(request: ApiRequest, workflow_id: str) -> HttpResponse:
    """List the executions of a workflow."""
    workflow = workflow_of(request, workflow_id)
    rows, pagination = page_of(
        request,
        ExecutionQuery(
            workflow_ids=(workflow.pk,),
            statuses=STATUS.of(request),
            start=START_DATE.of(request),
            end=END_DATE.of(request),
        ),
    )
    return json_answer(Page([_log_entry(row, request.tenant) for row in rows], pagination))


@operation(
    "DELETE",
    "/api/workflows/{workflow_id}/executions",
    name="workflow-executions-of",
    access=Access("write", Role.ADMIN),
    subject="Workflows",
    query=(ENVIRONMENT_ID,),
    answers=(
        Answer(
            200, "They are deleted.", Cleared, {"deleted": 120, "complete": True, "success": True}
        ),
        Answer(
            202,
            "Some are deleted; repeat the call.",
            Cleared,
            {"deleted": 90000, "complete": False, "success": True},
        ),
    ),
    problems=(404, 409),
)
def clear_history(request: ApiRequest, workflow_id: str) -> HttpResponse:
    """Delete all executions of a workflow.

    Works for at most 15 seconds; when there is more, the answer is 202: repeat the call.
    """
    workflow = workflow_of(request, workflow_id)
    # Told first, because the steps commit one by one and a later crash must not hide them.
    audit.record(
        "workflow.clear",
        tenant=request.tenant,
        request=request,
        subject=workflow.external_id,
        environment_id=workflow.environment_id,
    )
    deleted, complete = _clear(workflow)
    return json_answer(Cleared(deleted, complete), 200 if complete else 202)


@operation(
    "GET",
    "/api/workflows/{workflow_id}/failures",
    name="workflow-failures",
    access=Access("read"),
    subject="Workflows",
    query=(FAILURES_HOURS, ENVIRONMENT_ID, LIMIT, OFFSET, CURSOR),
    answers=(
        Answer(200, "A page, newest first.", Page[FailureEntry], examples.page([examples.FAILURE])),
    ),
    problems=(400, 404, 409),
)
def list_failures(request: ApiRequest, workflow_id: str) -> HttpResponse:
    """List the recent failures of a workflow."""
    workflow = workflow_of(request, workflow_id)
    rows, pagination = page_of(
        request,
        ExecutionQuery(
            workflow_ids=(workflow.pk,),
            statuses=frozenset({Status.FAILED}),
            start=timezone.now() - dt.timedelta(hours=FAILURES_HOURS.of(request)),
        ),
    )
    return json_answer(Page([_failure(row) for row in rows], pagination))


@operation(
    "GET",
    "/api/workflows/{workflow_id}/metrics",
    name="workflow-metrics",
    capability="read.metrics",
    access=Access("read"),
    subject="Workflows",
    query=(METRICS_HOURS, ENVIRONMENT_ID),
    answers=(Answer(200, "The metrics.", MetricsAnswer, examples.METRICS),),
    problems=(400, 404, 409),
)
def show_metrics(request: ApiRequest, workflow_id: str) -> HttpResponse:
    """Show how a workflow has done lately.

    The window is the last 7 days unless `hours` says otherwise. The trend compares the failure
    rates of the window's halves.
    """
    workflow = workflow_of(request, workflow_id)
    window = dt.timedelta(hours=METRICS_HOURS.of(request))
    return json_answer(
        metrics_answer(workflow_metrics(workflow, now=timezone.now(), window=window))
    )


def _workflow_answer(workflow: Workflow, statistics: Statistics) -> WorkflowAnswer:
    return WorkflowAnswer(
        id=workflow.external_id,
        workflow_id=workflow.external_id,
        name=workflow.name,
        environment_id=workflow.environment_id,
        environment_name=workflow.environment.name,
        provider=workflow.environment.provider,
        execution_count=statistics.execution_count,
        success_count=statistics.success_count,
        failure_count=statistics.failure_count,
        partial_count=statistics.partial_count,
        last_executed_at=statistics.last_executed_at,
        average_duration_ms=rounded(statistics.average_duration_ms),
        created_at=workflow.created_at,
    )


# --- executions of one workflow -----------------------------------------------------------------


def _log_entry(execution: Execution, tenant: Tenant) -> LogEntry:
    return LogEntry(
        id=execution.id,
        external_id=execution.external_id,
        workflow_id=execution.workflow.external_id,
        workflow_name=execution.workflow.name,
        location_id=tenant.location_id or tenant.slug,
        environment_id=execution.environment_id,
        status=CANONICAL[execution.state],
        failed_action_id=execution.error_node_id,
        failed_action_name=execution.error_node_name,
        error_message=execution.error_message,
        error_class=error_class_slug(execution),
        severity=severity_slug(execution),
        execution_time_ms=execution.duration_ms,
        executed_at=execution.started,
        completed_at=execution.completed_at,
    )


def _failure(execution: Execution) -> FailureEntry:
    return FailureEntry(
        execution_id=execution.id,
        external_id=execution.external_id,
        timestamp=execution.started,
        failed_action_id=execution.error_node_id,
        action=execution.error_node_name or execution.error_node_id,
        error=execution.error_message,
        error_class=error_class_slug(execution),
        severity=severity_slug(execution),
        execution_time_ms=execution.duration_ms,
    )


def metrics_answer(metrics: WorkflowMetrics) -> MetricsAnswer:
    last = metrics.last_failure
    return MetricsAnswer(
        failure_rate=round(100 * (metrics.failure_rate or 0), 2),
        avg_execution_time=round(metrics.avg_execution_time or 0, 1),
        last_failure=None
        if last is None
        else LastFailureAnswer(
            timestamp=last.timestamp,
            action=last.action,
            error=last.error,
            execution_id=last.execution_id,
            error_class=last.error_class.slug if last.error_class is not None else None,
        ),
        failure_trend=metrics.failure_trend.value,
        total_executions=metrics.total_executions,
        failed_executions=metrics.failed_executions,
    )


def _clear(workflow: Workflow) -> tuple[int, bool]:
    """Delete step by step until nothing is left or the time is up; how many, and whether all."""
    deleted = 0
    give_up_at = time.monotonic() + CLEAR_SECONDS
    while step := clear_workflow_step(workflow):
        deleted += step
        if time.monotonic() >= give_up_at:
            return deleted, False
    return deleted, True
