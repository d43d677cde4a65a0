"""Workflows with their numbers in a range, as requirement 004 shows them."""

from __future__ import annotations

import datetime as dt

import msgspec
from django.http import HttpResponse

from monitoring.api import examples
from monitoring.api.answers import Milliseconds, Page, Percent, json_answer, percent_of, rounded
from monitoring.api.endpoints import Answer, operation
from monitoring.api.parameters import (
    CURSOR,
    ENVIRONMENT_ID,
    LIMIT,
    OFFSET,
    SEARCH,
    WORKFLOW_ID_SNAKE,
)
from monitoring.api.ranges import RANGE, range_of
from monitoring.api.workflow_pages import last_failures, page_of_workflows
from monitoring.metrics.ranges import totals_by_workflow
from monitoring.metrics.statistics import workflow_statistics
from monitoring.metrics.totals import Totals
from monitoring.models import Execution, Workflow
from tenants.api_access import Access, ApiRequest


class WorkflowPerformance(msgspec.Struct):
    """The numbers of one workflow in the range."""

    workflow_id: str
    workflow_name: str
    environment_id: int
    total_executions: int
    success_count: int
    failure_count: int
    success_rate: Percent
    avg_duration_ms: Milliseconds
    p50_duration_ms: Milliseconds
    p95_duration_ms: Milliseconds


class ExecutionAnalytics(msgspec.Struct):
    """The numbers of one workflow in the range, with its last failure."""

    workflow_id: str
    workflow_name: str
    environment_id: int
    tenant_id: int
    total_count: int
    success_count: int
    failure_count: int
    success_rate: Percent
    avg_duration: Milliseconds
    p50_duration: Milliseconds
    p95_duration: Milliseconds
    last_execution_at: dt.datetime | None
    last_failure_at: dt.datetime | None
    last_error_message: str | None


@operation(
    "GET",
    "/api/v1/observability/workflows",
    name="observability-workflows",
    access=Access("read"),
    subject="Observability",
    query=(*RANGE, WORKFLOW_ID_SNAKE, ENVIRONMENT_ID, SEARCH, LIMIT, OFFSET, CURSOR),
    answers=(
        Answer(
            200,
            "A page, by name.",
            Page[WorkflowPerformance],
            examples.page([examples.WORKFLOW_PERFORMANCE]),
        ),
    ),
    problems=(400, 409),
)
def list_workflow_performance(request: ApiRequest) -> HttpResponse:
    """List workflows with their numbers in a range."""
    range_ = range_of(request)
    rows, pagination = page_of_workflows(request)
    numbers = totals_by_workflow([row.pk for row in rows], range_)
    return json_answer(Page([_performance(row, numbers[row.pk]) for row in rows], pagination))


@operation(
    "GET",
    "/api/v1/analytics/executions",
    name="analytics-executions",
    access=Access("read"),
    subject="Observability",
    query=(*RANGE, WORKFLOW_ID_SNAKE, ENVIRONMENT_ID, SEARCH, LIMIT, OFFSET, CURSOR),
    answers=(
        Answer(
            200,
            "A page, by name.",
            Page[ExecutionAnalytics],
            examples.page([examples.EXECUTION_ANALYTICS]),
        ),
    ),
    problems=(400, 409),
)
def list_execution_analytics(request: ApiRequest) -> HttpResponse:
    """List workflows with their numbers in a range and their last failure in it."""
    range_ = range_of(request)
    rows, pagination = page_of_workflows(request)
    numbers = totals_by_workflow([row.pk for row in rows], range_)
    failures = last_failures(rows, range_.start, range_.end)
    statistics = workflow_statistics(rows)
    return json_answer(
        Page(
            [
                _analytics(
                    row,
                    numbers[row.pk],
                    failures.get(row.pk),
                    statistics[row.pk].last_executed_at,
                )
                for row in rows
            ],
            pagination,
        )
    )


def _performance(workflow: Workflow, totals: Totals) -> WorkflowPerformance:
    return WorkflowPerformance(
        workflow_id=workflow.external_id,
        workflow_name=workflow.name,
        environment_id=workflow.environment_id,
        total_executions=totals.total,
        success_count=totals.succeeded,
        failure_count=totals.failed,
        success_rate=percent_of(totals.success_rate),
        avg_duration_ms=rounded(totals.average_ms),
        p50_duration_ms=rounded(totals.percentile(50)),
        p95_duration_ms=rounded(totals.percentile(95)),
    )


def _analytics(
    workflow: Workflow,
    totals: Totals,
    failure: Execution | None,
    last_executed_at: dt.datetime | None,
) -> ExecutionAnalytics:
    return ExecutionAnalytics(
        workflow_id=workflow.external_id,
        workflow_name=workflow.name,
        environment_id=workflow.environment_id,
        tenant_id=workflow.tenant_id,
        total_count=totals.total,
        success_count=totals.succeeded,
        failure_count=totals.failed,
        success_rate=percent_of(totals.success_rate),
        avg_duration=rounded(totals.average_ms),
        p50_duration=rounded(totals.percentile(50)),
        p95_duration=rounded(totals.percentile(95)),
        last_execution_at=last_executed_at,
        last_failure_at=failure.started if failure else None,
        last_error_message=failure.error_message if failure else None,
    )
