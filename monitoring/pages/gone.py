"""What a list of executions says where single ones are no longer kept and their numbers are."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from monitoring.history import ExecutionQuery
from monitoring.metrics.sealing import gone_before
from monitoring.metrics.timerange import TimeRange
from monitoring.models import RetentionRun
from monitoring.pages.histogram import has_histogram, shape_of
from tenants.scoping import current_tenant


@dataclass(frozen=True, slots=True)
class Gone:
    """What matched from before `before`; `number` None: only single executions could tell."""

    before: dt.datetime
    number: int | None


def gone_of(query: ExecutionQuery, range_: TimeRange) -> Gone | None:
    """What a query that finds nothing would have found; None where nothing of it was removed."""
    before = gone_before(current_tenant().pk, range_.start)
    if before is None:
        return None
    number = shape_of(query, range_).total_number if has_histogram(query) else None
    return None if number == 0 else Gone(before, number)


def has_removed() -> bool:
    """Whether the tenant had executions that are no longer kept."""
    return RetentionRun.objects.filter(removed__gt=0).exists()
