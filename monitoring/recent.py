"""The latest executions of several workflows, in one statement and by index look-ups only."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeAlias

from monitoring.ids import time_of, uuid_floor
from monitoring.models.execution import REASON_LENGTH
from monitoring.prepared import fetch_all
from monitoring.words import RATED, Status
from tenants.scoping import current_tenant

FINER: Final = 64
"""Looks into the step of a chart in which a version changed: 6 hours to about 6 minutes."""

_STATUSES: Final = tuple(Status)
UNFINISHED: Final = (Status.PENDING, Status.RUNNING, Status.WAITING)


class Recent(NamedTuple):
    """What a line about an execution says; `reason` is the beginning of its error's message.

    A tuple, because the verdict reads some thousands of them.
    """

    id: uuid.UUID
    status: Status
    version: str | None
    reason: str | None
    node_name: str | None

    @property
    def started_at(self) -> dt.datetime:
        """Its place on the time axis."""
        return time_of(self.id)


@dataclass(frozen=True, slots=True)
class VersionChange:
    """The first execution that was looked at with another version than the one before."""

    version: str
    seen_at: dt.datetime


def last_executions(
    workflow_ids: Collection[int],
    start: dt.datetime | None = None,
    end: dt.datetime | None = None,
) -> dict[int, Recent]:
    """Workflow id → its newest execution in [start, end), whatever its status."""
    found = _latest(workflow_ids, start, end, "true", 1)
    return {workflow_id: rows[0] for workflow_id, rows in found.items()}


def last_failures(
    workflow_ids: Collection[int], start: dt.datetime, end: dt.datetime
) -> dict[int, Recent]:
    """Workflow id → its newest failed or partial execution in [start, end)."""
    newest: dict[int, Recent] = {}
    for status in Status:
        if status.is_problem:
            found = _latest(workflow_ids, start, end, f"e.status = {status:d}", 1)
            for workflow_id, (row,) in found.items():
                if workflow_id not in newest or newest[workflow_id].id < row.id:
                    newest[workflow_id] = row
    return newest


def last_rated(
    workflow_ids: Collection[int], end: dt.datetime, limit: int
) -> dict[int, list[Recent]]:
    """Workflow id → its newest `limit` success, failed and partial executions before `end`."""
    rated = ", ".join(str(int(status)) for status in sorted(RATED))
    return _latest(workflow_ids, None, end, f"e.status IN ({rated})", limit)


def unfinished(most: int) -> list[tuple[uuid.UUID, Status]]:
    """The newest `most` executions of each unfinished status, the newest first."""
    statuses = [int(status) for status in UNFINISHED]
    rows = fetch_all(_UNFINISHED, [statuses, current_tenant().pk, most])
    return [(execution_id, Status(status)) for execution_id, status in rows]


def version_changes(workflow_id: int, edges: Sequence[dt.datetime]) -> list[VersionChange]:
    """Where a workflow's version changed between `edges`, as far as looks after each edge tell.

    A second look goes into the steps that a version changed in, so that a change is seen at most a
    `FINER`th of its step late.
    """
    found = _changes(_looks(workflow_id, itertools.pairwise(edges)))
    if not found:
        return []
    finer = _looks(workflow_id, _parts(found))
    return [
        VersionChange(
            version, min([at, *(t for t, seen in finer if before <= t and seen == version)])
        )
        for before, at, version in found
    ]


_Look: TypeAlias = tuple[dt.datetime, str]


def _changes(looks: Sequence[_Look]) -> list[tuple[dt.datetime, dt.datetime, str]]:
    """The last look at the old version, the first at the new one, the new one."""
    return [
        (before, at, version)
        for (before, old), (at, version) in itertools.pairwise(looks)
        if version != old
    ]


def _parts(
    changes: Sequence[tuple[dt.datetime, dt.datetime, str]],
) -> Iterator[tuple[dt.datetime, dt.datetime]]:
    """Spans from each look at an old version until just after that at the new one."""
    for before, at, _ in changes:
        length = (at - before) / FINER
        for part in range(FINER):
            yield before + part * length, before + (part + 1) * length
        yield at, at + dt.timedelta(milliseconds=1)


def _looks(workflow_id: int, wanted: Iterable[tuple[dt.datetime, dt.datetime]]) -> list[_Look]:
    """The first execution with a version in each span that has one."""
    spans = list(wanted)
    lower, upper = [uuid_floor(a) for a, _ in spans], [uuid_floor(b) for _, b in spans]
    rows = fetch_all(_VERSIONS, [lower, upper, current_tenant().pk, workflow_id])
    return [(time_of(execution_id), version) for execution_id, version in rows]


def _latest(
    workflow_ids: Collection[int],
    start: dt.datetime | None,
    end: dt.datetime | None,
    condition: str,
    limit: int,
) -> dict[int, list[Recent]]:
    """`condition` is SQL of this module."""
    bounds, bound_values = "", []
    if start is not None:
        bounds, bound_values = " AND e.id >= %s", [uuid_floor(start)]
    if end is not None:
        bounds, bound_values = f"{bounds} AND e.id < %s", [*bound_values, uuid_floor(end)]
    params: list[Any] = [
        REASON_LENGTH,
        list(workflow_ids),
        current_tenant().pk,
        *bound_values,
        limit,
    ]
    found: dict[int, list[Recent]] = {}
    statement = _LATEST.format(condition=condition, bounds=bounds)
    for workflow_id, execution_id, status, *texts in fetch_all(statement, params):
        row = Recent(execution_id, _STATUSES[status], *texts)
        found.setdefault(workflow_id, []).append(row)
    return found


_LATEST: Final = """
SELECT w.id, e.id, e.status, e.version, e.reason, e.error_node_name
FROM (SELECT %s::int AS reason_length) AS said,
    unnest(%s::bigint[]) AS w (id) CROSS JOIN LATERAL (
    SELECT e.id, e.status, e.version, left(e.error_message, said.reason_length) AS reason,
        coalesce(e.error_node_name, e.error_node_id) AS error_node_name
    FROM monitoring_execution e
    WHERE e.tenant_id = %s AND e.workflow_id = w.id AND {condition}{bounds}
    ORDER BY e.id DESC LIMIT %s
) e"""
# One look into the index for each status; "<> 3" is that of the index of all but successes.
_UNFINISHED: Final = """
SELECT e.id, e.status
FROM unnest(%s::smallint[]) AS asked (status) CROSS JOIN LATERAL (
    SELECT e.id, e.status FROM monitoring_execution e
    WHERE e.tenant_id = %s AND e.status = asked.status AND e.status <> 3
    ORDER BY e.id DESC LIMIT %s
) e ORDER BY e.id DESC"""
_VERSIONS: Final = """
SELECT e.id, e.version
FROM unnest(%s::uuid[], %s::uuid[]) WITH ORDINALITY AS span (lower, upper, number)
CROSS JOIN LATERAL (
    SELECT e.id, e.version FROM monitoring_execution e
    WHERE e.tenant_id = %s AND e.workflow_id = %s AND e.id >= span.lower AND e.id < span.upper
        AND e.version IS NOT NULL
    ORDER BY e.id LIMIT 1
) e ORDER BY span.number"""
