"""Moments, relative and exact, in the active time zone; the ranges of time to choose from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.utils import timezone
from django.utils.safestring import SafeString

from tenants.times import utc_text
from tenants.ui.numbers import MINUS, NOTHING

_WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_STEPS: Final = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def ago(moment: datetime | None) -> str:
    """Say how far a moment is from now: "40 s ago", "in 5 min", "3 d ago", then the date."""
    if moment is None:
        return NOTHING
    seconds = (timezone.now() - moment).total_seconds()
    span = abs(seconds)
    if span < 5:
        return "now"
    if span >= 7 * 86_400:
        return day(moment)
    size, unit = next(step for step in _STEPS if span >= step[0])
    count = int(span // size)
    return f"{count} {unit} ago" if seconds > 0 else f"in {count} {unit}"


def day(moment: datetime | None) -> str:
    """Say the date in the active zone, the year only when it is another: "12 May", "3 Jun 2025"."""
    if moment is None:
        return NOTHING
    there = timezone.localtime(moment)
    same_year = there.year == timezone.localtime().year
    return f"{there.day} {there:%b}" if same_year else f"{there.day} {there:%b} {there.year}"


def exact(moment: datetime | None) -> str:
    """Say the whole moment with its zone: "Sat 21 Nov 2026, 09:12:04 Europe/Berlin"."""
    if moment is None:
        return NOTHING
    zone = timezone.get_current_timezone()
    there = moment.astimezone(zone)
    # strftime would cost most of a row: a list says this fifty times.
    return (
        f"{_WEEKDAYS[there.weekday()]} {there.day} {_MONTHS[there.month - 1]} {there.year},"
        f" {there.hour:02}:{there.minute:02}:{there.second:02} {zone}"
    )


def clock(moment: datetime | None) -> str:
    """Say the time of day, with the date unless it is today: "09:12:04", "20 Nov 09:12:04"."""
    if moment is None:
        return NOTHING
    there = timezone.localtime(moment)
    today = there.date() == timezone.localtime().date()
    return f"{there:%H:%M:%S}" if today else f"{day(moment)} {there:%H:%M:%S}"


def timestamp(moment: datetime | None, form: str = "relative") -> SafeString | str:
    """Mark up a moment: relative text (kept current by time.js), the exact one on hover.

    `form` "clock" or "exact" shows that instead, with the relative one on hover; "both" adds the time of
    day after an hour, and is date and time for another day.
    """
    if moment is None:
        return NOTHING
    machine = utc_text(moment)
    if form == "both":
        return _with_clock(moment, machine)
    # Only words of our own: lists hold a hundred of these, and escaping is most of their cost.
    if form == "relative":
        return SafeString(
            f'<time datetime="{machine}" title="{exact(moment)}" data-relative>{ago(moment)}</time>'
        )
    shown = exact(moment) if form == "exact" else clock(moment)
    hover = ago(moment) if form == "exact" else f"{exact(moment)} ({ago(moment)})"
    return SafeString(f'<time datetime="{machine}" title="{hover}">{shown}</time>')


def _with_clock(moment: datetime, machine: str) -> SafeString | str:
    now, there = timezone.localtime(), timezone.localtime(moment)
    if abs((now - there).total_seconds()) < 3_600:
        return timestamp(moment)
    if there.date() == now.date():
        return SafeString(f'{timestamp(moment)} <span class="muted">{there:%H:%M}</span>')
    hover = f"{exact(moment)} ({ago(moment)})"
    shown = f"{day(moment)} {there:%H:%M}"
    return SafeString(f'<time datetime="{machine}" title="{hover}">{shown}</time>')


def datetime_local(moment: datetime | None) -> str:
    """Write a moment for `<input type="datetime-local">` in the active zone."""
    return "" if moment is None else f"{timezone.localtime(moment):%Y-%m-%dT%H:%M}"


def zone_name() -> str:
    """Return the active time zone with its present distance from UTC: "Europe/Berlin (UTC+1)"."""
    name = timezone.get_current_timezone_name()
    return name if name == "UTC" else f"{name} ({offset_of(timezone.localtime())})"


def offset_of(moment: datetime) -> str:
    """Say how far the clock of a moment is from UTC: "UTC+5:30", "UTC" where it is not."""
    offset = moment.utcoffset() or timedelta()
    if not offset:
        return "UTC"
    minutes = round(abs(offset).total_seconds() / 60)
    sign = "+" if offset > timedelta() else MINUS
    return f"UTC{sign}{minutes // 60}{f':{minutes % 60:02}' if minutes % 60 else ''}"


@dataclass(frozen=True, slots=True)
class Preset:
    """A range to choose: the word in the address and what people read."""

    key: str
    label: str


TIME_PRESETS: Final = (
    Preset("1h", "Last hour"),
    Preset("6h", "Last 6 hours"),
    Preset("24h", "Last 24 hours"),
    Preset("7d", "Last 7 days"),
    Preset("30d", "Last 30 days"),
)


def time_presets() -> Sequence[Preset]:
    """Return the ranges that the time control offers."""
    return TIME_PRESETS
