"""The workflows with the most of something in a range, without reading every bucket of all.

Counts never fall when a range is widened to whole hours or days. So the covering buckets, which are
few, bound each workflow's number from above. Those with the highest bounds are read exactly, and
further ones for as long as their bounds leave a place open (Fagin, Lotem, Naor, "Optimal
aggregation algorithms for middleware", PODS 2001). Of many workflows, the bounds may be some seconds
old.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Final

from monitoring.metrics.kept_order import rows_in_order
from monitoring.metrics.ranges import totals_by_workflow
from monitoring.metrics.reading import ID_COLUMN
from monitoring.metrics.subject import Measured
from monitoring.metrics.timerange import TimeRange, ceil_to, floor_to
from monitoring.metrics.totals import Totals
from monitoring.models import Level, Subject
from monitoring.words import Status
from tenants.scoping import current_tenant

Ranking = list[tuple[int, Totals]]
"""(workflow id, its exact totals without percentiles), greatest first."""

_READ_AT_ONCE: Final = 50
_DAYS_FROM: Final = dt.timedelta(hours=12)
"""Ranges from this length on are covered by days, shorter ones by hours."""


def busiest(subject: Measured, range_: TimeRange, *, limit: int) -> Ranking:
    """The workflows with the most executions."""
    counted = " + ".join(f"counts[{status + 1}]" for status in Status)
    return _ranked(subject, range_, counted, lambda found: found.total, limit)


def most_failing(subject: Measured, range_: TimeRange, *, limit: int) -> Ranking:
    """The workflows with the most failed executions, none without any."""
    return _ranked(
        subject, range_, f"counts[{Status.FAILED + 1}]", lambda found: found.failed, limit
    )


def _ranked(
    subject: Measured,
    range_: TimeRange,
    counted: str,
    number: Callable[[Totals], int],
    limit: int,
) -> Ranking:
    bounds = _bounds(subject, range_, counted)
    ranked: Ranking = []
    first, last = 0, max(limit, _READ_AT_ONCE)
    while first < len(bounds) and (
        len(ranked) < limit
        or number(ranked[-1][1]) < bounds[first][1]  # it may belong before the last
    ):
        ids = [workflow_id for workflow_id, _ in bounds[first:last]]
        exact = totals_by_workflow(ids, range_, percentiles=False)
        found = [item for item in exact.items() if number(item[1])]
        ranked = sorted(ranked + found, key=lambda item: (-number(item[1]), item[0]))[:limit]
        first, last = last, 2 * last
    return ranked


def _bounds(subject: Measured, range_: TimeRange, counted: str) -> list[tuple[int, int]]:
    """(workflow id, its number in the buckets that cover the range), greatest first, none without."""
    level = Level.DAY if range_.length >= _DAYS_FROM else Level.HOUR
    start, end = floor_to(range_.start, level.length), ceil_to(range_.end, level.length)
    tenant_id = current_tenant().pk
    return rows_in_order(
        _BOUNDS.format(
            counted=counted,
            member=ID_COLUMN[subject.kind],
            level=int(level),
            workflows=int(Subject.WORKFLOW),
        ),
        [*(tenant_id, start, end, tenant_id, subject.id), *(tenant_id, start, end, subject.id)],
        more_than=_READ_AT_ONCE,
    )


# Buckets of all workflows are read in the order of time, in which they lie beside one another;
# kind and level stand in the text, so that a plan that is kept may use the index for it.
# A delta that takes something back may not be folded yet: only what it adds bounds from above.
_BOUNDS: Final = """
SELECT workflow_id, sum(number)::bigint FROM (
    SELECT subject_id AS workflow_id, {counted} AS number FROM monitoring_rollup
    WHERE tenant_id = %s AND subject_kind = {workflows} AND level = {level} AND bucket >= %s AND bucket < %s
        AND subject_id IN (SELECT workflow_id FROM (
            SELECT id AS workflow_id, environment_id, tenant_id FROM monitoring_workflow WHERE tenant_id = %s
        ) w WHERE {member} = %s)
    UNION ALL
    SELECT workflow_id, greatest({counted}, 0) FROM monitoring_rollupdelta
    WHERE tenant_id = %s AND bucket >= %s AND bucket < %s AND {member} = %s
) AS part GROUP BY workflow_id HAVING sum(number) > 0
ORDER BY sum(number) DESC, workflow_id"""
