"""The versions that a workflow ran with, as its executions say: each with how it did."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Final

from django.urls import reverse

from monitoring.metrics.ranges import totals_of_spans
from monitoring.metrics.subject import of_workflow
from monitoring.models import Workflow
from monitoring.pages.figures import as_percent
from monitoring.pages.time_range import PageRange, span_query
from monitoring.recent import first_version, version_changes

MOST: Final = 20
"""Versions shown, the newest; a workflow that changes with each execution has no more to tell."""


@dataclass(frozen=True, slots=True)
class VersionRow:
    """The time in which a version ran; `until` None: still when the range ended.

    `is_first`: it may have run before the range, too.
    """

    version: str
    since: dt.datetime
    is_first: bool
    until: dt.datetime | None
    total: int
    failed: int
    rate: float | None
    url: str


def versions_that_ran(workflow: Workflow, shown: PageRange, slug: str) -> list[VersionRow]:
    """The newest versions of a range, newest first: a few look-ups by index, one read of rollups."""
    first = first_version(workflow.pk, shown.start, shown.end)
    if first is None:
        return []
    changes = version_changes(workflow.pk, shown.range.edges(shown.range.chart_step))
    seen_at, version = first
    begins = [(shown.start, version), *((each.seen_at, each.version) for each in changes)][-MOST:]
    ends = [*(start for start, _ in begins[1:]), shown.end]
    spans = [(start, end) for (start, _), end in zip(begins, ends, strict=True)]
    numbers = totals_of_spans(of_workflow(workflow), spans, percentiles=False)
    url = f"{reverse('monitoring:executions', args=[slug])}?workflow={workflow.pk}"
    rows = [
        VersionRow(
            version,
            since=seen_at if start == shown.start else start,
            is_first=start == shown.start,
            until=None if end == shown.end else end,
            total=totals.total,
            failed=totals.failed,
            rate=as_percent(totals.failure_rate),
            url=f"{url}&{span_query(start, end)}",
        )
        for (start, version), end, totals in zip(begins, ends, numbers, strict=True)
    ]
    return rows[::-1]
