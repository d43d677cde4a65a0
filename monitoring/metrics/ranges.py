"""Totals and series of any range, exact at any moment. Everything needs a tenant's scope."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from monitoring.metrics.reading import Span, read_totals
from monitoring.metrics.subject import ManyMeasured, Measured
from monitoring.metrics.timerange import Step, TimeRange
from monitoring.metrics.totals import Totals
from monitoring.models import Subject


@dataclass(frozen=True, slots=True)
class Point:
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
    found = read_totals(ManyMeasured(subject.kind, [subject.id]), spans, percentiles=percentiles)
    return [found[subject.id, number] for number in range(len(spans))]


def totals_by_workflow(
    workflow_ids: Iterable[int], range_: TimeRange, *, percentiles: bool = True
) -> dict[int, Totals]:
    """Workflow id → its numbers in a range, for a page of workflows. One statement."""
    many = ManyMeasured(Subject.WORKFLOW, list(workflow_ids))
    found = read_totals(many, [(range_.start, range_.end)], percentiles=percentiles)
    return {workflow_id: found[workflow_id, 0] for workflow_id in many.ids}


def series(
    subject: Measured, range_: TimeRange, step: Step | None = None, *, percentiles: bool = False
) -> list[Point]:
    """A chart's points with the step boundaries of the range's zone; default: its chart step.

    The first and the last point are cut by the range. One statement.
    """
    edges = range_.edges(step or range_.chart_step)
    return _points_by_subject(ManyMeasured(subject.kind, [subject.id]), edges, percentiles)[
        subject.id
    ]


def sparkline(subject: Measured, range_: TimeRange) -> list[Point]:
    """The few points of a sparkline (see TimeRange.sparkline_edges). One statement."""
    many = ManyMeasured(subject.kind, [subject.id])
    return _points_by_subject(many, range_.sparkline_edges(), False)[subject.id]


def sparklines_by_workflow(
    workflow_ids: Iterable[int], range_: TimeRange
) -> dict[int, list[Point]]:
    """Workflow id → points of its sparkline, for a page of workflows. One statement."""
    many = ManyMeasured(Subject.WORKFLOW, list(workflow_ids))
    return _points_by_subject(many, range_.sparkline_edges(), False)


def _points_by_subject(
    subjects: ManyMeasured, edges: Sequence[dt.datetime], percentiles: bool
) -> dict[int, list[Point]]:
    spans = list(itertools.pairwise(edges))
    found = read_totals(subjects, spans, percentiles=percentiles)
    return {
        subject_id: [
            Point(start, end, found[subject_id, number])
            for number, (start, end) in enumerate(spans)
        ]
        for subject_id in subjects.ids
    }
