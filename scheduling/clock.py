"""When a schedule is due: wall-clock times of a zone as instants.

A wall time that a zone skips (the clocks go forward) is due at the first instant that exists after
it; one that comes twice (they go back) is due the first time only.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

_DAY: Final = dt.timedelta(days=1)
_SECOND: Final = dt.timedelta(seconds=1)


class Frequency(StrEnum):
    """How often a schedule is due. `12h` and `6h` count by the wall clock, not by elapsed hours."""

    DAILY = "daily"
    TWELVE_HOURS = "12h"
    SIX_HOURS = "6h"
    WEEKLY = "weekly"


_TIMES_A_DAY: Final = {
    Frequency.DAILY: 1,
    Frequency.TWELVE_HOURS: 2,
    Frequency.SIX_HOURS: 4,
    Frequency.WEEKLY: 1,
}


@dataclass(frozen=True, slots=True)
class Timetable:
    """The times at which something is due: `at` (hours and minutes) and every so often from there.

    `weekday` (0 = Monday) counts for WEEKLY only.
    """

    frequency: Frequency
    at: dt.time
    zone: ZoneInfo
    weekday: int = 0

    def next_after(self, instant: dt.datetime) -> dt.datetime:
        """The first due instant (UTC) strictly later than `instant` (aware)."""
        return next(self.after(instant))

    def upcoming(self, instant: dt.datetime, count: int) -> list[dt.datetime]:
        """The next `count` due instants (UTC) strictly later than `instant`."""
        return list(islice(self.after(instant), count))

    def between(self, start: dt.datetime, end: dt.datetime) -> Iterator[dt.datetime]:
        """Every due instant (UTC) later than `start` and not later than `end`, oldest first."""
        for instant in self.after(start):
            if instant > end:
                return
            yield instant

    def after(self, instant: dt.datetime) -> Iterator[dt.datetime]:
        """Every due instant (UTC) strictly later than `instant`, oldest first, without end.

        Wall times of one gap fall on the same instant (a zone can skip a whole day): it is due
        once.
        """
        last = instant.astimezone(dt.UTC)
        for wall in self._wall_times(last.astimezone(self.zone).date() - _DAY):
            due = first_instant(wall, self.zone)
            if due > last:
                yield due
                last = due

    def _wall_times(self, day: dt.date) -> Iterator[dt.datetime]:
        times = self._times_of_day()
        while True:
            if self.frequency is not Frequency.WEEKLY or day.weekday() == self.weekday:
                for time in times:
                    yield dt.datetime.combine(day, time)
            day += _DAY

    def _times_of_day(self) -> list[dt.time]:
        count = _TIMES_A_DAY[self.frequency]
        hours = {(self.at.hour + step * 24 // count) % 24 for step in range(count)}
        return [dt.time(hour, self.at.minute) for hour in sorted(hours)]


def first_instant(wall: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """The first instant (UTC) at which the clocks of `zone` show `wall` (naive), or pass it."""
    shown = wall.replace(tzinfo=zone, fold=0).astimezone(dt.UTC)
    if _wall_at(shown, zone) == wall:
        return shown
    # The clocks skip `wall`: read with the offset after the gap it lies before the transition, with
    # the offset before the gap behind it.
    return _transition(wall.replace(tzinfo=zone, fold=1).astimezone(dt.UTC), shown, zone)


def _wall_at(instant: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    return instant.astimezone(zone).replace(tzinfo=None, fold=0)


def _transition(before: dt.datetime, after: dt.datetime, zone: ZoneInfo) -> dt.datetime:
    """The first second in (before, after] whose offset is that of `after`."""
    offset = after.astimezone(zone).utcoffset()

    def passed(second: int) -> bool:
        return (before + second * _SECOND).astimezone(zone).utcoffset() == offset

    seconds = range(1, (after - before) // _SECOND + 1)
    return before + seconds[bisect_left(seconds, True, key=passed)] * _SECOND
