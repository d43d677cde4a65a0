"""The time a question is about: presets and custom ranges, and how charts divide them."""

from __future__ import annotations

import datetime as dt
import enum
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from zoneinfo import ZoneInfo

from monitoring.counting.buckets import BUCKET
from tenants.times import read_time

UTC: Final = ZoneInfo("UTC")
_HOUR: Final = dt.timedelta(hours=1)
_DAY: Final = dt.timedelta(days=1)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

PRESETS: Final[Mapping[str, dt.timedelta]] = {
    "1h": _HOUR,
    "6h": 6 * _HOUR,
    "24h": _DAY,
    "7d": 7 * _DAY,
    "30d": 30 * _DAY,
}
CUSTOM: Final = "custom"
DEFAULT_PRESET: Final = "24h"
LONGEST: Final = 3_660 * _DAY
"""Longer than the longest retention; keeps the work of a question bounded."""
YEARS: Final = range(1990, 2200)
"""Years that a question may name; beyond them nothing is, and arithmetic with dates overflows."""


class TimeRangeError(ValueError):
    """A query names no usable range; `field` is the parameter at fault, the text is for people."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Step(enum.Enum):
    """Length of one point of a chart; its value is the word in URLs."""

    FIVE_MINUTES = "5m"
    HALF_HOUR = "30m"
    HOUR = "1h"
    SIX_HOURS = "6h"
    HALF_DAY = "12h"
    DAY = "1d"
    WEEK = "7d"

    @property
    def length(self) -> dt.timedelta:
        return _LENGTH_OF_STEP[self]


_LENGTH_OF_STEP: Final = {
    Step.FIVE_MINUTES: BUCKET,
    Step.HALF_HOUR: _HOUR / 2,
    Step.HOUR: _HOUR,
    Step.SIX_HOURS: 6 * _HOUR,
    Step.HALF_DAY: 12 * _HOUR,
    Step.DAY: _DAY,
    Step.WEEK: 7 * _DAY,
}

# Ranges up to this length are charted with this step (12 to 80 points up to 80 days).
_CHART_STEPS: Final = (
    (6 * _HOUR, Step.FIVE_MINUTES),
    (36 * _HOUR, Step.HALF_HOUR),
    (3 * _DAY, Step.HOUR),
    (15 * _DAY, Step.SIX_HOURS),
    (400 * _DAY, Step.DAY),
)
# Requirement 004: 12, 12, 24, 14 and 30 points for the presets; other lengths use the next step.
_SPARKLINE_STEPS: Final = (
    (_HOUR, BUCKET),
    (6 * _HOUR, _HOUR / 2),
    (_DAY, _HOUR),
    (7 * _DAY, 12 * _HOUR),
    (60 * _DAY, _DAY),
)
_MOST_SPARKLINE_POINTS: Final = 52


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Executions whose time lies in [start, end), seen in `zone`.

    `preset` is the slug that made the range ("1h" … "30d"), None for a custom one.
    """

    start: dt.datetime
    end: dt.datetime
    zone: ZoneInfo = UTC
    preset: str | None = None

    def __post_init__(self) -> None:
        if self.start.tzinfo is None or self.end.tzinfo is None:
            raise ValueError("A TimeRange needs aware datetimes.")
        if self.start >= self.end:
            raise ValueError("A TimeRange must start before it ends.")

    @classmethod
    def of_preset(cls, slug: str, *, now: dt.datetime, zone: ZoneInfo = UTC) -> TimeRange:
        """The range of that preset which ends now. Raises TimeRangeError for an unknown slug."""
        if slug not in PRESETS:
            known = ", ".join(PRESETS)
            raise TimeRangeError("time_range", f"Unknown time range; use one of {known}, {CUSTOM}.")
        return cls(now - PRESETS[slug], now, zone, slug)

    @classmethod
    def last(cls, length: dt.timedelta, *, now: dt.datetime, zone: ZoneInfo = UTC) -> TimeRange:
        """The range of that length which ends now."""
        return cls(now - length, now, zone)

    @classmethod
    def from_query(
        cls,
        params: Mapping[str, str],
        *,
        now: dt.datetime,
        zone: ZoneInfo = UTC,
        naive_zone: ZoneInfo = UTC,
        default: str = DEFAULT_PRESET,
    ) -> TimeRange:
        """The range that `time_range=`, or `start=` and `end=`, and `tz=` ask for.

        A preset wins over `start` and `end`; with "custom" or none, `start` is needed and `end`
        defaults to now; with neither, the default preset. Times without an offset are in
        `naive_zone` (API: UTC; forms: the person's zone); a bare date as `end` includes that day.
        Raises TimeRangeError.
        """
        zone = _zone_of(params.get("tz", "").strip()) or zone
        slug = params.get("time_range", "").strip()
        start, end = params.get("start", "").strip(), params.get("end", "").strip()
        if slug and slug != CUSTOM:
            return cls.of_preset(slug, now=now, zone=zone)
        if not (start or end or slug):
            return cls.of_preset(default, now=now, zone=zone)
        if not start:
            raise TimeRangeError("start", "A custom range needs a start.")
        return cls._custom(start, end, now, zone, naive_zone)

    @classmethod
    def _custom(
        cls, start: str, end: str, now: dt.datetime, zone: ZoneInfo, naive_zone: ZoneInfo
    ) -> TimeRange:
        first = _moment_of("start", start, naive_zone)
        last = _moment_of("end", end, naive_zone, ends=True) if end else now
        if first >= last:
            raise TimeRangeError("start", "The start must lie before the end.")
        if last - first > LONGEST:
            raise TimeRangeError("start", f"A range can span at most {LONGEST.days:,} days.")
        return cls(first, last, zone)

    @property
    def length(self) -> dt.timedelta:
        return self.end - self.start

    @property
    def slug(self) -> str:
        """The preset, or "custom"."""
        return self.preset or CUSTOM

    @property
    def previous(self) -> TimeRange:
        """The range of the same length just before, to compare with."""
        return TimeRange(self.start - self.length, self.start, self.zone)

    @property
    def halves(self) -> tuple[TimeRange, TimeRange]:
        """The earlier and the later half."""
        middle = self.start + self.length / 2
        return (
            TimeRange(self.start, middle, self.zone),
            TimeRange(middle, self.end, self.zone),
        )

    @property
    def query(self) -> dict[str, str]:
        """Query parameters that give this range again (without the zone)."""
        if self.preset:
            return {"time_range": self.preset}
        return {"start": self.start.isoformat(), "end": self.end.isoformat()}

    @property
    def chart_step(self) -> Step:
        """The step that gives a chart of this range a readable number of points."""
        return next((step for longest, step in _CHART_STEPS if self.length <= longest), Step.WEEK)

    def edges(self, step: Step) -> list[dt.datetime]:
        """Start, the zone's step boundaries inside, end: consecutive ones bound a chart's points.

        Steps up to an hour are counted in absolute time from a boundary of the local clock; 6 and
        12 hours, days and weeks (Monday) follow the local clock through changes of its offset.
        """
        inner = _absolute_boundaries if step.length <= _HOUR else _wall_clock_boundaries
        return [
            self.start,
            *(edge for edge in inner(self, step) if self.start < edge < self.end),
            self.end,
        ]

    @property
    def _sparkline_step(self) -> dt.timedelta:
        return next(
            (step for longest, step in _SPARKLINE_STEPS if self.length <= longest),
            self.length / _MOST_SPARKLINE_POINTS,
        )

    def coarse_sparkline_edges(self) -> list[dt.datetime]:
        """Like `sparkline_edges`, but steps of half a day and more are whole UTC days.

        The range cuts the first and the last one.
        """
        step = self._sparkline_step
        if step < _DAY / 2:
            return self.sparkline_edges()
        days = max(1, round(step / _DAY))
        edges, edge = [self.start], ceil_to(self.start, _DAY)
        while edge < self.end:
            if edge > self.start:
                edges.append(edge)
            edge += days * _DAY
        return [*edges, self.end]

    def sparkline_edges(self) -> list[dt.datetime]:
        """Start, inner edges and end of a sparkline's points.

        Presets have 12, 12, 24, 14 and 30 points (requirement 004). Points divide the range, so
        each execution in it is in exactly one. Inner edges are moved up to the next 5 minutes, or
        for steps of an hour or more to the next hour, so that they cut no bucket; this makes the
        first point longer and the last one shorter by less than that.
        """
        step = self._sparkline_step
        grid = BUCKET if step < _HOUR else _HOUR
        edges = [self.start]
        while (edge := ceil_to(self.start + len(edges) * step, grid)) < self.end:
            edges.append(edge)
        return [*edges, self.end]


def floor_to(at: dt.datetime, grid: dt.timedelta) -> dt.datetime:
    """The last multiple of `grid` (UTC) that is not after `at`; in UTC."""
    since = at - _EPOCH
    return _EPOCH + since // grid * grid


def ceil_to(at: dt.datetime, grid: dt.timedelta) -> dt.datetime:
    """The first multiple of `grid` (UTC) that is not before `at`; in UTC."""
    since = at - _EPOCH
    return _EPOCH - (-since) // grid * grid


def _absolute_boundaries(range_: TimeRange, step: Step) -> Iterator[dt.datetime]:
    offset = range_.start.astimezone(range_.zone).utcoffset() or dt.timedelta()
    edge = floor_to(range_.start + offset, step.length) - offset
    while edge < range_.end:
        # An offset that is no multiple of 5 minutes (none since 1972) must not cut buckets.
        yield ceil_to(edge, BUCKET)
        edge += step.length


def _wall_clock_boundaries(range_: TimeRange, step: Step) -> Iterator[dt.datetime]:
    midnight = dt.datetime.combine(range_.start.astimezone(range_.zone).date(), dt.time())
    if step is Step.WEEK:
        midnight -= dt.timedelta(days=midnight.weekday())
    while True:
        # A midnight that the clock skips stands for the first instant after the gap.
        edge = ceil_to(midnight.replace(tzinfo=range_.zone).astimezone(dt.UTC), BUCKET)
        if edge >= range_.end:
            return
        yield edge
        midnight += step.length


def _zone_of(name: str) -> ZoneInfo | None:
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError) as error:
        raise TimeRangeError(
            "tz", "Unknown time zone; use a name such as Europe/Berlin."
        ) from error


def asked_time(text: str, zone: dt.tzinfo = UTC, *, ends: bool = False) -> dt.datetime:
    """A moment that a question names (see `read_time`), in UTC; a bare date is its midnight.

    With `ends`, a bare date is the end of its day. Raises ValueError with words for people.
    """
    text = _with_plus(text)
    moment = read_time(text, zone)
    if moment.year not in YEARS:
        raise ValueError(f"must lie in the years {YEARS.start} to {YEARS.stop - 1}")
    if ends and _DATE.fullmatch(text):
        # By the clock of the zone, whose day may have 23 or 25 hours.
        return (moment.astimezone(zone) + _DAY).astimezone(dt.UTC)
    return moment


_CLOCK: Final = re.compile(r"[T ]\d\d")
_LOST_PLUS: Final = re.compile(r" (?=\d\d:?\d\d$)")


def _with_plus(text: str) -> str:
    """A plus sign that was not percent-encoded arrives as a space: "2026-01-01T00:00:00 02:00"."""
    lost = _LOST_PLUS.search(text)
    if lost is None or not _CLOCK.search(text, 0, lost.start()):
        return text
    return f"{text[: lost.start()]}+{text[lost.end() :]}"


_DATE: Final = re.compile(r"\d{4}-?\d\d-?\d\d")


def _moment_of(field: str, text: str, zone: ZoneInfo, *, ends: bool = False) -> dt.datetime:
    try:
        return asked_time(text, zone, ends=ends)
    except ValueError as error:
        raise TimeRangeError(field, f"The {field} {error}.") from None
