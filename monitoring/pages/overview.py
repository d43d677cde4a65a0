"""The overview: is everything all right, in five seconds?"""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.text import Truncator
from django.views.decorators.http import require_safe

from monitoring.history import of_ids
from monitoring.metrics.heat import HeatMap, failure_heat_map
from monitoring.metrics.kpis import Kpis
from monitoring.metrics.ranges import sparklines_by_workflow
from monitoring.metrics.subject import of_tenant
from monitoring.metrics.timerange import TimeRange
from monitoring.metrics.trends import (
    RankedWorkflow,
    workflows_needing_a_look,
)
from monitoring.models import Execution, Workflow
from monitoring.pages.addresses import execution_urls, workflow_urls
from monitoring.pages.empty import first_has_come, first_steps, is_waiting_for_the_first
from monitoring.pages.figures import (
    Figure,
    UnderWay,
    as_percent,
    executions_figure,
    failure_rate_figure,
    kpis_with_percentiles,
    open_figure,
    percentile_figure,
    title_of,
)
from monitoring.pages.news import UNCHANGED
from monitoring.pages.rows import reason, rows_of, shown_status
from monitoring.pages.time_range import PageRange, page_range, shareable_range, span_query
from monitoring.panels import Part, Place, panels_at
from monitoring.recent import (
    UNFINISHED,
    Recent,
    last_and_failed,
    signs,
    unfinished,
)
from monitoring.recording.quota import Refused, refused_of
from monitoring.verdict import CANDIDATES, Finding, failing_first, findings, latest_of
from monitoring.words import Status
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role
from tenants.ui.numbers import thousands
from tenants.ui.times import day

NEED_A_LOOK: Final = 8
UNDER_WAY: Final = 8
THINGS: Final = 6
MOST_COUNTED: Final = 1_000
MESSAGE_LENGTH: Final = 140
NODE_LENGTH: Final = 60
HEAT_SPAN: Final = dt.timedelta(days=30)
LONGEST_HEAT_SPAN: Final = dt.timedelta(days=90)
HEAT_LEVELS: Final = 5
WEEKDAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


@tenant_member(Role.VIEWER)
@require_safe
@shareable_range
def overview(request: TenantRequest, slug: str) -> HttpResponse:
    """Show the verdict, key figures, when things ran and failed, and what needs a look."""
    if is_waiting_for_the_first(request):
        return first_has_come()
    shown = page_range(request)
    kpis = kpis_with_percentiles(of_tenant(request.tenant), shown.range)
    if not kpis.totals.total and not Workflow.objects.exists():
        return render(request, "monitoring/overview_empty.html", first_steps(request))
    number_under_way, under_way = _under_way()
    panels = panels_at(Place.OVERVIEW, request, request.tenant)
    refused = refused_of(request.tenant, timezone.now())
    stamp = _stamp(kpis, number_under_way, under_way, panels, refused)
    if request.GET.get("stamp") == stamp:
        return HttpResponse(status=UNCHANGED)
    failing = workflows_needing_a_look(of_tenant(request.tenant), shown.range, limit=CANDIDATES)
    latest = latest_of(failing, shown.range)
    heat_range, heat_note = _heat_range(shown.range)
    context = {
        "time_range": shown,
        "verdict": _verdict(findings(failing, latest, shown.range), kpis, shown, slug),
        "figures": _figures(kpis, shown, number_under_way, slug),
        "chart_url": f"{reverse('monitoring:overview-chart', args=[slug])}?{shown.query}",
        "chart_note": step_words(shown.range),
        "heat_note": heat_note,
        "heat": _heat(failure_heat_map(of_tenant(request.tenant), heat_range)),
        "workflows": _workflow_rows(failing_first(failing, latest)[:NEED_A_LOOK], shown, slug),
        "under_way": rows_of(under_way, slug, ""),
        "panels": panels,
        "refused": refused,
        "refused_since": since_words(refused.since) if refused else "",
        "may_see_quota": request.membership.may(Role.ADMIN),
        "stamp": stamp,
        "has_ended": bool(request.GET.get("end")),
    }
    return render(request, "monitoring/overview.html", context)


def _stamp(
    kpis: Kpis,
    number: UnderWay,
    under_way: Sequence[Execution],
    panels: Sequence[Part],
    refused: Refused | None,
) -> str:
    """What a page that stays open compares: the same while nothing on it would change.

    What is under way changes with each minute, because it says for how long.
    """
    totals = kpis.totals
    running = [(each.id, shown_status(each), each.node_done_count) for each in under_way]
    minute = timezone.now().replace(second=0, microsecond=0) if running else None
    seen = (totals.counts, totals.duration_sums, number, running, minute, panels, refused)
    return hashlib.blake2b(repr(seen).encode(), digest_size=8).hexdigest()


# --- verdict ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VerdictRow:
    """One thing that is not all right; `since` is "" when it began before what was looked at.

    `how_often` says for how many failures `message` stands: "" for all, "mostly" or "last".
    """

    workflow: str
    environment: str
    url: str
    trouble: str
    failed: int
    rated: int
    since: str
    rate: float | None
    rate_before: float | None
    how_often: str
    message: str
    node: str
    version: str
    last: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer: `tone` is good, bad or quiet; `more` things are not among the rows."""

    tone: str
    icon: str
    title: str
    note: str
    rows: Sequence[VerdictRow] = ()
    more: int = 0


def _verdict(found: Sequence[Finding], kpis: Kpis, shown: PageRange, slug: str) -> Verdict:
    note = f"{thousands(kpis.totals.rated)} finished, {thousands(kpis.totals.failed)} failed"
    if found:
        things = "1 thing" if len(found) == 1 else f"{len(found)} things"
        if len(found) == CANDIDATES:
            things += " or more"
        rows = [_verdict_row(finding, shown, slug) for finding in found[:THINGS]]
        more = len(found) - len(rows)
        return Verdict("bad", "critical", f"All right except {things}", note, rows, more)
    if not kpis.totals.rated:
        did = "finished" if kpis.totals.total else "ran"
        return Verdict("quiet", "info", f"Nothing {did} in this time", "")
    return Verdict("good", "success", "All right", note)


def _verdict_row(finding: Finding, shown: PageRange, slug: str) -> VerdictRow:
    last = finding.last_failure
    how_often, said = _error_words(finding)
    start = finding.since or shown.start
    query = f"workflow={finding.workflow.pk}&status=failed&status=partial"
    span = span_query(start, shown.end)
    return VerdictRow(
        workflow=title_of(finding.workflow),
        environment=finding.workflow.environment.name,
        url=f"{reverse('monitoring:executions', args=[slug])}?{query}&{span}",
        trouble=finding.trouble.name.lower(),
        failed=finding.failed,
        rated=finding.rated,
        since=since_words(finding.since) if finding.since else "",
        rate=finding.failed / finding.rated * 100 if finding.rated else None,
        rate_before=as_percent(finding.rate_before),
        how_often=how_often,
        message=Truncator(reason(None, said.reason)).chars(MESSAGE_LENGTH) if said else "",
        node=Truncator(said.node_name or "").chars(NODE_LENGTH) if said else "",
        version=finding.version or "",
        last=last.started_at if last else None,
    )


def _error_words(finding: Finding) -> tuple[str, Recent | None]:
    """The failure whose message is told, and for how many it stands."""
    if finding.same_error >= finding.failed:
        return "", finding.error
    if 2 * finding.same_error > finding.failed:
        return "mostly", finding.error
    return "last", finding.last_failure


def since_words(moment: dt.datetime) -> str:
    """A moment as one says it: "14:21", "yesterday 14:21", "18 Nov 14:21"."""
    there, today = timezone.localtime(moment), timezone.localtime().date()
    if there.date() == today:
        return f"{there:%H:%M}"
    if there.date() == today - dt.timedelta(days=1):
        return f"yesterday {there:%H:%M}"
    return f"{day(moment)} {there:%H:%M}"


# --- figures and heat map -----------------------------------------------------------------------


def _figures(kpis: Kpis, shown: PageRange, under_way: UnderWay, slug: str) -> list[Figure]:
    url = reverse("monitoring:executions", args=[slug])
    under_way_query = "&".join(f"status={status.slug}" for status in UNFINISHED)
    return [
        executions_figure(kpis, shown, f"{url}?{shown.query}"),
        failure_rate_figure(kpis, shown, f"{url}?status=failed&status=partial&{shown.query}"),
        percentile_figure(kpis, shown, 95),
        open_figure(under_way, f"{url}?{under_way_query}&range=30d"),
    ]


def step_words(range_: TimeRange) -> str:
    """Say how long one bar is: "per 30 minutes", "per day"."""
    length = range_.chart_step.length
    unit = next(
        unit for unit in ("days", "hours", "minutes") if length >= dt.timedelta(**{unit: 1})
    )
    count = length // dt.timedelta(**{unit: 1})
    return f"per {unit.removesuffix('s')}" if count == 1 else f"per {count} {unit}"


@dataclass(frozen=True, slots=True)
class HeatCell:
    """An hour of a weekday: `level` 0–5 against the worst hour."""

    hour: str
    level: int
    failed: int
    title: str


@dataclass(frozen=True, slots=True)
class HeatRow:
    """One weekday."""

    weekday: str
    cells: Sequence[HeatCell]


def _heat_range(range_: TimeRange) -> tuple[TimeRange, str]:
    """The range with its words: 30 days at least, as less says nothing about habits; 90 at most."""
    if range_.length <= HEAT_SPAN:
        return TimeRange(range_.end - HEAT_SPAN, range_.end, range_.zone), "last 30 days"
    if range_.length <= LONGEST_HEAT_SPAN:
        return range_, "this time"
    return TimeRange(range_.end - LONGEST_HEAT_SPAN, range_.end, range_.zone), "its last 90 days"


def _heat(heat: HeatMap) -> list[HeatRow]:
    """Return the map's rows, none when nothing failed."""
    most = max(max(row) for row in heat.failed)
    if not most:
        return []
    return [
        HeatRow(name, [_heat_cell(heat, number, hour, most) for hour in range(24)])
        for number, name in enumerate(WEEKDAYS)
    ]


def _heat_cell(heat: HeatMap, weekday: int, hour: int, most: int) -> HeatCell:
    failed, rated = heat.failed[weekday][hour], heat.rated[weekday][hour]
    title = (
        f"{WEEKDAYS[weekday]} {hour:02}–{(hour + 1) % 24:02} h:"
        f" {thousands(failed)} of {thousands(rated)} failed"
    )
    return HeatCell(f"{hour:02}", math.ceil(failed / most * HEAT_LEVELS), failed, title)


# --- workflows that need a look, what is under way ------------------------------------------------


@dataclass(frozen=True, slots=True)
class LookRow:
    """A workflow with failures; `change` is in percentage points, `going` the status of its newest
    execution while that is not finished.
    """

    name: str
    url: str
    environment: str
    status: str
    going: str
    failed: int
    rated: int
    rate: float | None
    change: float | None
    spark: Sequence[float | None]
    last_failure: dt.datetime | None
    last_failure_url: str
    reason: str


def _workflow_rows(failing: Sequence[RankedWorkflow], shown: PageRange, slug: str) -> list[LookRow]:
    ids = [found.workflow.pk for found in failing]
    if not ids:
        return []
    sparks = sparklines_by_workflow(ids, shown.range)
    last, failures = last_and_failed(ids, shown.start, shown.end)
    workflow_url, execution_url = workflow_urls(slug), execution_urls(slug)
    shown_by = signs(last)
    rows = []
    for found in failing:
        workflow = found.workflow
        sign, going = shown_by.get(workflow.pk, (None, None))
        failure = failures.get(workflow.pk)
        rows.append(
            LookRow(
                name=title_of(workflow),
                url=workflow_url(workflow.pk),
                environment=workflow.environment.name,
                status=sign.shown if sign else "unknown",
                going=going.shown if going else "",
                failed=found.totals.failed,
                rated=found.totals.rated,
                rate=as_percent(found.totals.failure_rate),
                change=found.change,
                spark=[as_percent(point.totals.failure_rate) for point in sparks[workflow.pk]],
                last_failure=failure.started_at if failure else None,
                last_failure_url=execution_url(failure.id) if failure else "",
                reason=reason(failure.node_name, failure.reason) if failure else "",
            )
        )
    return rows


def _under_way() -> tuple[UnderWay, list[Execution]]:
    """Count the unfinished executions, bounded against a flood; return the newest."""
    newest = unfinished(MOST_COUNTED)
    counts = Counter(status for _, status in newest)
    number = UnderWay(
        running=counts[Status.RUNNING] + counts[Status.PENDING],
        waiting=counts[Status.WAITING],
        is_all=max(counts.values(), default=0) < MOST_COUNTED,
    )
    return number, of_ids([found for found, _ in newest[:UNDER_WAY]])
