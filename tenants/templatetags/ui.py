"""How numbers, times and states are said and drawn, the same on every page (docs/ui.md).

Filters return plain text and can be called from Python too (exports, mails); tags return HTML.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, TypeAlias

from django import template
from django.http import HttpRequest, QueryDict
from django.template.context import RequestContext
from django.templatetags.static import static
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe

from tenants.memberships import memberships_of
from tenants.models import Membership, User
from tenants.navigation import MenuEntry, menu_for

register = template.Library()

NOTHING = "–"
"""What stands where a value is unknown; never a zero."""

THIN_SPACE = "\u202f"
MINUS = "\u2212"

STATUS_LABELS = {
    "success": "Success",
    "failed": "Failed",
    "partial": "Partial",
    "pending": "Pending",
    "running": "Running",
    "waiting": "Waiting",
    "canceled": "Canceled",
    "skipped": "Skipped",
    "retrying": "Retrying",
    "lost": "Lost contact",
    "critical": "Critical",
    "warning": "Warning",
    "info": "Info",
}

Point: TypeAlias = tuple[float, float]

_STEPS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
_SECOND, _MINUTE, _HOUR, _DAY = 1_000, 60_000, 3_600_000, 86_400_000


# --- words for numbers and times ------------------------------------------------------------------
def _known(value: float | str | None) -> float | None:
    """Return a finite number, or None; a template gives "" for a variable that it lacks."""
    return value if isinstance(value, int | float) and math.isfinite(value) else None


@register.filter
def duration(milliseconds: float | str | None) -> str:
    """Say milliseconds as people do: "840 ms", "12.4 s", "3 min 07 s", "2 h 05 min", "3 d 04 h"."""
    exactly = _known(milliseconds)
    if exactly is None:
        return NOTHING
    if exactly < 0:
        return MINUS + duration(-exactly)
    whole = round(exactly)
    if whole < _SECOND:
        return f"{whole} ms"
    tenths = round(exactly / 100)
    if tenths < 600:
        return f"{tenths / 10:.1f} s"
    seconds = round(exactly / _SECOND)
    if seconds < 3_600:
        return f"{seconds // 60} min {seconds % 60:02} s"
    minutes = round(exactly / _MINUTE)
    if minutes < 1_440:
        return f"{minutes // 60} h {minutes % 60:02} min"
    hours = round(exactly / _HOUR)
    return f"{hours // 24} d {hours % 24:02} h"


@register.filter
def thousands(number: float | str | None, digits: int = 0) -> str:
    """Group digits by thin spaces: 12431 is "12 431"; `digits` after the point."""
    exactly = _known(number)
    if exactly is None:
        return NOTHING
    text = f"{abs(exactly):,.{digits}f}".replace(",", THIN_SPACE)
    negative = exactly < 0 and text.strip("0.") != ""
    return MINUS + text if negative else text


@register.filter
def percent(value: float | str | None, digits: int = 1) -> str:
    """Say a rate that is already in percent (0–100): 1.34 is "1.3 %"; None is "–"."""
    said = thousands(value, digits)
    return said if said == NOTHING else f"{said} %"


@register.filter
def filesize(count: float | str | None) -> str:
    """Say bytes: "820 B", "12.4 KB", "1.2 MB" (steps of 1,024)."""
    size = _known(count)
    if size is None:
        return NOTHING
    for unit in ("B", "KB", "MB"):
        if size < 1_024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1_024
    return f"{size:.1f} GB"


@register.filter
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


@register.filter
def day(moment: datetime | None) -> str:
    """Say the date in the active zone, the year only when it is another: "12 May", "3 Jun 2025"."""
    if moment is None:
        return NOTHING
    there = timezone.localtime(moment)
    same_year = there.year == timezone.localtime().year
    return f"{there.day} {there:%b}" if same_year else f"{there.day} {there:%b} {there.year}"


@register.filter
def exact(moment: datetime | None) -> str:
    """Say the whole moment with its zone: "Sat 21 Nov 2026, 09:12:04 Europe/Berlin"."""
    if moment is None:
        return NOTHING
    there = timezone.localtime(moment)
    return f"{there:%a} {there.day} {there:%b %Y, %H:%M:%S} {timezone.get_current_timezone_name()}"


@register.filter
def clock(moment: datetime | None) -> str:
    """Say the time of day, with the date unless it is today: "09:12:04", "20 Nov 09:12:04"."""
    if moment is None:
        return NOTHING
    there = timezone.localtime(moment)
    today = there.date() == timezone.localtime().date()
    return f"{there:%H:%M:%S}" if today else f"{day(moment)} {there:%H:%M:%S}"


@register.filter
def timestamp(moment: datetime | None, form: str = "relative") -> SafeString | str:
    """Mark up a moment: relative text (kept current by time.js), the exact one on hover.

    `form` "clock" or "exact" shows that instead, with the relative one on hover.
    """
    if moment is None:
        return NOTHING
    machine = moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    if form == "relative":
        return format_html(
            '<time datetime="{}" title="{}" data-relative>{}</time>',
            machine,
            exact(moment),
            ago(moment),
        )
    shown = exact(moment) if form == "exact" else clock(moment)
    hover = ago(moment) if form == "exact" else f"{exact(moment)} ({ago(moment)})"
    return format_html('<time datetime="{}" title="{}">{}</time>', machine, hover, shown)


@register.simple_tag
def took(milliseconds: float | str | None) -> SafeString:
    """Mark up a duration: as people say it, the exact milliseconds on hover."""
    if _known(milliseconds) is None:
        return format_html('<span class="nums">{}</span>', NOTHING)
    return format_html(
        '<span class="nums" title="{} ms">{}</span>',
        thousands(milliseconds),
        duration(milliseconds),
    )


# --- icons and states -----------------------------------------------------------------------------
@register.simple_tag
@lru_cache(maxsize=1_024)  # a page draws hundreds, of few kinds
def icon(name: str, classes: str = "", label: str = "") -> SafeString:
    """Draw a symbol of the sprite; without `label` it is decoration that screen readers skip."""
    said = (
        format_html('role="img" aria-label="{}"', label)
        if label
        else mark_safe('aria-hidden="true"')
    )
    return format_html(
        '<svg class="icon {}" {}><use href="{}#{}"/></svg>',
        classes,
        said,
        static("icons/sprite.svg"),
        name,
    )


@register.filter
def status_word(status: str) -> str:
    """Return the word that people read for a canonical status or severity."""
    return STATUS_LABELS.get(status, str(status))


@register.simple_tag
def status_icon(status: str, label: bool = True) -> SafeString:
    """Draw the shape of a status or severity; `label=False` when the word stands beside it."""
    known = status if status in STATUS_LABELS else "unknown"
    return icon(known, f"is-{known}", status_word(status) if label else "")


# --- small drawings -------------------------------------------------------------------------------
@register.simple_tag
def sparkline(
    values: Iterable[float | None],
    label: str = "",
    tone: str = "accent",
    width: int = 96,
    height: int = 24,
) -> SafeString:
    """Draw a line over `values` from zero up; None is a gap, a lonely value a dot.

    `tone` is accent, good, bad, warn or muted; `label` says in words what is seen.
    """
    points = _points(list(values), width, height)
    if not any(points):
        return format_html(
            '<span class="muted" aria-label="{}">{}</span>', label or "no data", NOTHING
        )
    lines = format_html_join(
        "", '<polyline points="{}"/>', ((_path(run),) for run in _runs(points) if len(run) > 1)
    )
    dots = [run[0] for run in _runs(points) if len(run) == 1]
    last = next(point for point in reversed(points) if point)
    circles = format_html_join(
        "",
        '<circle cx="{}" cy="{}" r="2"/>',
        ((f"{x:.1f}", f"{y:.1f}") for x, y in dict.fromkeys([*dots, last])),
    )
    said = (
        format_html('role="img" aria-label="{}"', label)
        if label
        else mark_safe('aria-hidden="true"')
    )
    return format_html(
        '<svg class="spark {}" viewBox="0 0 {} {}" {}>{}{}</svg>',
        tone,
        width,
        height,
        said,
        lines,
        circles,
    )


def _points(values: Sequence[float | None], width: int, height: int) -> list[Point | None]:
    known = [float(v) for v in values if v is not None]
    low = min(0.0, *known, 0.0)
    span = (max(known, default=0.0) - low) or 1.0
    step = width / max(len(values) - 1, 1)
    return [
        None if v is None else (index * step, height - 3 - (float(v) - low) / span * (height - 6))
        for index, v in enumerate(values)
    ]


def _runs(points: Sequence[Point | None]) -> list[list[Point]]:
    """Cut the line at its gaps."""
    runs: list[list[Point]] = [[]]
    for point in points:
        if point is not None:
            runs[-1].append(point)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def _path(run: Iterable[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in run)


@register.simple_tag
def meter(
    value: float | None, most: float = 100, tone: str = "accent", width: int = 56
) -> SafeString:
    """Draw a small bar that shows `value` of `most`; decoration beside the number."""
    share = 0.0 if value is None or most <= 0 else min(max(value / most, 0.0), 1.0)
    return format_html(
        '<svg class="meter {0}" viewBox="0 0 {1} 6" aria-hidden="true">'
        '<rect class="ground" width="{1}" height="6" rx="3"/>'
        '<rect class="fill" width="{2}" height="6" rx="3"/></svg>',
        tone,
        width,
        f"{max(share * width, 2.0) if share else 0:.1f}",
    )


@register.simple_tag
def change(
    difference: float | None,
    unit: str = "%",
    better: str = "",
    compared_to: str = "",
    digits: int = 1,
) -> SafeString:
    """Say a change by arrow and words; coloured only when `better` is "up" or "down"."""
    if difference is None:
        return format_html('<span class="change">{}</span>', "no comparison")
    if round(difference, digits) == 0:
        return format_html('<span class="change">unchanged{}</span>', _tail(compared_to))
    direction = "up" if difference > 0 else "down"
    tone = "" if better not in ("up", "down") else "good" if direction == better else "bad"
    return format_html(
        '<span class="change {}">{}<span class="hush">{}</span>{} {}{}</span>',
        tone,
        icon(f"arrow-{direction}"),
        "more by " if difference > 0 else "less by ",
        thousands(abs(difference), digits),
        unit,
        _tail(compared_to),
    )


def _tail(compared_to: str) -> SafeString:
    return (
        format_html('<span class="muted phone-hide"> {}</span>', compared_to)
        if compared_to
        else SafeString("")
    )


# --- waterfall ------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Bar:
    """A piece of a waterfall's row in percent of the whole width; at least a hair wide."""

    x: str
    width: str
    kind: str


def bar(starts_at: float, lasts: float, whole: float, kind: str = "work") -> Bar:
    """Place a piece (`kind` "work" or "wait"); all three in the same unit, `whole` > 0."""
    left = min(max(starts_at / whole, 0.0), 1.0) * 100
    width = min(max(lasts / whole * 100, 0.35), max(100 - left, 0.35))
    return Bar(f"{min(left, 99.65):.3f}%", f"{width:.3f}%", kind)


@register.simple_tag
def axis_marks(whole: float, pieces: int = 5) -> list[tuple[str, str]]:
    """Return where (in percent) and what stands on a waterfall's axis of `whole` milliseconds."""
    return [(f"{i * 100 / pieces:.1f}%", duration(whole * i / pieces)) for i in range(pieces)]


# --- addresses ------------------------------------------------------------------------------------
@register.simple_tag(takes_context=True)
def hidden_query(context: RequestContext, *without: str) -> SafeString:
    """Carry the address' parameters through a GET form, `without` those that the form sets."""
    query: QueryDict = context["request"].GET
    pairs = [(k, v) for k, values in query.lists() if k not in without for v in values]
    return format_html_join("", '<input type="hidden" name="{}" value="{}">', pairs)


@dataclass(frozen=True, slots=True)
class Preset:
    """A range to choose: the word in the address and what people read."""

    key: str
    label: str


TIME_PRESETS = (
    Preset("1h", "Last hour"),
    Preset("6h", "Last 6 hours"),
    Preset("24h", "Last 24 hours"),
    Preset("7d", "Last 7 days"),
    Preset("30d", "Last 30 days"),
)


@register.simple_tag
def time_presets() -> Sequence[Preset]:
    """Return the ranges that the time control offers."""
    return TIME_PRESETS


@register.filter
def datetime_local(moment: datetime | None) -> str:
    """Write a moment for `<input type="datetime-local">` in the active zone."""
    return "" if moment is None else f"{timezone.localtime(moment):%Y-%m-%dT%H:%M}"


@register.simple_tag
def zone_name() -> str:
    """Return the active time zone with its present distance from UTC: "Europe/Berlin (UTC+1)"."""
    name = timezone.get_current_timezone_name()
    offset = timezone.localtime().utcoffset() or timedelta()
    if not offset:
        return name if name == "UTC" else f"{name} (UTC)"
    minutes = round(abs(offset).total_seconds() / 60)
    sign = "+" if offset > timedelta() else MINUS
    return f"{name} (UTC{sign}{minutes // 60}{f':{minutes % 60:02}' if minutes % 60 else ''})"


@register.simple_tag
def address(view_name: str, *args: Any) -> str:
    """Return an address as `url` does, or "" where no such page exists (menus show what exists)."""
    try:
        return reverse(view_name, args=args)
    except NoReverseMatch:
        return ""


# --- the frame ------------------------------------------------------------------------------------
@register.simple_tag(takes_context=True)
def menu(context: RequestContext) -> list[MenuEntry]:
    """Return the menu of the request's tenant."""
    request: HttpRequest | None = context.get("request")
    return menu_for(request) if request is not None else []


@register.simple_tag(takes_context=True)
def own_memberships(context: RequestContext) -> list[Membership]:
    """Return where the signed-in person is a member, for the tenant switcher."""
    request: HttpRequest | None = context.get("request")
    user = getattr(request, "user", None)
    return memberships_of(user) if isinstance(user, User) else []
