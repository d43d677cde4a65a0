"""When it fails: counts by weekday and hour of a zone's clock. Needs a tenant's scope."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from monitoring.metrics.rates import fraction
from monitoring.metrics.reading import ID_COLUMN
from monitoring.metrics.subject import Measured
from monitoring.metrics.timerange import TimeRange, ceil_to, floor_to
from monitoring.models import Level
from monitoring.prepared import fetch_all
from monitoring.words import RATED, Status
from tenants.scoping import current_tenant

_QUARTER: Final = dt.timedelta(minutes=15)
"""Every offset from UTC that is in use is a multiple of it."""


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Failures by local weekday (0 = Monday) and hour: `failed[weekday][hour]`, `rated` likewise."""

    failed: list[list[int]]
    rated: list[list[int]]

    def failure_rate(self, weekday: int, hour: int) -> float | None:
        """Fraction of rated executions that failed; None when there were none."""
        return fraction(self.failed[weekday][hour], self.rated[weekday][hour])


def failure_heat_map(subject: Measured, range_: TimeRange) -> HeatMap:
    """When a subject fails, by the clock of the range's zone. One statement.

    The range is widened to whole hours (quarters of hours in zones that are off by such): what it
    shows is a habit, and reading the raw rows of two cut hours would cost more than all the rest.
    """
    offsets = _offsets(range_)
    has_whole_hours = all(not offset % Level.HOUR.length for offset in offsets)
    level = Level.HOUR if has_whole_hours else Level.FIVE_MINUTES
    grid = Level.HOUR.length if has_whole_hours else _QUARTER
    start, end = floor_to(range_.start, grid), ceil_to(range_.end, grid)
    place_of = _place_by_offset(*offsets) if len(offsets) == 1 else _place_by_zone(range_.zone)
    heat = HeatMap([[0] * 24 for _ in range(7)], [[0] * 24 for _ in range(7)])
    tenant_id = current_tenant().pk
    params: list[Any] = [grid, tenant_id, int(subject.kind), subject.id, int(level), start, end]
    params += [tenant_id, subject.id, start, end]
    # The zone is applied here: PostgreSQL may not know every zone that Python knows.
    for at, failed, rated in fetch_all(_BY_TIME.format(id=ID_COLUMN[subject.kind]), params):
        weekday, hour = place_of(at)
        heat.failed[weekday][hour] += failed
        heat.rated[weekday][hour] += rated
    return heat


def _offsets(range_: TimeRange) -> set[dt.timedelta]:
    """How far the zone is from UTC, on each day of the range."""
    days = range_.length // dt.timedelta(days=1) + 1
    moments = (range_.start + dt.timedelta(days=day) for day in range(days + 1))
    return {moment.astimezone(range_.zone).utcoffset() or dt.timedelta() for moment in moments}


def _place_by_offset(offset: dt.timedelta) -> Callable[[int], tuple[int, int]]:
    """A function from seconds since 1970 to weekday and hour, where the clock never changes."""
    seconds = round(offset.total_seconds())

    def place_of(at: int) -> tuple[int, int]:
        days, rest = divmod(at + seconds, 86_400)
        return (days + _WEEKDAY_OF_1970) % 7, rest // 3_600

    return place_of


def _place_by_zone(zone: dt.tzinfo) -> Callable[[int], tuple[int, int]]:
    def place_of(at: int) -> tuple[int, int]:
        local = dt.datetime.fromtimestamp(at, zone)
        return local.weekday(), local.hour

    return place_of


_WEEKDAY_OF_1970: Final = 3
"""1 January 1970 was a Thursday."""

_NUMBERS: Final = (
    f"counts[{Status.FAILED + 1}] AS failed,"
    f" {' + '.join(f'counts[{status + 1}]' for status in sorted(RATED))} AS rated"
)
_BY_TIME: Final = f"""
SELECT extract(epoch FROM date_bin(%s, bucket, '2000-01-01 00:00:00+00'))::bigint,
    sum(failed)::bigint, sum(rated)::bigint FROM (
    SELECT bucket, {_NUMBERS} FROM monitoring_rollup
    WHERE tenant_id = %s AND subject_kind = %s AND subject_id = %s AND level = %s
        AND bucket >= %s AND bucket < %s
    UNION ALL
    SELECT bucket, {_NUMBERS} FROM monitoring_rollupdelta
    WHERE tenant_id = %s AND {{id}} = %s AND bucket >= %s AND bucket < %s
) AS part GROUP BY 1"""  # noqa: S608 - only words of this module are put in
