"""What would have been told last week with other settings, and what not, from the real history."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
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
class Untold:
    """How often nobody would have been told, of how many workflows, and why."""

    why: str
    times: int
    workflows: int


@dataclass(frozen=True, slots=True)
class Preview:
    """Messages of new, repeated and returning incidents over the last week, without recoveries.

    Seen hour by hour, so that it may differ a little from what would have been sent.
    """

    told: list[Told]
    untold: list[Untold]
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
    told, untold, untold_workflows = [], Counter[str](), Counter[str]()
    for pk, workflow in Workflow.objects.select_related("environment").in_bulk(ids).items():
        steps = [(at, found[pk, number]) for number, (at, _) in enumerate(spans)]
        played = _play(steps, policy, severities, start, policy.settings.window // step)
        if played.times:
            told.append(Told(workflow, played.times, played.failures, played.worst))
        untold.update(played.untold)
        untold_workflows.update(played.untold.keys())
    told.sort(key=lambda each: (-each.times, -each.failures))
    kept_back = [Untold(why, n, untold_workflows[why]) for why, n in untold.most_common()]
    return Preview(told, kept_back, len(failing) > MOST_WORKFLOWS)


@dataclass(slots=True)
class _Played:
    """What the week would have been for one workflow; `untold`: why not → times."""

    times: int = 0
    failures: int = 0
    worst: Severity = Severity.INFO
    untold: Counter[str] = field(default_factory=Counter)


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
) -> _Played:
    """Play the rule from `start` on; `window` counts steps."""
    played, is_open = _Played(), False
    last: dict[str, dt.datetime] = {}
    for number, (at, totals) in enumerate(steps):
        within = [each for _, each in steps[max(0, number - max(window, 1) + 1) : number + 1]]
        failed = sum(each.failed for each in within)
        severity = _severity(within, severities)
        if at >= start and totals.failed:
            played.failures += totals.failed
            played.worst = max(played.worst, severity)
        if not failed or (is_open and not totals.failed and totals.succeeded >= policy.threshold):
            # Who hears that it is over hears at once when it is not.
            is_open = False
            last.clear()
        elif totals.failed and failed >= policy.threshold:
            is_open = True
            why_not = _why_not(policy, severity)
            if why_not not in last or at >= last[why_not] + policy.settings.repeat_after:
                last[why_not] = at
                played.times += at >= start and not why_not
                played.untold[why_not] += at >= start and bool(why_not)
    played.untold = +played.untold
    return played


def _why_not(policy: Policy, severity: Severity) -> str:
    if not policy.settings.enabled:
        return "alerts are off"
    if not policy.settings.tells(severity):
        return f"“{severity.slug.capitalize()}” is not ticked"
    return ""


def untold_classes(policy: Policy, severities: dict[ErrorClass, Severity]) -> list[tuple[str, str]]:
    """(class of errors, severity) of what nobody is told while a workflow has no worse errors."""
    return [
        (each.label, severity.slug)
        for each, severity in severities.items()
        if not policy.settings.tells(severity)
    ]


def _severity(steps: Sequence[Totals], severities: dict[ErrorClass, Severity]) -> Severity:
    classes = {each for totals in steps for each in totals.by_error_class}
    return max((severities[each] for each in classes), default=Severity.INFO)
