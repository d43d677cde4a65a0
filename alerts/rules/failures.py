"""Failures over the threshold."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from alerts.models import Incident
from alerts.models.settings import severities
from alerts.policy import Policy
from alerts.rules.base import Case, Verdict, WorkflowRule, register
from monitoring.metrics.ranges import totals_of_each
from monitoring.metrics.totals import Totals
from monitoring.models import Workflow
from monitoring.recent import Recent, first_failures, last_failures, last_rated
from monitoring.words import ErrorClass, Severity, Status

AHEAD: Final = dt.timedelta(days=1, minutes=5)
"""Executions may start up to a day ahead (drifting clocks); they count as soon as they are there."""


@register
class FailuresOverThreshold(WorkflowRule):
    """A workflow failed at least as often as the threshold within the time window.

    It is over after as many successes in a row as the threshold, or when the window holds no
    failure any more.
    """

    slug, title = "failures", "Failures over threshold"

    def over_when(self, policy: Policy) -> str:
        """Successes in a row, or nothing within the window."""
        after = f"{policy.threshold} successes in a row" if policy.threshold > 1 else "a success"
        return f"After {after}, or {_hours(policy.settings.time_window_hours)} without a failure"

    def look(self, cases: Sequence[Case], now: dt.datetime) -> list[Verdict]:
        """Count by rollups; read the last few executions only where an incident may begin or end."""
        counts = _counted(cases, now)
        suspects = [each for each in counts if each.recently and (each.is_problem or each.before)]
        newest = _newest_failures(suspects, now)
        first = _first_failures(suspects, newest, now)
        last = _last_rated(suspects, now)
        return [
            _verdict(each, newest.get(each.pk), first.get(each.pk), last.get(each.pk, []), now)
            for each in counts
        ]


@dataclass(frozen=True, slots=True)
class _Count:
    """Failures of a workflow: within the window, and since its incident counts."""

    workflow: Workflow
    before: Incident | None
    policy: Policy
    counted_from: dt.datetime
    recently: int
    ever: int
    severity: Severity

    @property
    def pk(self) -> int:
        return self.workflow.pk

    @property
    def is_problem(self) -> bool:
        return self.recently >= self.policy.threshold


def _counted(cases: Sequence[Case], now: dt.datetime) -> list[_Count]:
    starts = [(now - case.policy.settings.window, _counted_from(case, now)) for case in cases]
    # Mostly both starts are the same, and asked for once.
    asked = dict.fromkeys(
        (case.workflow.pk, (start, now + AHEAD))
        for case, both in zip(cases, starts, strict=True)
        for start in both
    )
    found = dict(zip(asked, totals_of_each(list(asked)), strict=True))
    by_class = severities()
    counts = []
    for case, (within, since) in zip(cases, starts, strict=True):
        recently = found[case.workflow.pk, (within, now + AHEAD)]
        ever = found[case.workflow.pk, (since, now + AHEAD)]
        counts.append(
            _Count(
                case.workflow,
                case.before,
                case.policy,
                since,
                recently.failed,
                ever.failed,
                _severity(recently, by_class),
            )
        )
    return counts


def _severity(totals: Totals, by_class: Mapping[ErrorClass, Severity]) -> Severity:
    """The highest among the classes of errors; warning when none is known."""
    if not totals.failed:
        return Severity.INFO
    return max((by_class[each] for each in totals.by_error_class), default=Severity.WARNING)


def _counted_from(case: Case, now: dt.datetime) -> dt.datetime:
    known = case.before.counted_from if case.before else None
    return min(known or now - case.policy.settings.window, now)


def _newest_failures(counts: Sequence[_Count], now: dt.datetime) -> dict[int, Recent]:
    if not counts:
        return {}
    window = max(each.policy.settings.window for each in counts)
    return last_failures([each.pk for each in counts], now - window, now + AHEAD)


def _first_failures(
    counts: Sequence[_Count], newest: Mapping[int, Recent], now: dt.datetime
) -> dict[int, dt.datetime]:
    """When the first failure that counts began; looked up once for an incident."""
    asked = [
        (each.pk, each.counted_from, newest[each.pk].started_at)
        for each in counts
        if each.is_problem
        and each.pk in newest
        and not (each.before is not None and each.before.first_at)
    ]
    return {pk: min(at, now) for pk, at in first_failures(asked).items()}


def _last_rated(counts: Sequence[_Count], now: dt.datetime) -> dict[int, list[Recent]]:
    """Where an incident may end, as many of the last executions as it needs successes for that."""
    found: dict[int, list[Recent]] = {}
    known = [each for each in counts if each.before is not None]
    for needed in {each.policy.threshold for each in known}:
        ids = [each.pk for each in known if each.policy.threshold == needed]
        found |= last_rated(ids, now + AHEAD, needed)
    return found


def _verdict(
    count: _Count,
    newest: Recent | None,
    first_at: dt.datetime | None,
    last: Sequence[Recent],
    now: dt.datetime,
) -> Verdict:
    window = count.policy.settings.window
    return Verdict(
        is_problem=count.is_problem,
        severity=count.severity,
        count=count.ever,
        counted_from=count.counted_from,
        last_at=min(newest.started_at, now) if newest else now,
        first_at=first_at,
        title=_title(count.workflow, count.ever, count.counted_from, now),
        detail=_reason(newest),
        why_over=_why_over(count.policy, count.recently, last) if count.before else "",
        look_again_at=max(newest.started_at + window, now) if newest else None,
    )


def _why_over(policy: Policy, failures: int, last: Sequence[Recent]) -> str:
    if not failures:
        return f"No failure within {_hours(policy.settings.time_window_hours)}."
    needed = policy.threshold
    if len(last) == needed and all(each.status is Status.SUCCESS for each in last):
        return f"{needed} successes in a row." if needed > 1 else "It succeeded again."
    return ""


def _title(workflow: Workflow, count: int, since: dt.datetime, now: dt.datetime) -> str:
    hours = max(1, round((now - since) / dt.timedelta(hours=1)))
    span = _hours(hours) if hours <= 48 else f"{round(hours / 24)} days"
    times = "once" if count == 1 else f"{count:,} times"
    return f"{workflow.name} failed {times} in {span}"


def _hours(number: int) -> str:
    return "1 hour" if number == 1 else f"{number} hours"


def _reason(failure: Recent | None) -> str:
    if failure is None:
        return ""
    return ": ".join(part for part in (failure.node_name, failure.reason) if part)
