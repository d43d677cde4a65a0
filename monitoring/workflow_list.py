"""Workflows of a tenant in an order by numbers of a range, a page at a time. Needs its scope.

The order comes from whole buckets that cover the range (hours for short ranges, days for long
ones), so that thousands of workflows can be ordered without reading every small bucket; the numbers
of the page itself are exact, and its rows stand in their exact order. Where there is more than one
page, the order may be some seconds old.
"""

from __future__ import annotations

import datetime as dt
import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from monitoring.metrics.kept_order import rows_in_order
from monitoring.metrics.ranges import Point, sparklines_by_workflow, totals_by_workflow
from monitoring.metrics.timerange import TimeRange, ceil_to, floor_to
from monitoring.metrics.totals import Totals
from monitoring.models import Level, Subject, Workflow
from monitoring.named import NAMES, workflows_by_id
from monitoring.prepared import fetch_all
from monitoring.recent import Recent, last_and_failed
from monitoring.words import RATED, Status
from tenants.scoping import current_tenant

PAGE_SIZE: Final = 50
BUSIEST: Final = 300
"""Percentiles are compared among so many workflows with the most executions."""

_HOURS_UP_TO: Final = dt.timedelta(days=3)


class Order(enum.Enum):
    """What workflows are ordered by; the value is the word in addresses."""

    NAME = "name"
    LAST = "last"
    EXECUTIONS = "executions"
    FAILURES = "failures"
    RATE = "rate"
    P95 = "p95"


@dataclass(frozen=True, slots=True)
class Listing:
    """One workflow with its numbers in the range; `previous` has no percentiles."""

    workflow: Workflow
    totals: Totals
    previous: Totals
    points: Sequence[Point]
    last: Recent | None
    last_failure: Recent | None

    @property
    def change(self) -> float | None:
        """Difference of the failure rates in percentage points."""
        before, now = self.previous.failure_rate, self.totals.failure_rate
        return None if before is None or now is None else (now - before) * 100


@dataclass(frozen=True, slots=True)
class ListPage:
    """A page of workflows; `count` is how many match, `ordered` how many of them have a place."""

    rows: list[Listing]
    count: int
    ordered: int


def list_workflows(
    range_: TimeRange,
    *,
    order: Order = Order.FAILURES,
    reverse: bool = False,
    search: str = "",
    environment_id: int | None = None,
    page: int = 1,
) -> ListPage:
    """Return one page; names ascend and numbers descend unless `reverse`.

    A bounded number of statements, whatever the number of workflows.
    """
    found = Workflow.objects.named_like(search) if search else Workflow.objects.all()
    if environment_id is not None:
        found = found.filter(environment_id=environment_id)
    ids = list(found.order_by("name", "pk").values_list("pk", flat=True))
    ordered = _in_order(ids, range_, order, reverse)
    chosen = ordered[(page - 1) * PAGE_SIZE : page * PAGE_SIZE]
    rows = _listings(chosen, range_)
    if order in _EXACT:
        rows.sort(key=lambda row: _EXACT[order](row.totals), reverse=not reverse)
    return ListPage(rows, len(ids), len(ordered))


_EXACT: Final[dict[Order, Callable[[Totals], float]]] = {
    Order.EXECUTIONS: lambda totals: totals.total,
    Order.FAILURES: lambda totals: totals.failed,
    Order.RATE: lambda totals: -1 if totals.failure_rate is None else totals.failure_rate,
    Order.P95: lambda totals: totals.percentile(95) or -1,
}


def _listings(ids: Sequence[int], range_: TimeRange) -> list[Listing]:
    if not ids:
        return []
    workflows = workflows_by_id(ids, NAMES)
    now = totals_by_workflow(ids, range_)
    before = totals_by_workflow(ids, range_.previous, percentiles=False, durations=False)
    points = sparklines_by_workflow(ids, range_)
    last, failures = last_and_failed(ids, range_.start, range_.end)
    return [
        Listing(workflows[pk], now[pk], before[pk], points[pk], last.get(pk), failures.get(pk))
        for pk in ids
        if pk in workflows
    ]


def _in_order(ids: list[int], range_: TimeRange, order: Order, reverse: bool) -> list[int]:
    if order is Order.NAME:
        return ids[::-1] if reverse else ids
    if order is Order.LAST:
        return _by_last(ids, reverse)
    if order is Order.P95:
        busiest = _by_buckets(ids, range_, Order.EXECUTIONS, False)[:BUSIEST]
        exact = totals_by_workflow(busiest, range_)
        place = {pk: _EXACT[Order.P95](totals) for pk, totals in exact.items()}
        return sorted(busiest, key=place.__getitem__, reverse=not reverse)
    return _by_buckets(ids, range_, order, reverse)


def _by_last(ids: Sequence[int], reverse: bool) -> list[int]:
    """Never kept: who looks for what ran just now means now."""
    tenant_id = current_tenant().pk
    statement = _BY_LAST.format(direction="ASC" if reverse else "DESC")
    return [pk for (pk,) in fetch_all(statement, [list(ids), tenant_id, tenant_id, list(ids)])]


def _by_buckets(ids: Sequence[int], range_: TimeRange, order: Order, reverse: bool) -> list[int]:
    level = Level.HOUR if range_.length <= _HOURS_UP_TO else Level.DAY
    start, end = floor_to(range_.start, level.length), ceil_to(range_.end, level.length)
    tenant_id = current_tenant().pk
    direction = "ASC" if reverse else "DESC"
    rows = rows_in_order(
        _BY_BUCKETS.format(
            value=_VALUES[order],
            direction=direction,
            numbers=_NUMBERS[order],
            level=int(level),
            workflows=int(Subject.WORKFLOW),
        ),
        [
            list(ids), tenant_id, start, end,
            tenant_id, list(ids), start, end,
        ],
        more_than=PAGE_SIZE,
    )  # fmt: skip
    return [workflow_id for (workflow_id,) in rows]


def _sum_of(statuses: Sequence[Status]) -> str:
    return " + ".join(f"counts[{status + 1}]" for status in statuses)


_VALUES: Final = {
    Order.EXECUTIONS: "coalesce(sum(total), 0)",
    Order.FAILURES: "coalesce(sum(failed), 0)",
    Order.RATE: "sum(failed)::float / nullif(sum(rated), 0)",
}


def _numbers(*, total: bool = False, failed: bool = False, rated: bool = False) -> str:
    """What an order needs of a bucket: reading a place of a stored array costs."""
    return (
        f"{_sum_of(list(Status)) if total else 0} AS total,"
        f" {_sum_of([Status.FAILED]) if failed else 0} AS failed,"
        f" {_sum_of(sorted(RATED)) if rated else 0} AS rated"
    )


_NUMBERS: Final = {
    Order.EXECUTIONS: _numbers(total=True),
    Order.FAILURES: _numbers(failed=True),
    Order.RATE: _numbers(failed=True, rated=True),
}
# Deltas that are not folded yet tell of what ran just now.
_BY_LAST: Final = """
WITH asked (id, place) AS MATERIALIZED (SELECT * FROM unnest(%s::bigint[]) WITH ORDINALITY),
part (id, last) AS (
    SELECT id, last_executed_at FROM monitoring_workflow WHERE tenant_id = %s
    UNION ALL
    SELECT workflow_id, last_executed_at FROM monitoring_rollupdelta
    WHERE tenant_id = %s AND workflow_id = ANY(%s::bigint[])
)
SELECT id FROM part JOIN asked USING (id)
GROUP BY id, place ORDER BY max(last) {direction} NULLS LAST, place"""
# Buckets of all workflows are read as in `metrics.ranking`.
_BY_BUCKETS: Final = """
WITH asked (id, place) AS MATERIALIZED (SELECT * FROM unnest(%s::bigint[]) WITH ORDINALITY),
part (id, total, failed, rated) AS (
    SELECT id, 0, 0, 0 FROM asked
    UNION ALL
    SELECT subject_id, {numbers} FROM monitoring_rollup
    WHERE tenant_id = %s AND subject_kind = {workflows} AND level = {level} AND bucket >= %s AND bucket < %s
    UNION ALL
    SELECT d.workflow_id, d.total, d.failed, d.rated FROM (
        SELECT workflow_id, bucket, {numbers} FROM monitoring_rollupdelta
        WHERE tenant_id = %s AND workflow_id = ANY(%s::bigint[])
    ) d WHERE d.bucket >= %s AND d.bucket < %s
)
SELECT id FROM part JOIN asked USING (id)
GROUP BY id, place ORDER BY {value} {direction} NULLS LAST, place"""
