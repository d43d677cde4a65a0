"""The workflows with the most of something in a range, exact without reading every bucket of all.

Counts never fall when a range is widened to whole days (or hours, for short ranges). So the numbers
of the covering buckets, which are few, bound each workflow's exact number from above: workflows are
looked at exactly in order of their bound until no bound left can beat the ones found (the threshold
algorithm of Fagin, Lotem and Naor).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Final

from django.db import connection

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
    bounds = _upper_bounds(subject, range_, counted)
    best: Ranking = []
    for start in range(0, len(bounds), 2 * limit):
        batch = bounds[start : start + 2 * limit]
        if len(best) == limit and number(best[-1][1]) >= batch[0][1]:
            break
        exact = totals_by_workflow([found for found, _ in batch], range_, percentiles=False)
        best += [(found, numbers) for found, numbers in exact.items() if number(numbers)]
        best = sorted(best, key=lambda item: (-number(item[1]), item[0]))[:limit]
    return best


def _upper_bounds(subject: Measured, range_: TimeRange, counted: str) -> list[tuple[int, int]]:
    """(workflow id, at most this many), greatest first, of workflows that may have any."""
    level = Level.DAY if range_.length >= _DAYS_FROM else Level.HOUR
    start, end = floor_to(range_.start, level.length), ceil_to(range_.end, level.length)
    tenant_id = current_tenant().pk
    with connection.cursor() as cursor:
        cursor.execute(
            _BOUNDS.format(counted=counted, member=ID_COLUMN[subject.kind]),
            [
                *(tenant_id, tenant_id, int(Subject.WORKFLOW), int(level), start, end),
                *(subject.id, tenant_id, start, end, subject.id),
            ],
        )
        return [(workflow_id, int(number)) for workflow_id, number in cursor.fetchall()]


# A delta that takes something back may not be folded yet: only what it adds bounds from above.
_BOUNDS: Final = """
SELECT workflow_id, sum(number)::bigint AS most FROM (
    SELECT w.workflow_id, r.number
    FROM (
        SELECT id AS workflow_id, environment_id, tenant_id FROM monitoring_workflow
        WHERE tenant_id = %s
    ) w
    CROSS JOIN LATERAL (
        SELECT {counted} AS number FROM monitoring_rollup r
        WHERE r.tenant_id = %s AND r.subject_kind = %s AND r.subject_id = w.workflow_id
            AND r.level = %s AND r.bucket >= %s AND r.bucket < %s
        OFFSET 0
    ) r
    WHERE w.{member} = %s
    UNION ALL
    SELECT workflow_id, greatest({counted}, 0) FROM monitoring_rollupdelta
    WHERE tenant_id = %s AND bucket >= %s AND bucket < %s AND {member} = %s
) AS part GROUP BY workflow_id HAVING sum(number) > 0 ORDER BY most DESC, workflow_id"""
