"""Small drawings: lines, bars, arrows of change, pieces of a waterfall."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from django.utils.safestring import SafeString, mark_safe

from tenants.ui.icons import icon
from tenants.ui.markup import format_html
from tenants.ui.numbers import NOTHING, duration, thousands

Point: TypeAlias = tuple[float, float]


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
    runs = _runs(points)
    last = next(point for point in reversed(points) if point)
    dots = dict.fromkeys([*(run[0] for run in runs if len(run) == 1), last])
    said = (
        format_html('role="img" aria-label="{}"', label)
        if label
        else mark_safe('aria-hidden="true"')
    )
    # What is drawn are numbers: only the words need escaping.
    lines = "".join(f'<polyline points="{_path(run)}"/>' for run in runs if len(run) > 1)
    circles = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2"/>' for x, y in dots)
    return format_html(
        '<svg class="spark {}" viewBox="0 0 {} {}" {}>{}{}</svg>',
        tone,
        width,
        height,
        said,
        SafeString(lines),
        SafeString(circles),
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


def axis_marks(whole: float, pieces: int = 5) -> list[tuple[str, str]]:
    """Return where (in percent) and what stands on a waterfall's axis of `whole` milliseconds.

    An axis of fewer milliseconds has fewer marks, so that none says the same as another.
    """
    pieces = min(pieces, max(1, int(whole)))
    return [(f"{i * 100 / pieces:.1f}%", duration(whole * i / pieces)) for i in range(pieces)]
