"""The key figures of a range, compared with the range before (requirement 004)."""

from __future__ import annotations

from dataclasses import dataclass

from monitoring.metrics.ranges import Point, sparkline, totals_of_spans
from monitoring.metrics.subject import Measured
from monitoring.metrics.timerange import TimeRange
from monitoring.metrics.totals import Totals
from monitoring.words import Status


@dataclass(frozen=True, slots=True)
class Change:
    """How figures differ from the previous range of the same length.

    Counts and durations: relative change in percent (+15.0); rates: difference in percentage
    points (-2.0). None: there is nothing to compare with.
    """

    total_executions: float | None
    success_count: float | None
    failure_count: float | None
    success_rate: float | None
    failure_rate: float | None
    avg_duration_ms: float | None
    p50_duration_ms: float | None
    p95_duration_ms: float | None


@dataclass(frozen=True, slots=True)
class Kpis:
    """Key figures of `range`; rates are fractions, durations milliseconds, None: unknown.

    Rates are of success + failed + partial. `failure_count` counts failed; partial has its own
    count.
    """

    range: TimeRange
    totals: Totals
    previous: Totals
    points: list[Point]

    @property
    def total_executions(self) -> int:
        return self.totals.total

    @property
    def success_count(self) -> int:
        return self.totals.succeeded

    @property
    def failure_count(self) -> int:
        return self.totals.failed

    @property
    def partial_count(self) -> int:
        return self.totals.count(Status.PARTIAL)

    @property
    def running_count(self) -> int:
        return self.totals.count(Status.RUNNING)

    @property
    def waiting_count(self) -> int:
        return self.totals.count(Status.WAITING)

    @property
    def success_rate(self) -> float | None:
        return self.totals.success_rate

    @property
    def failure_rate(self) -> float | None:
        return self.totals.failure_rate

    @property
    def avg_duration_ms(self) -> float | None:
        return self.totals.average_ms

    @property
    def p50_duration_ms(self) -> float | None:
        return self.totals.percentile(50)

    @property
    def p95_duration_ms(self) -> float | None:
        return self.totals.percentile(95)

    @property
    def change(self) -> Change:
        """Requirement 004's `delta_vs_previous`."""
        now, before = self.totals, self.previous
        return Change(
            total_executions=relative_change(before.total, now.total),
            success_count=relative_change(before.succeeded, now.succeeded),
            failure_count=relative_change(before.failed, now.failed),
            success_rate=_points(before.success_rate, now.success_rate),
            failure_rate=_points(before.failure_rate, now.failure_rate),
            avg_duration_ms=relative_change(before.average_ms, now.average_ms),
            p50_duration_ms=relative_change(before.percentile(50), now.percentile(50)),
            p95_duration_ms=relative_change(before.percentile(95), now.percentile(95)),
        )


def kpis(subject: Measured, range_: TimeRange) -> Kpis:
    """Key figures of one subject: two statements, needs a tenant's scope."""
    before = range_.previous
    previous, current = totals_of_spans(
        subject, [(before.start, before.end), (range_.start, range_.end)]
    )
    return Kpis(range_, current, previous, sparkline(subject, range_))


def relative_change(before: float | None, now: float | None) -> float | None:
    """Change in percent of `before`; None when there is nothing to relate to."""
    if not before or now is None:
        return None
    return (now - before) / before * 100


def _points(before: float | None, now: float | None) -> float | None:
    if before is None or now is None:
        return None
    return (now - before) * 100
