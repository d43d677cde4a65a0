"""Divides a span of time into whole buckets of the coarsest levels and what its edges cut."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from monitoring.counting.buckets import BUCKET
from monitoring.metrics.timerange import ceil_to, floor_to
from monitoring.models import Level

Span = tuple[dt.datetime, dt.datetime]
"""[start, end), to the millisecond."""

CUTS_START: Final = 1
CUTS_END: Final = 2


@dataclass(frozen=True, slots=True)
class Segment:
    """Buckets of one level.

    `cut`: one bucket that the span cuts at its start, end or both; it counts when it lies before the
    tenant's seal, because then its raw rows are gone, or when it is `whole`: raw rows outside are
    taken back.
    """

    span: int
    level: Level
    start: dt.datetime
    end: dt.datetime
    cut: int = 0
    whole: bool = False


@dataclass(frozen=True, slots=True)
class RawPiece:
    """A part of one 5-minute bucket that is added (+1) or taken back (-1) row by row."""

    span: int
    start: dt.datetime
    end: dt.datetime
    sign: int = 1

    @property
    def bucket(self) -> dt.datetime:
        return floor_to(self.start, BUCKET)


def divide(number: int, span: Span, now: dt.datetime) -> tuple[list[Segment], list[RawPiece]]:
    """A span as whole buckets of the coarsest levels and what its edges cut.

    `now` only decides what is cheaper; the sum is the same.
    """
    start, end = span
    first, last = ceil_to(start, BUCKET), floor_to(end, BUCKET)
    if first > last:  # inside one bucket
        segment, raw = _cut_bucket(number, (start, end), CUTS_START | CUTS_END, now)
        return [segment], raw
    segments, raw = list(whole_buckets(number, first, last)), []
    for cut, piece in ((CUTS_START, (start, first)), (CUTS_END, (last, end))):
        if piece[0] < piece[1]:
            segment, more = _cut_bucket(number, piece, cut, now)
            segments.append(segment)
            raw += more
    return segments, raw


def _cut_bucket(
    number: int, piece: Span, cut: int, now: dt.datetime
) -> tuple[Segment, list[RawPiece]]:
    """Read the piece of a bucket row by row, or the whole bucket less the rows outside the piece.

    Hardly anything lies in the future: of the bucket that is being filled, next to nothing is read.
    """
    bucket = floor_to(piece[0], BUCKET)
    end = bucket + BUCKET
    outside = [
        RawPiece(number, *part, sign=-1)
        for part in ((bucket, piece[0]), (piece[1], end))
        if part[0] < part[1]
    ]
    if sum(_past(part.start, part.end, now) for part in outside) < _past(*piece, now):
        return Segment(number, Level.FIVE_MINUTES, bucket, end, cut, whole=True), outside
    return Segment(number, Level.FIVE_MINUTES, bucket, end, cut), [RawPiece(number, *piece)]


def _past(start: dt.datetime, end: dt.datetime, now: dt.datetime) -> float:
    """Seconds of [start, end) that are over."""
    return max(0.0, (min(end, now) - start).total_seconds())


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
