"""For tests of numbers: executions that go the one way in, and a recount from the raw rows."""

from __future__ import annotations

import datetime as dt
import itertools
from collections.abc import Iterable, Sequence

from monitoring.counting.histogram import Histogram
from monitoring.metrics.totals import Totals
from monitoring.models import Execution, Workflow
from monitoring.recording.order import body_hash, order_key
from monitoring.recording.record import ExecutionRecord, NodeRecord, Result
from monitoring.recording.store import record_executions
from monitoring.words import FINISHED, RATED, ErrorClass, Status

_numbers = itertools.count(1)


def message(
    workflow: Workflow,
    started_at: dt.datetime,
    status: Status = Status.SUCCESS,
    duration_ms: int | None = 1_000,
    *,
    external_id: str | None = None,
    updated_at: dt.datetime | None = None,
    nodes: Sequence[NodeRecord] = (),
    error_message: str | None = None,
    workflow_name: str | None = None,
) -> ExecutionRecord:
    """A message about one execution, as a decoder would make it."""
    digest = body_hash(str(next(_numbers)).encode())
    return ExecutionRecord(
        tenant_id=workflow.tenant_id,
        environment_id=workflow.environment_id,
        workflow_external_id=workflow.external_id,
        workflow_name=workflow_name,
        status=status,
        order_key=order_key(status, [updated_at or started_at], digest),
        received_at=started_at,
        external_id=external_id or f"run-{next(_numbers)}",
        started_at=started_at,
        updated_at=updated_at,
        duration_ms=duration_ms,
        error_message=error_message or ("HTTP 401" if status.is_problem else None),
        nodes=list(nodes),
    )


def node(
    node_id: str,
    status: Status = Status.SUCCESS,
    duration_ms: int | None = 100,
    run_index: int = 0,
) -> NodeRecord:
    return NodeRecord(node_id=node_id, run_index=run_index, status=status, duration_ms=duration_ms)


def record(*messages: ExecutionRecord) -> list[Result]:
    """Store messages; all must be taken."""
    results = record_executions(messages)
    assert all(result.id for result in results), results
    return results


def recount(executions: Iterable[Execution]) -> Totals:
    """Totals by the definitions, from the rows themselves."""
    counts, sums, known = [0] * len(Status), [0] * len(Status), [0] * len(Status)
    classes = [0] * len(ErrorClass)
    histogram = Histogram()
    for execution in executions:
        status, duration = execution.state, execution.duration_ms
        counts[status] += 1
        if status in FINISHED and duration is not None:
            sums[status] += duration
            known[status] += 1
            if status in RATED:
                histogram.add(duration)
        if status.is_problem and execution.error_class is not None:
            classes[execution.error_class] += 1
    return Totals(tuple(counts), tuple(sums), tuple(known), tuple(classes), histogram)
