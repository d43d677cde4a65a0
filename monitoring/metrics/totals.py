"""The numbers of one subject in one span of time."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass, field

from monitoring.counting.histogram import Histogram
from monitoring.metrics.rates import rate, rated
from monitoring.words import FINISHED, RATED, ErrorClass, Status

NO_COUNTS = (0,) * len(Status)
NO_CLASSES = (0,) * len(ErrorClass)


@dataclass(slots=True)  # not frozen: setting each field by a call costs most, and lists make 1,000
class Totals:
    """Counts and durations; rates are fractions, durations milliseconds.

    `counts`, `duration_sums` and `duration_counts` are by Status, `error_classes` by ErrorClass
    (of failed and partial). `histogram` holds the durations of success, failed and partial. Error
    classes and histogram are None, durations 0, when they were not asked for. A snapped edge is
    where counting really began or ended, because the raw rows of the bucket that the range cuts
    are gone.

    Where nothing ran, counts are 0 and rates, averages and percentiles None: a gap in a chart.
    """

    counts: tuple[int, ...] = NO_COUNTS
    duration_sums: tuple[int, ...] = NO_COUNTS
    duration_counts: tuple[int, ...] = NO_COUNTS
    error_classes: tuple[int, ...] | None = NO_CLASSES
    histogram: Histogram | None = field(default=None, compare=False)
    snapped_start: dt.datetime | None = None
    snapped_end: dt.datetime | None = None

    def count(self, status: Status) -> int:
        return self.counts[status]

    @property
    def by_status(self) -> dict[Status, int]:
        """Counts of the statuses that occurred."""
        return {status: self.counts[status] for status in Status if self.counts[status]}

    @property
    def by_error_class(self) -> dict[ErrorClass, int]:
        """Counts of the error classes that occurred.

        Raises ValueError when the question was asked without them.
        """
        if self.error_classes is None:
            raise ValueError("These totals were read without error classes.")
        return {kind: self.error_classes[kind] for kind in ErrorClass if self.error_classes[kind]}

    @property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def finished(self) -> int:
        return sum(self.counts[status] for status in FINISHED)

    @property
    def rated(self) -> int:
        """What rates are of: success + failed + partial."""
        return rated(self.counts)

    @property
    def succeeded(self) -> int:
        return self.counts[Status.SUCCESS]

    @property
    def failed(self) -> int:
        return self.counts[Status.FAILED]

    @property
    def failure_rate(self) -> float | None:
        """failed / (success + failed + partial)."""
        return rate(Status.FAILED, self.counts)

    @property
    def success_rate(self) -> float | None:
        """success / (success + failed + partial)."""
        return rate(Status.SUCCESS, self.counts)

    @property
    def average_ms(self) -> float | None:
        """Mean duration of success, failed and partial executions that have one."""
        return self._average(RATED)

    def average_ms_of(self, status: Status) -> float | None:
        return self._average([status])

    def _average(self, statuses: Iterable[Status]) -> float | None:
        known = sum(self.duration_counts[status] for status in statuses)
        return sum(self.duration_sums[status] for status in statuses) / known if known else None

    def percentile(self, percent: float) -> float | None:
        """The duration (ms) that `percent` (0–100) of executions did not exceed, within 1 %.

        Raises ValueError when the question was asked without percentiles.
        """
        if self.histogram is None:
            raise ValueError("These totals were read without percentiles.")
        return self.histogram.percentile(percent / 100)

    @property
    def exact(self) -> bool:
        """Whether the counts are those of the range asked for, to the millisecond."""
        return self.snapped_start is None and self.snapped_end is None

    def __add__(self, other: Totals) -> Totals:
        """Totals of two spans that touch, this one being the earlier."""
        return Totals(
            _sum(self.counts, other.counts),
            _sum(self.duration_sums, other.duration_sums),
            _sum(self.duration_counts, other.duration_counts),
            _sum(self.error_classes, other.error_classes)
            if self.error_classes and other.error_classes
            else None,
            _merged(self.histogram, other.histogram),
            self.snapped_start,
            other.snapped_end,
        )


def _sum(first: tuple[int, ...], second: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(a + b for a, b in zip(first, second, strict=True))


def _merged(first: Histogram | None, second: Histogram | None) -> Histogram | None:
    if first is None or second is None:
        return None
    merged = first.copy()
    merged.merge(second)
    return merged
