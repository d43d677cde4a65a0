"""Key figures and the overview of a range, as requirement 004 shows them."""

from __future__ import annotations

import datetime as dt

import msgspec
from django.http import HttpResponse

from monitoring.api import examples
from monitoring.api.answers import (
    OBSERVABILITY,
    Milliseconds,
    Percent,
    json_answer,
    percent_of,
    rounded,
)
from monitoring.api.endpoints import Answer, operation
from monitoring.api.finding import (
    measured_by,
)
from monitoring.api.parameters import (
    ENVIRONMENT_ID,
    WORKFLOW_ID_SNAKE,
)
from monitoring.api.ranges import RANGE, range_of
from monitoring.metrics.kpis import Kpis, kpis
from monitoring.metrics.ranges import Point
from monitoring.metrics.totals import Totals
from monitoring.metrics.trends import RankedWorkflow, top_workflows, workflows_needing_a_look
from tenants.api_access import Access, ApiRequest

TOP_WORKFLOWS = 5


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
    """Key figures of a range. Rates are of success, failed and partial.

    `failure_count` is of failed, `partial_count` of partial executions; the status word `error`
    (`status_breakdown`, `?status=error`) means both.
    """

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
