"""Failures over the threshold."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Final

from alerts.models import Incident
from alerts.policy import Policy
from alerts.rules.base import Verdict, WorkflowRule, register
from monitoring.metrics.ranges import totals_by_workflow, totals_of_spans
from monitoring.metrics.subject import of_workflow
from monitoring.metrics.timerange import TimeRange
from monitoring.models import Workflow
from monitoring.recent import Recent, first_failure, last_failures, last_rated
from monitoring.words import Severity, Status

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

    def suspects(self, policies: Mapping[int, Policy], now: dt.datetime) -> set[int]:
        """Those that failed often enough, by their rollups."""
        window = max(policy.settings.window for policy in policies.values())
        found = totals_by_workflow(
            policies, TimeRange(now - window, now + AHEAD), percentiles=False, durations=False
        )
        return {pk for pk, policy in policies.items() if found[pk].failed >= policy.threshold}

    def look(
        self, workflow: Workflow, before: Incident | None, policy: Policy, now: dt.datetime
    ) -> Verdict:
        """Count by rollups; read the last few executions only where an incident may end."""
        window, end = policy.settings.window, now + AHEAD
        counted_from = before.counted_from if before and before.counted_from else now - window
        # Mostly both are the same, and asked for once.
        starts = list(dict.fromkeys([now - window, min(counted_from, now)]))
        spans = [(start, end) for start in starts]
        found = totals_of_spans(of_workflow(workflow), spans, percentiles=False)
        recently, ever = found[0], found[-1]
        is_problem = recently.failed >= policy.threshold
        newest = None
        if recently.failed and (is_problem or before is not None):
            newest = last_failures([workflow.pk], now - window, end).get(workflow.pk)
        return Verdict(
            is_problem=is_problem,
            severity=policy.severity_of(recently.by_error_class) if recently.failed else _mildest,
            count=ever.failed,
            counted_from=counted_from,
            last_at=min(newest.started_at, now) if newest else now,
            first_at=_first_at(workflow, before, counted_from, newest, now) if is_problem else None,
            title=_title(workflow, ever.failed, counted_from, now),
            detail=_reason(newest),
            why_over=self._why_over(workflow, recently.failed, policy, end) if before else "",
            look_again_at=max(newest.started_at + window, now) if newest else None,
        )

    def _why_over(self, workflow: Workflow, failures: int, policy: Policy, end: dt.datetime) -> str:
        if not failures:
            return f"No failure within {_hours(policy.settings.time_window_hours)}."
        needed = policy.threshold
        last = last_rated([workflow.pk], end, needed).get(workflow.pk, [])
        if len(last) == needed and all(each.status is Status.SUCCESS for each in last):
            return f"{needed} successes in a row." if needed > 1 else "It succeeded again."
        return ""


def _first_at(
    workflow: Workflow,
    before: Incident | None,
    counted_from: dt.datetime,
    newest: Recent | None,
    now: dt.datetime,
) -> dt.datetime | None:
    """When the first failure that counts began; looked up once for an incident."""
    if newest is None or (before is not None and before.first_at is not None):
        return None
    return min(first_failure(workflow.pk, counted_from, newest.started_at), now)


_mildest: Final = Severity.INFO


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
