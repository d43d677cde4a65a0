"""The time range that a page's address asks for, as the control in the header shows it."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone

from monitoring.metrics.timerange import DEFAULT_PRESET, TimeRange, TimeRangeError, asked_time
from tenants.times import utc_text
from tenants.ui.times import TIME_PRESETS

_DAYS_ONLY_FROM = dt.timedelta(days=2)
_SECONDS_UP_TO = dt.timedelta(minutes=10)
_LABELS = {preset.key: preset.label for preset in TIME_PRESETS}


@dataclass(frozen=True, slots=True)
class RangeLink:
    """A range that one page offers beside the presets."""

    label: str
    url: str


@dataclass(frozen=True, slots=True)
class PageRange:
    """A time range and its words; what `components/time_range.html` takes as `time_range`.

    `asked` is the query string that asked for it, `problem` why it is another than the address
    names; `more` are ranges of this page's own.
    """

    range: TimeRange
    asked: str = ""
    problem: str = ""
    more: tuple[RangeLink, ...] = ()

    @property
    def key(self) -> str:
        """The preset ("24h"), or "custom"."""
        return self.range.slug

    @property
    def label(self) -> str:
        """The words on the control: "Last 24 hours", or both ends in the person's zone."""
        if self.key in _LABELS:
            return _LABELS[self.key]
        first, last = (edge.astimezone(self.range.zone) for edge in (self.start, self.end))
        if self.range.length > _DAYS_ONLY_FROM:
            last -= dt.timedelta(microseconds=1)  # an end at midnight belongs to the day before
            start_format = (
                "%-d" if (first.year, first.month) == (last.year, last.month) else "%-d %b"
            )
            return f"{first.strftime(start_format)} – {last:%-d %b}"
        clock = "%H:%M" if self.range.length > _SECONDS_UP_TO else "%H:%M:%S"
        end_format = clock if first.date() == last.date() else f"%-d %b {clock}"
        return f"{first.strftime(f'%-d %b {clock}')} – {last.strftime(end_format)}"

    @property
    def is_fixed(self) -> bool:
        """Whether it stands still while time goes on; a preset goes along."""
        return not self.range.preset

    @property
    def start(self) -> dt.datetime:
        """The first moment in it."""
        return self.range.start

    @property
    def end(self) -> dt.datetime:
        """The first moment after it."""
        return self.range.end

    @property
    def query(self) -> str:
        """The query string that gives this range again on another page."""
        return urlencode({"range": self.key}) if self.range.preset else span_query(*self.ends)

    @property
    def ends(self) -> tuple[dt.datetime, dt.datetime]:
        """Both ends."""
        return self.start, self.end

    @property
    def before(self) -> str:
        """What the range before is called: "the 24 hours before"."""
        words = _LABELS.get(self.key, "").removeprefix("Last ")
        return f"the {words} before" if words else "the time before"

    @property
    def compared_to(self) -> str:
        """The tail of a comparison: "to the 24 hours before"."""
        return f"to {self.before}"


def span_query(start: dt.datetime, end: dt.datetime) -> str:
    """Return the query string for the executions of [start, end)."""
    return urlencode({"start": utc_text(start), "end": utc_text(end)})


def shareable_range(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Lead an address with times of the person's zone to one that means the same to everybody.

    A form sends times without an offset, and addresses are shared. Parts are asked for by pages
    whose own address says it already.
    """

    @wraps(view)
    def led(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        moments = dict(_moments_of_the_zone(request))
        if not moments or request.headers.get("HX-Request"):
            return view(request, *args, **kwargs)
        params = request.GET.copy()
        for name, moment in moments.items():
            params[name] = utc_text(moment)
        return redirect(f"{request.path}?{params.urlencode()}")

    return led


def _moments_of_the_zone(request: HttpRequest) -> Iterator[tuple[str, dt.datetime]]:
    """Times of the address that would mean another moment in another zone."""
    zone = timezone.get_current_timezone()
    elsewhere = dt.timezone(dt.timedelta(hours=12))
    for name in ("start", "end"):
        text, ends = request.GET.get(name, "").strip(), name == "end"
        try:
            if asked_time(text, dt.UTC, ends=ends) != asked_time(text, elsewhere, ends=ends):
                yield name, asked_time(text, zone, ends=ends)
        except ValueError:
            continue  # `page_range` says what is wrong with it


def page_range(request: HttpRequest, default: str = DEFAULT_PRESET) -> PageRange:
    """Read `range`, or `start` and `end` in the active zone; say so when they make no sense."""
    now, zone = timezone.now(), timezone.get_current_timezone()
    assert isinstance(zone, ZoneInfo)
    asked = {
        "time_range": request.GET.get("range", ""),
        "start": request.GET.get("start", ""),
        "end": request.GET.get("end", ""),
    }
    try:
        found = TimeRange.from_query(asked, now=now, zone=zone, naive_zone=zone, default=default)
    except TimeRangeError as error:
        return PageRange(TimeRange.of_preset(default, now=now, zone=zone), problem=str(error))
    given = {name: request.GET[name] for name in ("range", "start", "end") if name in request.GET}
    return PageRange(found, urlencode(given))
