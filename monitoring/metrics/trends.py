"""Is it getting better or worse: trends, rankings and when it fails. Needs a tenant's scope."""

from __future__ import annotations

import datetime as dt
import enum
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from monitoring.metrics.ranges import (
    Point,
    series,
    totals_by_workflow,
    totals_of_spans,
)
from monitoring.metrics.ranking import busiest, most_failing
from monitoring.metrics.subject import Measured, of_workflow
from monitoring.metrics.timerange import Step, TimeRange
from monitoring.metrics.totals import Totals
from monitoring.models import Execution, Workflow
from monitoring.named import workflows_by_id
from monitoring.words import ErrorClass, Status

DEFAULT_WINDOW: Final = dt.timedelta(days=7)
_MOST_LOOKED_AT: Final = 100
_FEWEST_FAILURES: Final = 5
_LEAST_CHANGE_PERCENT: Final = 20


class Trend(enum.StrEnum):
    """Where a failure rate goes (requirement 000, section 4)."""

    INCREASING = "increasing"
    DECREASING = "decreasing"
    STABLE = "stable"


def trend_of(earlier: Totals, later: Totals) -> Trend:
    """Compare the failure rates of a window's halves; nothing finished in a half: no failures there.

    Stable: fewer than 5 failures in both together, or a change under 20 % of the earlier rate.
    """
    if earlier.failed + later.failed < _FEWEST_FAILURES:
        return Trend.STABLE
    # The rates times both numbers of rated executions: whole numbers compare exactly.
    before = earlier.failed * max(later.rated, 1)
    now = later.failed * max(earlier.rated, 1)
    if abs(now - before) * 100 < _LEAST_CHANGE_PERCENT * before or now == before:
        return Trend.STABLE
    return Trend.INCREASING if now > before else Trend.DECREASING


@dataclass(frozen=True, slots=True)
class LastFailure:
    """The newest failed execution of a window."""

    execution_id: uuid.UUID
    timestamp: dt.datetime
    node_id: str | None
    action: str | None
    error: str | None
    error_class: ErrorClass | None


@dataclass(frozen=True, slots=True)
class WorkflowMetrics:
    """Requirement 000's ExecutionMetrics; `failure_rate` is a fraction, None: nothing finished."""

    failure_rate: float | None
    avg_execution_time: float | None
    last_failure: LastFailure | None
    failure_trend: Trend
    total_executions: int
    failed_executions: int


def workflow_metrics(
    workflow: Workflow, *, now: dt.datetime, window: dt.timedelta = DEFAULT_WINDOW
) -> WorkflowMetrics:
    """Metrics of a workflow over the window that ends now; totals count everything."""
    range_ = TimeRange.last(window, now=now)
    earlier, later = totals_of_spans(
        of_workflow(workflow), [(half.start, half.end) for half in range_.halves]
    )
    both = earlier + later
    return WorkflowMetrics(
        failure_rate=both.failure_rate,
        avg_execution_time=both.average_ms,
        last_failure=last_failure(workflow, range_) if both.failed else None,
        failure_trend=trend_of(earlier, later),
        total_executions=both.total,
        failed_executions=both.failed,
    )


def last_failure(workflow: Workflow, range_: TimeRange) -> LastFailure | None:
    """The newest failed execution of a workflow in a range, with its failing node."""
    found = (
        Execution.objects.filter(workflow_id=workflow.pk, status=Status.FAILED)
        .started_between(range_.start, range_.end)
        .newest_first()
        .only("started_at", "error_node_id", "error_node_name", "error_message", "error_class")
        .first()
    )
    if found is None:
        return None
    return LastFailure(
        found.id,
        found.started,
        found.error_node_id,
        found.error_node_name or found.error_node_id,
        found.error_message,
        None if found.error_class is None else ErrorClass(found.error_class),
    )


# --- overview (requirement 003, stats/overview) -------------------------------------------------


@dataclass(frozen=True, slots=True)
class RankedWorkflow:
    """A workflow in a ranking, with its numbers in the range and, when asked for, before it."""

    workflow: Workflow
    totals: Totals
    previous: Totals | None = None

    @property
    def change(self) -> float | None:
        """Difference of the failure rates in percentage points; None: nothing to compare with."""
        before = self.previous.failure_rate if self.previous else None
        now = self.totals.failure_rate
        return None if before is None or now is None else (now - before) * 100


@dataclass(frozen=True, slots=True)
class OverviewStatistics:
    """Status breakdown, one point for each local day, and the busiest workflows of a range."""

    totals: Totals
    daily: list[Point]
    top: list[RankedWorkflow]


def overview_statistics(
    subject: Measured, range_: TimeRange, *, limit: int = 10
) -> OverviewStatistics:
    """Requirement 003's statistics: `statusBreakdown`, `dailyTrend` and `topWorkflows`."""
    [whole] = totals_of_spans(subject, [(range_.start, range_.end)])
    return OverviewStatistics(
        whole, series(subject, range_, Step.DAY), top_workflows(subject, range_, limit=limit)
    )


def top_workflows(subject: Measured, range_: TimeRange, *, limit: int = 10) -> list[RankedWorkflow]:
    """The workflows of a subject with the most executions in a range, busiest first."""
    return _with_workflows(busiest(subject, range_, limit=limit))


class Worst(enum.StrEnum):
    """What makes a workflow need a look."""

    FAILURES = "failures"
    RATE = "rate"
    CHANGE = "change"


_SCORES: Final[dict[Worst, Callable[[RankedWorkflow], float]]] = {
    Worst.FAILURES: lambda found: found.totals.failed,
    Worst.RATE: lambda found: found.totals.failure_rate or 0,
    Worst.CHANGE: lambda found: (
        # Without anything to compare with, failing at all is the change.
        found.change if found.change is not None else (found.totals.failure_rate or 0) * 100
    ),
}


def workflows_needing_a_look(
    subject: Measured, range_: TimeRange, *, by: Worst = Worst.FAILURES, limit: int = 5
) -> list[RankedWorkflow]:
    """Workflows with failures in a range, worst first, with the previous range to compare.

    By rate or change, the 100 workflows with the most failures are looked at.
    """
    failing = most_failing(
        subject, range_, limit=limit if by is Worst.FAILURES else _MOST_LOOKED_AT
    )
    ids = [workflow_id for workflow_id, _ in failing]
    before = totals_by_workflow(ids, range_.previous, percentiles=False, durations=False)
    ranked = [
        RankedWorkflow(found.workflow, found.totals, before[found.workflow.pk])
        for found in _with_workflows(failing)
    ]
    score = _SCORES[by]
    ranked = [found for found in ranked if score(found) > 0]
    ranked.sort(key=lambda found: (score(found), found.totals.failed), reverse=True)
    return ranked[:limit]


def _with_workflows(ranking: list[tuple[int, Totals]]) -> list[RankedWorkflow]:
    workflows = workflows_by_id([workflow_id for workflow_id, _ in ranking])
    return [
        RankedWorkflow(workflows[workflow_id], numbers)
        for workflow_id, numbers in ranking
        if workflow_id in workflows
    ]
