"""Key figures, workflow performance and executions as requirement 004 shows them."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Annotated

import msgspec
from django.http import HttpResponse
from django.utils import timezone

from monitoring.api import examples
from monitoring.api.answers import (
    OBSERVABILITY,
    Milliseconds,
    Page,
    Percent,
    json_answer,
    rounded,
    status_schema,
)
from monitoring.api.endpoints import Answer, operation
from monitoring.api.executions import error_class_slug, severity_slug
from monitoring.api.finding import (
    environment_of,
    measured_by,
    page_of,
    started_at,
    workflow_filter,
)
from monitoring.api.parameters import (
    CURSOR,
    END,
    ENVIRONMENT_ID,
    LIMIT,
    OFFSET,
    SEARCH,
    START,
    STATUS,
    WORKFLOW_ID_SNAKE,
    ZONE,
    Parameter,
)
from monitoring.api.workflow_pages import last_failures, page_of_workflows
from monitoring.history import ExecutionQuery
from monitoring.metrics.kpis import Kpis, kpis
from monitoring.metrics.ranges import Point, totals_by_workflow
from monitoring.metrics.statistics import workflow_statistics
from monitoring.metrics.timerange import DEFAULT_PRESET, PRESETS, TimeRange, TimeRangeError
from monitoring.metrics.totals import Totals
from monitoring.metrics.trends import RankedWorkflow, top_workflows, workflows_needing_a_look
from monitoring.models import Execution, Workflow
from monitoring.words import Status
from tenants.api_access import Access, ApiRequest
from tenants.problems import Problem

TIME_RANGE: Parameter[str] = Parameter(
    "time_range",
    "A range that ends now; wins over `start` and `end`.",
    {"type": "string", "enum": list(PRESETS), "default": DEFAULT_PRESET},
    str,
    DEFAULT_PRESET,
)
RANGE = (TIME_RANGE, START, END, ZONE)
TOP_WORKFLOWS = 5

ObservedStatus = Annotated[str, status_schema(OBSERVABILITY)]


class SparklinePoint(msgspec.Struct):
    """The numbers of one interval of the range."""

    start: dt.datetime
    end: dt.datetime
    total_executions: int
    success_count: int
    failure_count: int
    success_rate: Percent
    avg_duration_ms: Milliseconds


class Delta(msgspec.Struct):
    """Difference from the range before: counts and durations in percent, rates in points."""

    total_executions: float | None
    success_count: float | None
    failure_count: float | None
    success_rate: float | None
    avg_duration_ms: float | None
    p50_duration_ms: float | None
    p95_duration_ms: float | None


class KpiAnswer(msgspec.Struct):
    """Key figures of a range. Rates are of success, failed and partial."""

    time_range: str
    start: dt.datetime
    end: dt.datetime
    total_executions: int
    success_count: int
    failure_count: int
    partial_count: int
    running_count: int
    waiting_count: int
    success_rate: Percent
    avg_duration_ms: Milliseconds
    p50_duration_ms: Milliseconds
    p95_duration_ms: Milliseconds
    sparkline_data: list[SparklinePoint]
    delta_vs_previous: Delta


class RankedAnswer(msgspec.Struct):
    """A workflow among the first of a ranking."""

    workflow_id: str
    workflow_name: str
    environment_id: int
    total_executions: int
    failure_count: int
    success_rate: Percent


class ErrorClassCount(msgspec.Struct):
    """How many failures are of one class."""

    error_class: str
    count: int


class OverviewAnswer(msgspec.Struct):
    """Everything for a first look at a range."""

    kpis: KpiAnswer
    status_breakdown: dict[str, int]
    error_classes: list[ErrorClassCount]
    top_workflows: list[RankedAnswer]
    failing_workflows: list[RankedAnswer]


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


class ObservedExecution(msgspec.Struct):
    """One execution."""

    id: uuid.UUID
    tenant_id: int
    environment_id: int
    provider: str
    workflow_id: str
    workflow_name: str
    external_id: str | None
    n8n_execution_id: Annotated[
        str | None, msgspec.Meta(description="The provider's id, whatever the provider.")
    ]
    status: ObservedStatus
    normalized_status: ObservedStatus
    started_at: dt.datetime
    finished_at: dt.datetime | None
    execution_time: Milliseconds
    error_message: str | None
    error_node: str | None
    error_class: str | None
    severity: str | None
    mode: str | None
    created_at: dt.datetime
    updated_at: dt.datetime


@operation(
    "GET",
    "/api/v1/observability/kpis",
    name="observability-kpis",
    capability="read.observability",
    access=Access("read"),
    subject="Observability",
    query=(*RANGE, WORKFLOW_ID_SNAKE, ENVIRONMENT_ID),
    answers=(Answer(200, "The key figures.", KpiAnswer, examples.KPIS),),
    problems=(400, 409),
)
def show_kpis(request: ApiRequest) -> HttpResponse:
    """Show the key figures of a range, compared with the range before.

    Counts are exact, percentiles within 1 %. `sparkline_data` has 12, 12, 24, 14 and 30 points for
    the ranges 1h, 6h, 24h, 7d and 30d.
    """
    return json_answer(_kpis(kpis(measured_by(request, WORKFLOW_ID_SNAKE), range_of(request))))


@operation(
    "GET",
    "/api/v1/observability/overview",
    name="observability-overview",
    access=Access("read"),
    subject="Observability",
    query=(*RANGE, WORKFLOW_ID_SNAKE, ENVIRONMENT_ID),
    answers=(Answer(200, "The overview.", OverviewAnswer, examples.OBSERVABILITY_OVERVIEW),),
    problems=(400, 409),
)
def show_observability_overview(request: ApiRequest) -> HttpResponse:
    """Show everything for a first look: key figures, statuses, error classes, busiest and failing
    workflows."""
    subject, range_ = measured_by(request, WORKFLOW_ID_SNAKE), range_of(request)
    found = kpis(subject, range_)
    return json_answer(
        OverviewAnswer(
            kpis=_kpis(found),
            status_breakdown=_status_counts(found.totals),
            error_classes=[
                ErrorClassCount(each.slug, count)
                for each, count in found.totals.by_error_class.items()
            ],
            top_workflows=_ranked(top_workflows(subject, range_, limit=TOP_WORKFLOWS)),
            failing_workflows=_ranked(
                workflows_needing_a_look(subject, range_, limit=TOP_WORKFLOWS)
            ),
        )
    )


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


@operation(
    "GET",
    "/api/v1/executions",
    name="v1-executions",
    access=Access("read"),
    subject="Observability",
    query=(STATUS, WORKFLOW_ID_SNAKE, ENVIRONMENT_ID, START, END, LIMIT, OFFSET, CURSOR),
    answers=(
        Answer(
            200,
            "A page, newest first.",
            Page[ObservedExecution],
            examples.page([examples.OBSERVED_EXECUTION]),
        ),
    ),
    problems=(400, 409),
)
def list_observed_executions(request: ApiRequest) -> HttpResponse:
    """List executions in snake_case, with provider, error class and severity.

    `error` here means failed and partial, also as a filter.
    """
    rows, pagination = page_of(
        request,
        ExecutionQuery(
            workflow_ids=workflow_filter(request, WORKFLOW_ID_SNAKE),
            environment_id=environment_of(request),
            statuses=_with_partial(request),
            start=START.of(request),
            end=END.of(request),
        ),
    )
    return json_answer(Page([_observed(row) for row in rows], pagination))


def range_of(request: ApiRequest) -> TimeRange:
    """The range that a call asks for, by default the last 24 hours. Raises 400."""
    try:
        return TimeRange.from_query(request.GET, now=timezone.now())
    except TimeRangeError as error:
        raise Problem(
            400,
            "bad-parameter",
            "The request could not be read",
            str(error),
            errors=[{"loc": ["query", error.field], "msg": str(error)}],
        ) from None


def _with_partial(request: ApiRequest) -> frozenset[Status]:
    statuses = STATUS.of(request)
    words = (request.GET.get(STATUS.name) or "").lower().split(",")
    return statuses | {Status.PARTIAL} if "error" in map(str.strip, words) else statuses


def percent_of(fraction: float | None) -> float | None:
    """A fraction as a percentage to two digits."""
    return None if fraction is None else round(100 * fraction, 2)


def _kpis(found: Kpis) -> KpiAnswer:
    return KpiAnswer(
        time_range=found.range.slug,
        start=found.range.start,
        end=found.range.end,
        total_executions=found.total_executions,
        success_count=found.success_count,
        failure_count=found.failure_count,
        partial_count=found.partial_count,
        running_count=found.running_count,
        waiting_count=found.waiting_count,
        success_rate=percent_of(found.success_rate),
        avg_duration_ms=rounded(found.avg_duration_ms),
        p50_duration_ms=rounded(found.p50_duration_ms),
        p95_duration_ms=rounded(found.p95_duration_ms),
        sparkline_data=[_point(point) for point in found.points],
        delta_vs_previous=_delta(found),
    )


def _point(point: Point) -> SparklinePoint:
    return SparklinePoint(
        start=point.start,
        end=point.end,
        total_executions=point.totals.total,
        success_count=point.totals.succeeded,
        failure_count=point.totals.failed,
        success_rate=percent_of(point.totals.success_rate),
        avg_duration_ms=rounded(point.totals.average_ms),
    )


def _delta(found: Kpis) -> Delta:
    change = found.change
    return Delta(
        **{
            name: None if value is None else round(value, 2)
            for name in Delta.__struct_fields__
            for value in [getattr(change, name)]
        }
    )


def _status_counts(totals: Totals) -> dict[str, int]:
    """Counts by 004's words: failed and partial are one."""
    counts: dict[str, int] = {}
    for status, count in totals.by_status.items():
        word = OBSERVABILITY[status]
        counts[word] = counts.get(word, 0) + count
    return counts


def _ranked(ranking: list[RankedWorkflow]) -> list[RankedAnswer]:
    return [
        RankedAnswer(
            workflow_id=each.workflow.external_id,
            workflow_name=each.workflow.name,
            environment_id=each.workflow.environment_id,
            total_executions=each.totals.total,
            failure_count=each.totals.failed,
            success_rate=percent_of(each.totals.success_rate),
        )
        for each in ranking
    ]


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
        last_failure_at=started_at(failure) if failure else None,
        last_error_message=failure.error_message if failure else None,
    )


def _observed(execution: Execution) -> ObservedExecution:
    word = OBSERVABILITY[execution.state]
    return ObservedExecution(
        id=execution.id,
        tenant_id=execution.tenant_id,
        environment_id=execution.environment_id,
        provider=execution.environment.provider,
        workflow_id=execution.workflow.external_id,
        workflow_name=execution.workflow.name,
        external_id=execution.external_id,
        n8n_execution_id=execution.external_id,
        status=word,
        normalized_status=word,
        started_at=started_at(execution),
        finished_at=execution.completed_at,
        execution_time=execution.duration_ms,
        error_message=execution.error_message,
        error_node=execution.error_node_name or execution.error_node_id,
        error_class=error_class_slug(execution),
        severity=severity_slug(execution),
        mode=execution.trigger_type,
        created_at=execution.received_at,
        updated_at=execution.changed_at,
    )
