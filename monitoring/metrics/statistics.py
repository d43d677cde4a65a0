"""All-time statistics of workflows: what is folded and what is not yet, in one statement."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from monitoring.metrics.rates import fraction
from monitoring.models import Workflow
from monitoring.prepared import fetch_all
from monitoring.words import RATED, Status
from tenants.scoping import current_tenant


@dataclass(frozen=True, slots=True)
class Statistics:
    """All executions of a workflow that were ever recorded and not deleted.

    `average_duration_ms` is of success, failed and partial executions with a known duration.
    """

    execution_count: int = 0
    success_count: int = 0
    failure_count: int = 0
    partial_count: int = 0
    average_duration_ms: float | None = None
    last_executed_at: dt.datetime | None = None

    @property
    def failure_rate(self) -> float | None:
        """failed / (success + failed + partial)."""
        rated = self.success_count + self.failure_count + self.partial_count
        return fraction(self.failure_count, rated)


def workflow_statistics(workflows: Iterable[Workflow]) -> dict[int, Statistics]:
    """Workflow id → its statistics. Needs a tenant's scope."""
    ids = [workflow.pk for workflow in workflows]
    found: dict[int, Statistics] = {}
    tenant_id = current_tenant().pk
    rows = fetch_all(_STATISTICS, [tenant_id, ids, tenant_id, ids])
    for workflow_id, total, success, failed, partial, last, spent, known in rows:
        found[workflow_id] = Statistics(
            int(total),
            int(success),
            int(failed),
            int(partial),
            _average(spent, int(known)),
            last,
        )
    return {workflow_id: found.get(workflow_id, Statistics()) for workflow_id in ids}


def _average(spent: Decimal, known: int) -> float | None:
    return fraction(float(spent), known)


def _sum_over_rated(array: str) -> str:
    return " + ".join(f"{array}[{status + 1}]" for status in sorted(RATED))


_ALL_COUNTS: Final = " + ".join(f"counts[{status + 1}]" for status in Status)
_STATISTICS: Final = f"""
    SELECT id, sum(executions), sum(success), sum(failed), sum(partial), max(last_at), sum(spent),
        sum(known)
    FROM (
        SELECT id, execution_count AS executions, success_count AS success,
            failure_count AS failed, partial_count AS partial, last_executed_at AS last_at,
            duration_sum_ms AS spent, duration_count AS known
        FROM monitoring_workflow WHERE tenant_id = %s AND id = ANY(%s::bigint[])
        UNION ALL
        SELECT workflow_id, {_ALL_COUNTS}, counts[{Status.SUCCESS + 1}],
            counts[{Status.FAILED + 1}], counts[{Status.PARTIAL + 1}], last_executed_at,
            {_sum_over_rated("duration_sums")}, {_sum_over_rated("duration_counts")}
        FROM monitoring_rollupdelta WHERE tenant_id = %s AND workflow_id = ANY(%s::bigint[])
    ) AS part GROUP BY id
"""  # noqa: S608 - only numbers of statuses are interpolated
