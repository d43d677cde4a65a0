"""Key figures as cards: said in words, compared with the range before, with their formula."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from django.utils.safestring import SafeString

from monitoring.metrics.kpis import Kpis, relative_change
from monitoring.metrics.ranges import Point, totals_of_spans
from monitoring.metrics.subject import Measured
from monitoring.metrics.timerange import TimeRange
from monitoring.metrics.totals import Totals
from monitoring.models import Workflow
from monitoring.pages.time_range import PageRange
from tenants.ui.drawings import change
from tenants.ui.numbers import NOTHING, duration, thousands
from tenants.ui.times import clock

CLEAR_PERCENT: Final = 5
INCOMPARABLE_PERCENT: Final = 1_000


@dataclass(frozen=True, slots=True)
class Figure:
    """The arguments of `components/kpi.html`."""

    label: str
    value: str
    hint: str
    unit: str = ""
    change: SafeString | str = ""
    note: str = ""
    spark: Sequence[float | None] = ()
    spark_label: str = ""
    tone: str = "accent"
    url: str = ""


def kpis_with_percentiles(subject: Measured, range_: TimeRange) -> Kpis:
    """Key figures whose points have percentiles too; one statement."""
    before = range_.previous
    spans = list(itertools.pairwise(range_.sparkline_edges()))
    previous, current, *rest = totals_of_spans(
        subject, [(before.start, before.end), (range_.start, range_.end), *spans]
    )
    points = [Point(*span, totals) for span, totals in zip(spans, rest, strict=True)]
    return Kpis(range_, current, previous, points)


def executions_figure(kpis: Kpis, shown: PageRange, url: str = "") -> Figure:
    """How many ran."""
    parts = " · ".join(
        f"{thousands(count)} {status.slug}" for status, count in kpis.totals.by_status.items()
    )
    return Figure(
        "Executions",
        thousands(kpis.totals.total),
        f"All that started in this range: {parts or 'none'}. {completeness(kpis.totals)}",
        change=_relative(kpis.previous.total, kpis.totals.total, thousands, "", shown),
        spark=[point.totals.total for point in kpis.points],
        spark_label="executions over the range",
        url=url,
    )


def failure_rate_figure(kpis: Kpis, shown: PageRange, url: str = "") -> Figure:
    """How many of the rated ones failed."""
    rate, totals = kpis.failure_rate, kpis.totals
    said = NOTHING if rate is None else thousands(rate * 100, 1)
    return Figure(
        "Failure rate",
        said,
        "Failed ÷ (success + failed + partial) ="
        f" {thousands(totals.failed)} ÷ {thousands(totals.rated)}. {completeness(totals)}",
        unit="" if rate is None else "%",
        change=change(kpis.change.failure_rate, "pts", "down", shown.compared_to),
        spark=[as_percent(point.totals.failure_rate) for point in kpis.points],
        spark_label="failure rate over the range",
        tone="bad" if totals.failed else "accent",
        url=url,
    )


def percentile_figure(kpis: Kpis, shown: PageRange, percentile: int) -> Figure:
    """The duration that so many percent of the executions did not exceed."""
    value, before = kpis.totals.percentile(percentile), kpis.previous.percentile(percentile)
    known = kpis.totals.histogram.total if kpis.totals.histogram else 0
    number, unit = split_unit(duration(value))
    return Figure(
        f"Duration p{percentile}",
        number,
        f"{percentile} % of executions took no longer. n = {thousands(known)} with a known"
        f" duration (success, failed, partial), error at most 1 %. {completeness(kpis.totals)}",
        unit=unit,
        change=_relative(before, value, duration, "down", shown),
        spark=[point.totals.percentile(percentile) for point in kpis.points],
        spark_label=f"p{percentile} over the range",
    )


def _relative(
    before: float | None,
    now: float | None,
    words: Callable[[float], str],
    better: str,
    shown: PageRange,
) -> SafeString | str:
    """Say a change in percent; one beyond comparison as the figure before.

    Small changes are never good or bad: durations always differ a little.
    """
    difference = relative_change(before, now)
    if difference is None or before is None:
        return change(None, compared_to=shown.compared_to)
    if abs(difference) > INCOMPARABLE_PERCENT:
        return f"{words(before)} in {shown.before}"
    tone = better if abs(difference) >= CLEAR_PERCENT else ""
    return change(difference, "%", tone, shown.compared_to, 0)


@dataclass(frozen=True, slots=True)
class UnderWay:
    """How many have not finished; not `is_all`: there may be more."""

    running: int
    waiting: int
    is_all: bool


def open_figure(found: UnderWay, url: str = "") -> Figure:
    """What is under way at this moment, whatever the range."""
    more = "" if found.is_all else " or more"
    return Figure(
        "Under way now",
        thousands(found.running + found.waiting) + ("" if found.is_all else "+"),
        "Executions that have not finished yet (pending and running, waiting), whenever they"
        " started. Counted now, not in the chosen range.",
        note=f"{thousands(found.running)} running{more} · {thousands(found.waiting)} waiting{more}",
        url=url,
    )


def completeness(totals: Totals) -> str:
    """Say whether the whole range is counted, or from where to where."""
    if totals.exact:
        return "Complete: everything recorded in this range counts."
    edges = (("from", totals.snapped_start), ("up to", totals.snapped_end))
    said = " ".join(f"{word} {clock(edge)}" for word, edge in edges if edge is not None)
    return f"Counted {said}, because older single executions are gone."


def as_percent(rate: float | None) -> float | None:
    """A fraction as percent (0–100)."""
    return None if rate is None else rate * 100


def split_unit(said: str) -> tuple[str, str]:
    """Split "4.2 s" into number and unit; anything longer stays whole."""
    words = said.split(" ")
    return (words[0], words[1]) if len(words) == 2 else (said, "")


def title_of(workflow: Workflow) -> str:
    """A workflow's name, its id when the name is blank: a link needs something to read."""
    return workflow.name if workflow.name.strip() else workflow.external_id
