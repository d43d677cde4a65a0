"""The small histogram over the executions list: what ran when, and how many match in all."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.utils import timezone

from monitoring import history
from monitoring.history import ExecutionQuery
from monitoring.metrics.ranges import Point, series
from monitoring.metrics.subject import Measured
from monitoring.metrics.timerange import TimeRange
from monitoring.models import Subject
from monitoring.words import Status
from tenants.scoping import current_tenant
from tenants.times import utc_text
from tenants.ui.numbers import thousands

HEIGHT: Final = 44
_GAP: Final = 0.14
_STACK: Final = (Status.SUCCESS, Status.PARTIAL, Status.FAILED)
_TONES: Final = {Status.SUCCESS: "success", Status.PARTIAL: "partial", Status.FAILED: "failed"}
_OTHERS: Final = "running"


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a bar, in the units of the drawing."""

    tone: str
    y: str
    height: str


@dataclass(frozen=True, slots=True)
class HistogramBar:
    """One step of time: where it stands, what it says and the narrower list it leads to."""

    x: str
    width: str
    label: str
    start: str
    end: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Shape:
    """What is known about all that match: how many, and when (no bars: only a scan could tell)."""

    total: str
    total_number: int | None
    bars: tuple[HistogramBar, ...]
    width: int
    most: int


def shape_of(query: ExecutionQuery, range_: TimeRange) -> Shape:
    """Count what matches and when, from rollups where they know it, else up to 10,000 by index."""
    subject = _subject(query)
    if subject is None:
        counted = history.count(query)
        if counted is None:
            return Shape("", None, (), 0, 0)
        more = "" if counted.is_exact else "+"
        return Shape(thousands(counted.number) + more, counted.number, (), 0, 0)
    points = series(subject, range_)
    statuses = query.statuses or frozenset(Status)
    # Never below zero, also where numbers are wrong until verify_rollups repairs them.
    counts = [{one: max(point.totals.count(one), 0) for one in statuses} for point in points]
    total = sum(sum(step.values()) for step in counts)
    most = max((sum(step.values()) for step in counts), default=0)
    return Shape(thousands(total), total, _bars(points, counts, most), len(points), most)


def has_histogram(query: ExecutionQuery) -> bool:
    """Whether bars will come, so that their place is kept."""
    return _subject(query) is not None


def _subject(query: ExecutionQuery) -> Measured | None:
    """Whose rollups count exactly what the query matches; None when no single subject's do."""
    if not query.is_answered_by_rollups or len(query.workflow_ids) > 1:
        return None
    if query.workflow_ids:
        # With an environment beside it the workflow may lie in another: nothing then.
        alone = query.environment_id is None
        return Measured(Subject.WORKFLOW, query.workflow_ids[0]) if alone else None
    if query.environment_id is not None:
        return Measured(Subject.ENVIRONMENT, query.environment_id)
    return Measured(Subject.TENANT, current_tenant().pk)


def _bars(
    points: Sequence[Point], counts: Sequence[dict[Status, int]], most: int
) -> tuple[HistogramBar, ...]:
    return tuple(
        HistogramBar(
            x=f"{number + _GAP / 2:.2f}",
            width=f"{1 - _GAP:.2f}",
            label=_label(point.start, point.end, step),
            start=utc_text(point.start),
            end=utc_text(point.end),
            pieces=_pieces(step, most),
        )
        for number, (point, step) in enumerate(zip(points, counts, strict=True))
        if sum(step.values())
    )


def _pieces(step: dict[Status, int], most: int) -> tuple[Piece, ...]:
    others = sum(count for status, count in step.items() if status not in _STACK)
    stacked = [(_TONES[status], step.get(status, 0)) for status in _STACK] + [(_OTHERS, others)]
    pieces, y = [], float(HEIGHT)
    for tone, count in stacked:
        if not count:
            continue
        # A single failure among thousands must still be seen.
        height = max(count / most * (HEIGHT - 6), 1.5)
        y -= height
        pieces.append(Piece(tone, f"{y:.2f}", f"{height:.2f}"))
    return tuple(pieces)


def _label(start: dt.datetime, end: dt.datetime, step: dict[Status, int]) -> str:
    first, last = timezone.localtime(start), timezone.localtime(end)
    span = f"{first:%a} {first.day} {first:%b %H:%M} to {last:%H:%M}"
    said = ", ".join(f"{thousands(count)} {status.slug}" for status, count in step.items() if count)
    return f"{span}: {said}"
