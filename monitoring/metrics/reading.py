"""Reads rollups, deltas that are not folded yet and raw rows at cut edges in one statement.

One statement sees one state of the database, so what it adds up is exact at any moment: an
execution is committed with its delta, and a delta is folded in one transaction.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.utils import timezone

from monitoring.counting.buckets import BUCKET
from monitoring.counting.histogram import BOUNDS, Histogram
from monitoring.ids import uuid_floor
from monitoring.metrics.counters import ROLLUP_ARRAYS
from monitoring.metrics.spans import CUTS_END, CUTS_START, RawPiece, Segment, Span, divide
from monitoring.metrics.subject import ManyMeasured
from monitoring.metrics.timerange import ceil_to, floor_to
from monitoring.metrics.totals import NO_CLASSES, Totals
from monitoring.models import Subject
from monitoring.prepared import fetch_all
from monitoring.words import FINISHED, PROBLEMS, RATED, ErrorClass, Status
from tenants.scoping import current_tenant

ID_COLUMN: Final = {
    Subject.TENANT: "tenant_id",
    Subject.ENVIRONMENT: "environment_id",
    Subject.WORKFLOW: "workflow_id",
}

# Slots as SQL computes them; equal to histogram.slot_of, because bounds are integers.
SLOT_SQL: Final = (
    "(width_bucket(e.duration_ms, '{" + ",".join(map(str, BOUNDS)) + "}'::bigint[]) - 1)"
)


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
    if not subjects.ids:
        return {}
    found = _found(*_statement(subjects, spans, detail), spans, detail)
    empty = _nothing(detail)
    return {
        (subject_id, span): found.get((subject_id, span), empty)
        for subject_id in subjects.ids
        for span in range(len(spans))
    }


def read_totals_of_each(
    kind: Subject, asked: Sequence[tuple[int, Span]], detail: Detail
) -> list[Totals]:
    """Totals of each subject id in its own span; the work is that of `read_totals` for each."""
    if not asked:
        return []
    ids, spans = [subject_id for subject_id, _ in asked], [span for _, span in asked]
    many = ManyMeasured(kind, sorted(set(ids)))
    found = _found(*_statement(many, spans, detail, ids), spans, detail)
    empty = _nothing(detail)
    return [found.get((subject_id, number), empty) for number, subject_id in enumerate(ids)]


def _found(
    statement: str, params: list[Any], spans: Sequence[Span], detail: Detail
) -> dict[tuple[int, int], Totals]:
    return {
        (subject_id, span): _totals(spans[span], detail, cut, histogram, numbers)
        for subject_id, span, cut, histogram, *numbers in fetch_all(statement, params)
    }


def _nothing(detail: Detail) -> Totals:
    return Totals(
        error_classes=NO_CLASSES if detail.breakdown else None,
        histogram=Histogram() if detail.percentiles else None,
    )


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
        snapped_start=floor_to(span[0], BUCKET) if cut & CUTS_START else None,
        snapped_end=ceil_to(span[1], BUCKET) if cut & CUTS_END else None,
    )


def _arrays(detail: Detail, numbers: Sequence[Any]) -> dict[str, tuple[int, ...]]:
    """The numbers that were read at their places, 0 at the others."""
    arrays, first = {}, 0
    for name, places in _places(detail).items():
        last = first + len(places)
        if len(places) == _LENGTHS[name]:
            arrays[name] = tuple(numbers[first:last])
        elif places:
            array = [0] * _LENGTHS[name]
            for place, number in zip(places, numbers[first:last], strict=True):
                array[place] = int(number)
            arrays[name] = tuple(array)
        else:
            arrays[name] = _ZEROS[name]
        first = last
    return arrays


_LENGTHS: Final = dict(ROLLUP_ARRAYS)
_ZEROS: Final = {name: (0,) * length for name, length in ROLLUP_ARRAYS}


# --- the statement ------------------------------------------------------------------------------


def _sum(name: str, place: int) -> str:
    # Duration sums stay numeric: a tenant's absurd durations must not overflow an answer.
    return f"sum({name}[{place + 1}])" + ("" if name == "duration_sums" else "::bigint")


def _statement(
    subjects: ManyMeasured,
    spans: Sequence[Span],
    detail: Detail,
    span_of: Sequence[int] | None = None,
) -> tuple[str, list[Any]]:
    """With `span_of`, each span is that of one subject: its id stands at the span's number."""
    segments: list[Segment] = []
    raw: list[RawPiece] = []
    now = timezone.now()
    for number, span in enumerate(spans):
        more_segments, more_raw = divide(number, span, now)
        segments += more_segments
        raw += more_raw
    tenant_id, kind, ids = current_tenant().pk, int(subjects.kind), list(subjects.ids)
    params: list[Any] = [
        *([[*span_of]] if span_of else []),
        [segment.span for segment in segments],
        [int(segment.level) for segment in segments],
        [segment.start for segment in segments],
        [segment.end for segment in segments],
        [segment.cut for segment in segments],
        [segment.whole for segment in segments],
        [piece.span for piece in raw],
        [piece.sign for piece in raw],
        [piece.bucket for piece in raw],
        [uuid_floor(piece.start) for piece in raw],
        [uuid_floor(piece.end) for piece in raw],
        *(tenant_id, ids),
        *(tenant_id, kind, tenant_id, ids),
        min((segment.start for segment in segments), default=now),
        max((segment.end for segment in segments), default=now),
        *(tenant_id, ids),
    ]
    return _text(subjects.kind, detail, is_of_each=span_of is not None), params


@functools.cache
def _text(kind: Subject, detail: Detail, *, is_of_each: bool) -> str:
    """The same however many spans are asked for, so that few statements are planned."""
    words = _OF_EACH if is_of_each else _OF_ALL
    names = {
        **{name: text.format(id=ID_COLUMN[kind]) for name, text in words.items()},
        "id": ID_COLUMN[kind],
        "histogram": "histogram" if detail.percentiles else "''::bytea AS histogram",
    }
    raw = raw_columns("e.sign")
    raw["histogram"] = raw_histogram("e.sign") if detail.percentiles else "''::bytea"
    parts = (_FOLDED.format(**names), _UNFOLDED.format(**names), _RAW.format(**(names | raw)))
    sums = ", ".join(
        _sum(name, place) for name, places in _places(detail).items() for place in places
    )
    return _FRAME.format(parts="\nUNION ALL\n".join(parts), sums=sums, **names)


def raw_columns(weight: str = "1") -> dict[str, str]:
    """What raw rows (alias e) contribute, as the arrays of a rollup; aggregates over a group."""

    def array(terms: Iterable[str]) -> str:
        return f"ARRAY[{', '.join(terms)}]::bigint[]"

    def count(condition: str) -> str:
        return f"coalesce(sum({weight}) FILTER (WHERE {condition}), 0)"

    problems = ", ".join(str(int(status)) for status in sorted(PROBLEMS))
    return {
        "counts": array(count(f"e.status = {status:d}") for status in Status),
        "duration_sums": array(
            f"coalesce(sum(e.duration_ms * {weight}) FILTER (WHERE e.status = {status:d}), 0)"
            if status in FINISHED
            else "0"
            for status in Status
        ),
        "duration_counts": array(
            count(f"e.status = {status:d} AND e.duration_ms IS NOT NULL")
            if status in FINISHED
            else "0"
            for status in Status
        ),
        "error_classes": array(
            count(f"e.error_class = {kind:d} AND e.status IN ({problems})") for kind in ErrorClass
        ),
    }


def raw_histogram(weight: str = "1", statuses: Iterable[Status] = RATED) -> str:
    """Histogram of the durations of raw rows (alias e), packed; aggregates over a group."""
    counted = ", ".join(str(int(status)) for status in sorted(statuses))
    return (
        f"coalesce(string_agg(int2send({SLOT_SQL}::int2) || int8send({weight}), ''::bytea)"
        f" FILTER (WHERE e.duration_ms IS NOT NULL AND e.status IN ({counted})), ''::bytea)"
    )


# Which segments and pieces are read of a subject: all, or those of its own spans.
_OF_ALL: Final = {"owners": "", "own_segments": "CROSS JOIN segment", "is_own": "", "own_id": ""}
_OF_EACH: Final = {
    "owners": """owner (span, subject_id) AS MATERIALIZED (
    SELECT (number - 1)::int, subject_id
    FROM unnest(%s::bigint[]) WITH ORDINALITY AS asked (subject_id, number)
), """,
    "own_segments": "JOIN owner USING (subject_id) JOIN segment USING (span)",
    "is_own": " JOIN owner ON owner.span = segment.span AND owner.subject_id = d.{id}",
    "own_id": " AND {id} = (SELECT subject_id FROM owner WHERE owner.span = piece.span)",
}
# OFFSET 0 keeps the planner from turning the look-up of each segment into one scan of all buckets.
_FOLDED: Final = """
SELECT s.subject_id, segment.span, CASE WHEN r.bucket < seal.until THEN segment.cut ELSE 0 END, r.counts,
    r.duration_sums, r.duration_counts, r.error_classes, r.histogram
FROM subject s {own_segments} CROSS JOIN seal CROSS JOIN LATERAL (
    SELECT bucket, counts, duration_sums, duration_counts, error_classes, {histogram}
    FROM monitoring_rollup r
    WHERE r.tenant_id = %s AND r.subject_kind = %s AND r.subject_id = s.subject_id
        AND r.level = segment.level AND r.bucket >= segment.start AND r.bucket < segment.stop
        AND (segment.cut = 0 OR segment.whole OR r.bucket < seal.until)
    OFFSET 0
) r"""
# A backlog of deltas, as an import of history leaves, must not be compared with every segment.
_UNFOLDED: Final = """
SELECT d.{id}, segment.span, CASE WHEN d.bucket < seal.until THEN segment.cut ELSE 0 END, d.counts,
    d.duration_sums, d.duration_counts, d.error_classes, d.histogram
FROM (
    SELECT {id}, bucket, counts, duration_sums, duration_counts, error_classes, {histogram}
    FROM monitoring_rollupdelta
    WHERE tenant_id = %s AND {id} = ANY(%s::bigint[]) AND bucket >= %s AND bucket < %s
) d JOIN segment ON d.bucket >= segment.start AND d.bucket < segment.stop{is_own}
CROSS JOIN seal
WHERE segment.cut = 0 OR segment.whole OR d.bucket < seal.until"""
# One look for each piece, into the partitions that its bounds leave over.
_RAW: Final = """
SELECT e.subject_id, e.span, 0, {counts}, {duration_sums}, {duration_counts}, {error_classes},
    {histogram}
FROM (
    SELECT piece.span, piece.sign, x.* FROM piece JOIN seal ON piece.bucket >= seal.until
    CROSS JOIN LATERAL (
        SELECT {id} AS subject_id, status, duration_ms, error_class FROM monitoring_execution
        WHERE tenant_id = %s AND {id} = ANY(%s::bigint[]) AND id >= piece.lower AND id < piece.upper{own_id}
        OFFSET 0
    ) x
) e
GROUP BY e.subject_id, e.span"""
_FRAME: Final = """
WITH {owners}segment (span, level, start, stop, cut, whole) AS MATERIALIZED (
    SELECT * FROM unnest(%s::int[], %s::smallint[], %s::timestamptz[], %s::timestamptz[],
        %s::int[], %s::boolean[])
), piece (span, sign, bucket, lower, upper) AS MATERIALIZED (
    SELECT * FROM unnest(%s::int[], %s::int[], %s::timestamptz[], %s::uuid[], %s::uuid[])
), seal (until) AS MATERIALIZED (
    SELECT coalesce((SELECT until FROM monitoring_seal WHERE tenant_id = %s), '-infinity')
), subject AS MATERIALIZED (
    SELECT unnest(%s::bigint[]) AS subject_id
), part (
    subject_id, span, cut, counts, duration_sums, duration_counts, error_classes, histogram
) AS (
{parts}
)
SELECT subject_id, span, bit_or(cut), string_agg(histogram, ''::bytea), {sums}
FROM part GROUP BY subject_id, span"""
