"""Totals and series of any range, exact at any moment. Everything needs a tenant's scope."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from monitoring.metrics.reading import Detail, read_totals, read_totals_of_each
from monitoring.metrics.spans import Span
from monitoring.metrics.subject import ManyMeasured, Measured
from monitoring.metrics.timerange import Step, TimeRange
from monitoring.metrics.totals import Totals
from monitoring.models import Subject

_COUNTS = Detail(durations=False, breakdown=False)
_COUNTS_AND_DURATIONS = Detail(breakdown=False)


class Point(NamedTuple):
    """One point of a chart: the numbers of [start, end).

    Nothing ran: counts are 0, and rates, averages and percentiles None (draw a gap).
    """

    start: dt.datetime
    end: dt.datetime
    totals: Totals


def totals(subject: Measured, range_: TimeRange) -> Totals:
    """Numbers of one subject in a range, with percentiles. One statement."""
    return totals_of_spans(subject, [(range_.start, range_.end)])[0]


def totals_of_spans(
    subject: Measured, spans: Sequence[Span], *, percentiles: bool = True
) -> list[Totals]:
    """Numbers of one subject in each of several spans, read in one statement."""
    many = ManyMeasured(subject.kind, [subject.id])
    found = read_totals(many, spans, Detail(percentiles=percentiles))
    return [found[subject.id, number] for number in range(len(spans))]


def totals_of_each(asked: Sequence[tuple[int, Span]]) -> list[Totals]:
    """Numbers of each workflow id in its own span, without percentiles. One statement."""
    return read_totals_of_each(Subject.WORKFLOW, asked, Detail())


def totals_by_workflow(
    workflow_ids: Iterable[int],
    range_: TimeRange,
    *,
    percentiles: bool = True,
    durations: bool = True,
) -> dict[int, Totals]:
    """Workflow id → its numbers in a range, for a page of workflows; without error classes.

    One statement.
    """
    many = ManyMeasured(Subject.WORKFLOW, list(workflow_ids))
    detail = Detail(percentiles=percentiles, durations=durations, breakdown=False)
    found = read_totals(many, [(range_.start, range_.end)], detail)
    return {workflow_id: found[workflow_id, 0] for workflow_id in many.ids}


def series(
    subject: Measured,
    range_: TimeRange,
    step: Step | None = None,
    *,
    percentiles: bool = False,
    counts_only: bool = False,
) -> list[Point]:
    """A chart's points with the step boundaries of the range's zone; default: its chart step.

    The first and the last point are cut by the range. One statement.
    """
    detail = _COUNTS if counts_only else Detail(percentiles=percentiles)
    many = ManyMeasured(subject.kind, [subject.id])
    return _points_by_subject(many, range_.edges(step or range_.chart_step), detail)[subject.id]


def sparkline(subject: Measured, range_: TimeRange) -> list[Point]:
    """The few points of a sparkline (see TimeRange.sparkline_edges). One statement."""
    many = ManyMeasured(subject.kind, [subject.id])
    return _points_by_subject(many, range_.sparkline_edges(), _COUNTS_AND_DURATIONS)[subject.id]


def sparklines_by_workflow(
    workflow_ids: Iterable[int], range_: TimeRange
) -> dict[int, list[Point]]:
    """Workflow id → points of its sparkline, for a page of workflows; counts only.

    Of a week and more, points are UTC days here, so that a month costs 31 buckets for each workflow
    and not 720: the range cuts the first and the last one.
    """
    many = ManyMeasured(Subject.WORKFLOW, list(workflow_ids))
    return _points_by_subject(many, range_.coarse_sparkline_edges(), _COUNTS)


def _points_by_subject(
    subjects: ManyMeasured, edges: Sequence[dt.datetime], detail: Detail
) -> dict[int, list[Point]]:
    spans = list(itertools.pairwise(edges))
    found = read_totals(subjects, spans, detail)
    return {
        subject_id: [
            Point(start, end, found[subject_id, number])
            for number, (start, end) in enumerate(spans)
        ]
        for subject_id in subjects.ids
    }
