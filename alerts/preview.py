"""What would have been told last week with other settings, from the real history."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from alerts.policy import Policy
from monitoring.metrics.ranking import most_failing
from monitoring.metrics.reading import Detail, read_totals
from monitoring.metrics.subject import ManyMeasured, of_tenant
from monitoring.metrics.timerange import TimeRange, floor_to
from monitoring.metrics.totals import Totals
from monitoring.models import Subject, Workflow
from monitoring.words import ErrorClass, Severity

DAYS: Final = 7
MOST_WORKFLOWS: Final = 100
_HOUR: Final = dt.timedelta(hours=1)
_SHORT_WINDOW_HOURS: Final = 72


@dataclass(frozen=True, slots=True)
class Told:
    """How often people would have been told of one workflow's failures, and how bad they were."""

    workflow: Workflow
    times: int
    failures: int
    severity: Severity


@dataclass(frozen=True, slots=True)
class Preview:
    """Messages of new, repeated and returning incidents over the last week, without recoveries.

    Seen hour by hour, so that it may differ a little from what would have been sent.
    """

    told: list[Told]
    is_cut: bool

    @property
    def times(self) -> int:
        return sum(each.times for each in self.told)


def preview(policy: Policy, severities: dict[ErrorClass, Severity], now: dt.datetime) -> Preview:
    """Play the failures rule over the last week; `policy` need not be stored."""
    step = _HOUR if policy.settings.time_window_hours <= _SHORT_WINDOW_HOURS else 6 * _HOUR
    start = floor_to(now, step) - dt.timedelta(days=DAYS)
    range_ = TimeRange(start - policy.settings.window, now)
    failing = most_failing(of_tenant(policy.tenant), range_, limit=MOST_WORKFLOWS + 1)
    ids = [workflow_id for workflow_id, _ in failing[:MOST_WORKFLOWS]]
    spans = list(_spans(range_, step))
    found = read_totals(ManyMeasured(Subject.WORKFLOW, ids), spans, Detail(durations=False))
    told = []
    for pk, workflow in Workflow.objects.select_related("environment").in_bulk(ids).items():
        steps = [(at, found[pk, number]) for number, (at, _) in enumerate(spans)]
        played = _play(steps, policy, severities, start, policy.settings.window // step)
        if played is not None and played[0]:
            told.append(Told(workflow, *played))
    told.sort(key=lambda each: (-each.times, -each.failures))
    return Preview(told, len(failing) > MOST_WORKFLOWS)


def _spans(range_: TimeRange, step: dt.timedelta) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    start = floor_to(range_.start, step)
    while start < range_.end:
        yield start, start + step
        start += step


def _play(
    steps: Sequence[tuple[dt.datetime, Totals]],
    policy: Policy,
    severities: dict[ErrorClass, Severity],
    start: dt.datetime,
    window: int,
) -> tuple[int, int, Severity] | None:
    """Times told, failures and highest severity from `start` on; None where nothing failed.

    `window` counts steps.
    """
    is_open, told_at, times, failures = False, None, 0, 0
    worst: Severity | None = None
    for number, (at, totals) in enumerate(steps):
        within = [each for _, each in steps[max(0, number - max(window, 1) + 1) : number + 1]]
        failed = sum(each.failed for each in within)
        severity = _severity(within, severities)
        if at >= start and totals.failed:
            failures += totals.failed
            worst = max(worst or severity, severity)
        if not failed or (is_open and not totals.failed and totals.succeeded >= policy.threshold):
            # Who hears that it is over hears at once when it is not.
            is_open, told_at = False, None
        elif totals.failed and failed >= policy.threshold:
            rested = told_at is None or at >= told_at + policy.settings.repeat_after
            is_open = True
            if rested and policy.settings.enabled and policy.settings.tells(severity):
                told_at = at
                times += at >= start
    return (times, failures, worst) if worst is not None else None


def _severity(steps: Sequence[Totals], severities: dict[ErrorClass, Severity]) -> Severity:
    classes = {each for totals in steps for each in totals.by_error_class}
    return max((severities[each] for each in classes), default=Severity.INFO)
