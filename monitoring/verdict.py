"""Is everything all right? Which workflows fail now, or got clearly worse, and since when."""

from __future__ import annotations

import datetime as dt
import enum
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from monitoring.metrics.timerange import TimeRange
from monitoring.metrics.totals import Totals
from monitoring.metrics.trends import RankedWorkflow
from monitoring.models import Workflow
from monitoring.recent import Recent, last_rated

CANDIDATES: Final = 12
"""Workflows that are looked at closely: those with the most failures in the range."""

LOOKED_AT: Final = 150
"""Latest executions of each that tell since when it fails."""

LATEST: Final = 10
"""Of these at least half must have failed, the newest among them, for "fails now"."""

NEAR: Final = 5
"""A version that came at most so many executions before the first failure came with it."""

FEWEST_FAILURES: Final = 5
OFTEN: Final = 0.2
"""Fails often: at least 5 failures, and this share of all that finished."""

WORSE_BY: Final = 0.05
WORSE_TIMES: Final = 2.0
"""Clearly worse: at least 5 failures, and the rate doubled and rose by 5 points or more."""


class Trouble(enum.Enum):
    """What is the matter with a workflow."""

    FAILS_NOW = "fails now"
    GOT_WORSE = "got worse"
    FAILS_OFTEN = "fails often"


@dataclass(frozen=True, slots=True)
class Finding:
    """One workflow that needs a look.

    For "fails now", `failed` of `rated` count from `since` on (which may lie before the range), or
    over the latest executions when all that were looked at fail; else over the range. `version` is
    set when a new one began with it. `error` is the newest failure with the most frequent message
    of those looked at, `same_error` the number of failures that say the same.
    """

    workflow: Workflow
    trouble: Trouble
    failed: int
    rated: int
    last_failure: Recent | None
    error: Recent | None
    same_error: int
    since: dt.datetime | None = None
    version: str | None = None
    rate_before: float | None = None


Latest: TypeAlias = Mapping[int, Sequence[Recent]]
"""Workflow id → its latest rated executions, the newest first."""


def latest_of(failing: Sequence[RankedWorkflow], range_: TimeRange) -> Latest:
    """Read the latest executions of the first `CANDIDATES`: many only where something is wrong."""
    suspects = {suspect.workflow.pk: suspect for suspect in failing[:CANDIDATES]}
    if not suspects:
        return {}
    few = last_rated(list(suspects), range_.end, LATEST)
    wrong = [pk for pk, suspect in suspects.items() if _is_wrong(suspect, few.get(pk, ()))]
    return few | (last_rated(wrong, range_.end, LOOKED_AT) if wrong else {})


def _is_wrong(suspect: RankedWorkflow, latest: Sequence[Recent]) -> bool:
    before = suspect.previous or Totals()
    return fails_now(latest) or _trouble_of_rate(suspect.totals, before) is not None


def failing_first(failing: Sequence[RankedWorkflow], latest: Latest) -> list[RankedWorkflow]:
    """Put those whose last rated execution failed before the others; else keep the order."""

    def has_recovered(suspect: RankedWorkflow) -> bool:
        newest = latest.get(suspect.workflow.pk, ())[:1]
        return not _problems(newest)

    return sorted(failing, key=has_recovered)


def findings(failing: Sequence[RankedWorkflow], latest: Latest, range_: TimeRange) -> list[Finding]:
    """Return what is wrong among the workflows with failures in a range, the worst first."""
    found = (
        _finding(suspect, latest.get(suspect.workflow.pk, ()), range_)
        for suspect in failing[:CANDIDATES]
    )
    return sorted(
        (finding for finding in found if finding is not None),
        key=lambda finding: (finding.trouble is not Trouble.FAILS_NOW, -finding.failed),
    )


def _finding(
    suspect: RankedWorkflow, latest: Sequence[Recent], range_: TimeRange
) -> Finding | None:
    last_failure = next((row for row in latest if row.status.is_problem), None)
    if fails_now(latest):
        begin, version = beginning_with_version(latest)
        affected = latest[: begin + 1]
        is_beginning_seen = begin + 1 < len(latest) or len(latest) < LOOKED_AT
        return Finding(
            suspect.workflow,
            Trouble.FAILS_NOW,
            _problems(affected),
            len(affected),
            last_failure,
            *_most_frequent_error(affected),
            since=latest[begin].started_at if is_beginning_seen else None,
            version=version,
        )
    before = suspect.previous or Totals()
    trouble = _trouble_of_rate(suspect.totals, before)
    if trouble is None:
        return None
    return Finding(
        suspect.workflow,
        trouble,
        suspect.totals.failed,
        suspect.totals.rated,
        last_failure,
        *_most_frequent_error([row for row in latest if row.started_at >= range_.start]),
        rate_before=before.failure_rate,
    )


def _trouble_of_rate(now: Totals, before: Totals) -> Trouble | None:
    if got_worse(now, before):
        return Trouble.GOT_WORSE
    rate = now.failure_rate or 0
    return Trouble.FAILS_OFTEN if now.failed >= FEWEST_FAILURES and rate >= OFTEN else None


def fails_now(latest: Sequence[Recent]) -> bool:
    """Whether the newest of these rated executions failed, with half of the latest ten."""
    newest = latest[:LATEST]
    return bool(newest) and newest[0].status.is_problem and 2 * _problems(newest) >= len(newest)


def beginning_of_failing(latest: Sequence[Recent]) -> int:
    """Return the index (newest first) of the failure with which the failing began.

    It is the one from which on failures outnumber successes the most.
    """
    balance, best, index = 0, 0, 0
    for place, row in enumerate(latest):
        if row.status.is_problem:
            balance += 1
            if balance > best:
                best, index = balance, place
        else:
            balance -= 1
    return index


def got_worse(now: Totals, before: Totals) -> bool:
    """Whether the failure rate rose clearly against the range before."""
    rate, rate_before = now.failure_rate, before.failure_rate
    if rate is None or rate_before is None or now.failed < FEWEST_FAILURES:
        return False
    return rate >= rate_before + WORSE_BY and rate >= rate_before * WORSE_TIMES


def beginning_with_version(latest: Sequence[Recent]) -> tuple[int, str | None]:
    """Return where the failing began, and the version that came with it, if one did.

    It came when one of the few executions before had another. Then its first failure among these
    is the beginning: that a retry succeeded in between does not make the version good.
    """
    begin = beginning_of_failing(latest)
    version = latest[begin].version
    before = latest[begin + 1 : begin + 1 + NEAR]
    if version is None or all(row.version == version for row in before):
        return begin, None
    for place, row in enumerate(before, begin + 1):
        if row.version == version and row.status.is_problem:
            begin = place
    return begin, version


def _most_frequent_error(rows: Iterable[Recent]) -> tuple[Recent | None, int]:
    """The newest failure with the most frequent message, and how many say that."""
    failures = [row for row in rows if row.status.is_problem]
    if not failures:
        return None, 0
    [(text, count)] = Counter(row.reason for row in failures).most_common(1)
    return next(row for row in failures if row.reason == text), count


def _problems(rows: Iterable[Recent]) -> int:
    return sum(row.status.is_problem for row in rows)
