"""The latest executions of several workflows, in one statement and by index look-ups only."""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from django.utils import timezone

from monitoring.ids import time_of, uuid_floor
from monitoring.models.execution import REASON_LENGTH
from monitoring.prepared import fetch_all
from monitoring.words import LOST, PROBLEMS, RATED, Status
from tenants.scoping import current_tenant

FINER: Final = 64
"""Looks into the step of a chart in which a version changed: 6 hours to about 6 minutes."""

_STATUSES: Final = tuple(Status)
_PROBLEMS: Final = tuple(sorted(PROBLEMS))
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
    is_lost: bool = False

    @property
    def shown(self) -> str:
        """What it shows as: its status, or that contact was lost."""
        return LOST if self.is_lost else self.status.slug

    @property
    def started_at(self) -> dt.datetime:
        """Its place on the time axis."""
        return time_of(self.id)


@dataclass(frozen=True, slots=True)
class VersionChange:
    """The first execution that was looked at with another version than the one before.

    `after` is the last look at another version: it began after that.
    """

    version: str
    seen_at: dt.datetime
    after: dt.datetime


_Look: TypeAlias = tuple[dt.datetime, str]


def last_executions(workflow_ids: Collection[int]) -> dict[int, Recent]:
    """Workflow id → its newest execution, whatever its status."""
    found = {}
    params = [REASON_LENGTH, list(workflow_ids), current_tenant().pk]
    for _, workflow_id, execution_id, status, *texts in fetch_all(_LAST, params):
        found[workflow_id] = Recent(execution_id, _STATUSES[status], *texts)
    return found


def last_failures(
    workflow_ids: Collection[int], start: dt.datetime, end: dt.datetime
) -> dict[int, Recent]:
    """Workflow id → its newest failed or partial execution in [start, end)."""
    return last_and_failed(workflow_ids, start, end)[1]


def first_failures(
    asked: Sequence[tuple[int, dt.datetime, dt.datetime]],
) -> dict[int, dt.datetime]:
    """When the first failed or partial execution in [start, last) of each (workflow id, start, last)
    began; `last` when none did."""
    if not asked:
        return {}
    found = {workflow_id: last for workflow_id, _, last in asked}
    ids, starts, lasts = zip(*asked, strict=True)
    bounds = [list(map(uuid_floor, starts)), list(map(uuid_floor, lasts))]
    params = [list(ids), *bounds, list(_PROBLEMS), current_tenant().pk]
    for workflow_id, execution_id in fetch_all(_FIRST_FAILURES, params):
        found[workflow_id] = min(found[workflow_id], time_of(execution_id))
    return found


def last_and_failed(
    workflow_ids: Collection[int], start: dt.datetime, end: dt.datetime
) -> tuple[dict[int, Recent], dict[int, Recent]]:
    """Workflow id → its newest execution of all, and its newest failed or partial in [start, end)."""
    ids, tenant_id = list(workflow_ids), current_tenant().pk
    bounds = (uuid_floor(start), uuid_floor(end))
    params = [REASON_LENGTH, ids, tenant_id, *((tenant_id, *bounds) * len(_PROBLEMS))]
    last: dict[int, Recent] = {}
    failed: dict[int, Recent] = {}
    for is_last, workflow_id, execution_id, status, *texts in fetch_all(_LAST_AND_FAILED, params):
        row = Recent(execution_id, _STATUSES[status], *texts)
        if is_last:
            last[workflow_id] = row
        elif workflow_id not in failed or failed[workflow_id].id < row.id:
            failed[workflow_id] = row
    return last, failed


def last_rated(
    workflow_ids: Collection[int], end: dt.datetime, limit: int
) -> dict[int, list[Recent]]:
    """Workflow id → its newest `limit` success, failed and partial executions before `end`."""
    params = [REASON_LENGTH, list(workflow_ids), current_tenant().pk, uuid_floor(end), limit]
    found = {}
    for workflow_id, ids, statuses, *texts in fetch_all(_LAST_RATED, params):
        states = [_STATUSES[status] for status in statuses]
        found[workflow_id] = list(map(Recent, ids, states, *texts))
    return found


def signs(last: Mapping[int, Recent]) -> dict[int, tuple[Recent, Recent | None]]:
    """Workflow id → the execution whose status is its sign, and the newest one while that goes on.

    The sign is how the newest finished, so that a failing workflow looks so while it runs again.
    """
    going = [pk for pk, newest in last.items() if newest.status in UNFINISHED]
    ended = last_rated(going, timezone.now(), 1) if going else {}
    return {
        pk: (ended[pk][0] if pk in ended else newest, newest if pk in going else None)
        for pk, newest in last.items()
    }


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
    return [_change(*each, finer) for each in found]


def _change(
    before: dt.datetime, at: dt.datetime, version: str, finer: Sequence[_Look]
) -> VersionChange:
    seen_at = min([at, *(t for t, seen in finer if before <= t and seen == version)])
    others = [t for t, seen in finer if before <= t < seen_at and seen != version]
    return VersionChange(version, seen_at, max([before, *others]))


def first_version(
    workflow_id: int, start: dt.datetime, end: dt.datetime
) -> tuple[dt.datetime, str] | None:
    """When a workflow's first execution in [start, end) that says its version began, and which."""
    return next(iter(_looks(workflow_id, [(start, end)])), None)


def first_with_version(
    workflow_id: int, version: str, start: dt.datetime, last: dt.datetime
) -> dt.datetime:
    """When a version was first seen in [start, last]; `last` when it was not."""
    lower, upper = uuid_floor(start), uuid_floor(last)
    nothing = uuid.UUID(int=0)
    params = [version, current_tenant().pk, workflow_id, lower, upper, nothing]
    return min([last, *(time_of(found) for (found,) in fetch_all(_FIRST_WITH_VERSION, params))])


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


_ONE: Final = """
    (SELECT {is_last} AS is_last, e.id, e.status, e.version, e.error_message,
        coalesce(e.error_node_name, e.error_node_id) AS node,
        e.lost_contact_at IS NOT NULL AS is_lost
    FROM monitoring_execution e
    WHERE e.tenant_id = %s AND e.workflow_id = w.id AND {condition}
    ORDER BY e.id DESC LIMIT 1)"""
_OF_EACH: Final = """
SELECT e.is_last, w.id, e.id, e.status, e.version, left(e.error_message, said.reason_length), e.node,
    e.is_lost
FROM (SELECT %s::int AS reason_length) AS said,
    unnest(%s::bigint[]) AS w (id) CROSS JOIN LATERAL ({looks}) e"""
_LAST: Final = _OF_EACH.format(looks=_ONE.format(is_last="true", condition="true"))
# One look-up for each status: its number in the text leads to the index of all but successes.
_LAST_AND_FAILED: Final = _OF_EACH.format(
    looks=" UNION ALL ".join(
        [
            _ONE.format(is_last="true", condition="true"),
            *(
                _ONE.format(
                    is_last="false", condition=f"e.status = {status:d} AND e.id >= %s AND e.id < %s"
                )
                for status in _PROBLEMS
            ),
        ]
    )
)
_FIRST_FAILURES: Final = """
SELECT asked.workflow_id, e.id
FROM unnest(%s::bigint[], %s::uuid[], %s::uuid[]) AS asked (workflow_id, lower, upper),
    unnest(%s::smallint[]) AS problem (status) CROSS JOIN LATERAL (
    SELECT e.id FROM monitoring_execution e
    WHERE e.status = problem.status AND e.status <> 3 AND e.tenant_id = %s
        AND e.workflow_id = asked.workflow_id AND e.id >= asked.lower AND e.id < asked.upper
    ORDER BY e.id LIMIT 1
) e"""
# One row for each workflow: a hundred and more rows of each would cost more to carry than to find.
_LAST_RATED: Final = f"""
SELECT w.id, e.ids, e.statuses, e.versions, e.reasons, e.nodes
FROM (SELECT %s::int AS reason_length) AS said,
    unnest(%s::bigint[]) AS w (id) CROSS JOIN LATERAL (
    SELECT array_agg(x.id ORDER BY x.id DESC) AS ids,
        array_agg(x.status ORDER BY x.id DESC) AS statuses,
        array_agg(x.version ORDER BY x.id DESC) AS versions,
        array_agg(left(x.error_message, said.reason_length) ORDER BY x.id DESC) AS reasons,
        array_agg(x.node ORDER BY x.id DESC) AS nodes
    FROM (
        SELECT e.id, e.status, e.version, e.error_message,
            coalesce(e.error_node_name, e.error_node_id) AS node
        FROM monitoring_execution e
        WHERE e.tenant_id = %s AND e.workflow_id = w.id AND e.id < %s
            AND e.status IN ({", ".join(str(int(status)) for status in sorted(RATED))})
        ORDER BY e.id DESC LIMIT %s
    ) x
) e WHERE e.ids IS NOT NULL"""  # noqa: S608 - only words of this module are put in
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
# After the newest of another version, so that one that came back begins where it came back.
_FIRST_WITH_VERSION: Final = """
WITH seen AS MATERIALIZED (
    SELECT id, version = %s AS is_asked FROM monitoring_execution
    WHERE tenant_id = %s AND workflow_id = %s AND id >= %s AND id < %s AND version IS NOT NULL
)
SELECT id FROM seen WHERE is_asked
    AND id > coalesce((SELECT id FROM seen WHERE NOT is_asked ORDER BY id DESC LIMIT 1), %s)
ORDER BY id LIMIT 1"""
