"""Reads rollups, deltas that are not folded yet and raw rows at cut edges in one statement.

One statement sees one state of the database, so what it adds up is exact at any moment: an
execution is committed with its delta, and a delta is folded in one transaction.
"""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db import connection

from monitoring.ids import uuid_floor
from monitoring.metrics.counters import ROLLUP_ARRAYS
from monitoring.metrics.histogram import BOUNDS, Histogram
from monitoring.metrics.subject import ManyMeasured
from monitoring.metrics.timerange import BUCKET, ceil_to, floor_to
from monitoring.metrics.totals import NO_CLASSES, Totals
from monitoring.models import Level, Subject
from monitoring.words import FINISHED, RATED, ErrorClass, Status
from tenants.scoping import current_tenant

Span = tuple[dt.datetime, dt.datetime]
"""[start, end), to the millisecond."""

_CUTS_START: Final = 1
_CUTS_END: Final = 2

ID_COLUMN: Final = {
    Subject.TENANT: "tenant_id",
    Subject.ENVIRONMENT: "environment_id",
    Subject.WORKFLOW: "workflow_id",
}

# Slots as SQL computes them; equal to histogram.slot_of, because bounds are integers.
SLOT_SQL: Final = (
    "(width_bucket(e.duration_ms, '{" + ",".join(map(str, BOUNDS)) + "}'::bigint[]) - 1)"
)
PACKED_SLOT_SQL: Final = f"int2send({SLOT_SQL}::int2) || int8send(1)"
"""One duration as Histogram.pack() writes it."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Buckets of one level; `cut` says which edges of the span lie inside (then read raw)."""

    span: int
    level: Level
    start: dt.datetime
    end: dt.datetime
    cut: int = 0


@dataclass(frozen=True, slots=True)
class RawPiece:
    """A part of one 5-minute bucket at the edge of a span."""

    span: int
    start: dt.datetime
    end: dt.datetime

    @property
    def bucket(self) -> dt.datetime:
        return floor_to(self.start, BUCKET)


@dataclass(frozen=True, slots=True)
class Detail:
    """What to read beside counts; reading a place of a stored array costs."""

    percentiles: bool = False
    durations: bool = True
    """Sums and counts of the durations of success, failed and partial."""
    breakdown: bool = True
    """Error classes, and durations of canceled executions."""


@functools.cache
def _places(detail: Detail) -> dict[str, list[int]]:
    """Array → the places in it that are read."""
    finished = sorted(FINISHED if detail.breakdown else RATED) if detail.durations else []
    return {
        "counts": [*Status],
        "duration_sums": [*finished],
        "duration_counts": [*finished],
        "error_classes": [*ErrorClass] if detail.breakdown else [],
    }


def read_totals(
    subjects: ManyMeasured, spans: Sequence[Span], detail: Detail
) -> dict[tuple[int, int], Totals]:
    """(subject id, number of the span) → totals, for every subject and span.

    The work grows with the buckets in the spans: at most 22 of 5 minutes, 46 hours and the days
    for each, and the raw rows of two cut buckets. Needs a tenant's scope.
    """
    statement, params = _statement(subjects, spans, detail)
    found: dict[tuple[int, int], Totals] = {}
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        for subject_id, span, cut, histogram, *numbers in cursor.fetchall():
            found[subject_id, span] = _totals(spans[span], detail, cut, histogram, numbers)
    empty = Totals(
        error_classes=NO_CLASSES if detail.breakdown else None,
        histogram=Histogram() if detail.percentiles else None,
    )
    return {
        (subject_id, span): found.get((subject_id, span), empty)
        for subject_id in subjects.ids
        for span in range(len(spans))
    }


def _totals(
    span: Span, detail: Detail, cut: int, histogram: bytes, numbers: Sequence[Any]
) -> Totals:
    arrays = _arrays(detail, numbers)
    return Totals(
        counts=arrays["counts"],
        duration_sums=arrays["duration_sums"],
        duration_counts=arrays["duration_counts"],
        error_classes=arrays["error_classes"] if detail.breakdown else None,
        histogram=Histogram.unpack_sum(histogram) if detail.percentiles else None,
        snapped_start=floor_to(span[0], BUCKET) if cut & _CUTS_START else None,
        snapped_end=ceil_to(span[1], BUCKET) if cut & _CUTS_END else None,
    )


def _arrays(detail: Detail, numbers: Sequence[Any]) -> dict[str, tuple[int, ...]]:
    """The numbers that were read at their places, 0 at the others."""
    arrays, first = {}, 0
    for name, places in _places(detail).items():
        array = [0] * _LENGTHS[name]
        for place in places:
            array[place] = int(numbers[first])
            first += 1
        arrays[name] = tuple(array)
    return arrays


_LENGTHS: Final = dict(ROLLUP_ARRAYS)


# --- dividing spans -----------------------------------------------------------------------------


def divide(number: int, span: Span) -> tuple[list[Segment], list[RawPiece]]:
    """A span as whole buckets of the coarsest levels and what its edges cut."""
    start, end = span
    first, last = ceil_to(start, BUCKET), floor_to(end, BUCKET)
    if first > last:  # inside one bucket
        cut = Segment(number, Level.FIVE_MINUTES, last, first, _CUTS_START | _CUTS_END)
        return [cut], [RawPiece(number, start, end)]
    segments, raw = list(whole_buckets(number, first, last)), []
    if start < first:
        segments.append(Segment(number, Level.FIVE_MINUTES, first - BUCKET, first, _CUTS_START))
        raw.append(RawPiece(number, start, first))
    if last < end:
        segments.append(Segment(number, Level.FIVE_MINUTES, last, last + BUCKET, _CUTS_END))
        raw.append(RawPiece(number, last, end))
    return segments, raw


def whole_buckets(
    number: int,
    start: dt.datetime,
    end: dt.datetime,
    finest: Level = Level.FIVE_MINUTES,
) -> Iterator[Segment]:
    """Cover [start, end), both multiples of the finest level, with days, hours and 5 minutes."""
    if start >= end:
        return
    if finest is not Level.DAY:
        coarser = Level(finest + 1)
        first, last = ceil_to(start, coarser.length), floor_to(end, coarser.length)
        if first < last:
            if start < first:
                yield Segment(number, finest, start, first)
            yield from whole_buckets(number, first, last, coarser)
            if last < end:
                yield Segment(number, finest, last, end)
            return
    yield Segment(number, finest, start, end)


# --- the statement ------------------------------------------------------------------------------


def _sum(name: str, place: int) -> str:
    # Duration sums stay numeric: a tenant's absurd durations must not overflow an answer.
    return f"sum({name}[{place + 1}])" + ("" if name == "duration_sums" else "::bigint")


def _statement(
    subjects: ManyMeasured, spans: Sequence[Span], detail: Detail
) -> tuple[str, list[Any]]:
    segments: list[Segment] = []
    raw: list[RawPiece] = []
    for number, span in enumerate(spans):
        more_segments, more_raw = divide(number, span)
        segments += more_segments
        raw += more_raw
    tenant_id, kind, ids = current_tenant().pk, int(subjects.kind), list(subjects.ids)
    names = {
        "id": ID_COLUMN[subjects.kind],
        "histogram": "histogram" if detail.percentiles else "''::bytea AS histogram",
    }
    parts = [_FOLDED.format(**names), _UNFOLDED.format(**names)]
    params: list[Any] = [
        [segment.span for segment in segments],
        [int(segment.level) for segment in segments],
        [segment.start for segment in segments],
        [segment.end for segment in segments],
        [segment.cut for segment in segments],
        *(tenant_id, kind, ids, sorted({piece.bucket for piece in raw}), ids),
        *(tenant_id, kind, tenant_id, ids),
    ]
    if raw:
        parts.append(_raw_part(names["id"], len(raw), detail))
        for piece in raw:
            bounds = (uuid_floor(piece.start), uuid_floor(piece.end))
            params += [piece.span, piece.bucket, tenant_id, ids, *bounds]
    sums = ", ".join(
        _sum(name, place) for name, places in _places(detail).items() for place in places
    )
    return _FRAME.format(parts="\nUNION ALL\n".join(parts), sums=sums), params


def _raw_part(id_column: str, pieces: int, detail: Detail) -> str:
    """Literal bounds for each piece let the planner leave out partitions."""
    texts = {
        "id": id_column,
        "pieces": "\nUNION ALL\n".join([_RAW_PIECE.format(id=id_column)] * pieces),
        "histogram": RAW_HISTOGRAM if detail.percentiles else "''::bytea",
    }
    return _RAW.format_map(texts | raw_columns())


def raw_columns() -> dict[str, str]:
    """What raw rows (alias e) contribute, as the arrays of a rollup; aggregates over a group."""

    def array(terms: Iterator[str]) -> str:
        return f"ARRAY[{', '.join(terms)}]::bigint[]"

    problems = ", ".join(str(int(status)) for status in Status if status.is_problem)
    return {
        "counts": array(f"count(*) FILTER (WHERE e.status = {status:d})" for status in Status),
        "duration_sums": array(
            f"coalesce(sum(e.duration_ms) FILTER (WHERE e.status = {status:d}), 0)"
            if status in FINISHED
            else "0"
            for status in Status
        ),
        "duration_counts": array(
            f"count(e.duration_ms) FILTER (WHERE e.status = {status:d})"
            if status in FINISHED
            else "0"
            for status in Status
        ),
        "error_classes": array(
            f"count(*) FILTER (WHERE e.error_class = {kind:d} AND e.status IN ({problems}))"
            for kind in ErrorClass
        ),
    }


_RATED_SQL: Final = ", ".join(str(int(status)) for status in sorted(RATED))
RAW_HISTOGRAM: Final = (
    f"coalesce(string_agg({PACKED_SLOT_SQL}, ''::bytea)"
    f" FILTER (WHERE e.duration_ms IS NOT NULL AND e.status IN ({_RATED_SQL})), ''::bytea)"
)

# OFFSET 0 keeps the planner from turning the look-up of each segment into one scan of all buckets.
_FOLDED: Final = """
SELECT s.subject_id, segment.span, segment.cut, r.counts, r.duration_sums, r.duration_counts,
    r.error_classes, r.histogram
FROM subject s CROSS JOIN segment CROSS JOIN LATERAL (
    SELECT counts, duration_sums, duration_counts, error_classes, {histogram}
    FROM monitoring_rollup r
    WHERE r.tenant_id = %s AND r.subject_kind = %s AND r.subject_id = s.subject_id
        AND r.level = segment.level AND r.bucket >= segment.start AND r.bucket < segment.stop
        AND (segment.cut = 0 OR r.sealed)
    OFFSET 0
) r"""
_UNFOLDED: Final = """
SELECT d.{id}, segment.span, segment.cut, d.counts, d.duration_sums, d.duration_counts,
    d.error_classes, d.histogram
FROM (
    SELECT {id}, bucket, counts, duration_sums, duration_counts, error_classes, {histogram}
    FROM monitoring_rollupdelta WHERE tenant_id = %s AND {id} = ANY(%s::bigint[])
) d JOIN segment ON d.bucket >= segment.start AND d.bucket < segment.stop
WHERE segment.cut = 0
    OR EXISTS (SELECT FROM sealed WHERE sealed.subject_id = d.{id} AND sealed.bucket = d.bucket)"""
_RAW_PIECE: Final = """
    SELECT %s AS span, %s::timestamptz AS bucket, {id} AS subject_id, status, duration_ms,
        error_class
    FROM monitoring_execution
    WHERE tenant_id = %s AND {id} = ANY(%s::bigint[]) AND id >= %s AND id < %s"""
_RAW: Final = """
SELECT e.subject_id, e.span, 0, {counts}, {duration_sums}, {duration_counts}, {error_classes},
    {histogram}
FROM ({pieces}) e
WHERE NOT EXISTS (
    SELECT FROM sealed WHERE sealed.subject_id = e.subject_id AND sealed.bucket = e.bucket)
GROUP BY e.subject_id, e.span"""
_FRAME: Final = """
WITH segment (span, level, start, stop, cut) AS MATERIALIZED (
    SELECT * FROM unnest(%s::int[], %s::smallint[], %s::timestamptz[], %s::timestamptz[], %s::int[])
), sealed AS MATERIALIZED (
    SELECT subject_id, bucket FROM monitoring_rollup
    WHERE tenant_id = %s AND subject_kind = %s AND subject_id = ANY(%s::bigint[]) AND level = 0
        AND bucket = ANY(%s::timestamptz[]) AND sealed
), subject AS MATERIALIZED (
    SELECT unnest(%s::bigint[]) AS subject_id
), part (
    subject_id, span, cut, counts, duration_sums, duration_counts, error_classes, histogram
) AS (
{parts}
)
SELECT subject_id, span, bit_or(cut), string_agg(histogram, ''::bytea), {sums}
FROM part GROUP BY subject_id, span"""
