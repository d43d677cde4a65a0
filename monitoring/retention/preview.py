"""What a removal would take, told before it happens: from the numbers, without counting history."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg

from monitoring.database import cursor, database_now
from monitoring.horizon import DAY, GRACE, horizon_of
from monitoring.ids import time_of, uuid_floor
from monitoring.metrics.ranges import totals_of_spans
from monitoring.metrics.sealing import sealed_until
from monitoring.metrics.spans import Span
from monitoring.metrics.subject import of_tenant
from monitoring.recording.fields import EARLIEST
from tenants.models import Tenant

MOST_COUNTED: Final = 10_000
_SAMPLE: Final = 100

EXECUTION_BYTES: Final = 1_000
NODE_BYTES: Final = 400
"""What a row without its payload and message takes, with its share of the indexes, by measuring."""

BYTES_SQL: Final = (
    "coalesce(pg_column_size(e.payload), 0) + coalesce(pg_column_size(e.error_message), 0)"
    f" + {EXECUTION_BYTES} + {NODE_BYTES} * e.node_count"
)
"""About how many bytes an execution (alias e) takes on disk with its nodes."""

_Cursor = psycopg.Cursor[Any]


@dataclass(frozen=True, slots=True)
class Preview:
    """About how many executions would go and stay, and the bytes of those that go.

    `is_least`: more would go, but they were counted only so far: a removal is under way.
    """

    horizon: dt.datetime
    removed: int
    bytes: int
    kept: int
    is_least: bool = False


def of(tenant: Tenant, days: int, minimum: int) -> Preview:
    """What would go now, if the tenant kept so many days and at least so many executions.

    Executions that have not ended count as if they had. The work is bounded: the tenant's days in the
    rollups, a sample for the bytes, and of what is left from before the seal at most `MOST_COUNTED`.
    """
    now = database_now()
    horizon = horizon_of(days, now - GRACE)
    with cursor() as db:
        past, rest = _count(db, tenant, [(EARLIEST, horizon), (horizon, now + 2 * DAY)])
        size = _average_bytes(db, tenant.pk, horizon)
    removed = max(0, min(past.number, past.number + rest.number - minimum))
    return Preview(
        horizon,
        removed,
        round(removed * size),
        past.number + rest.number - removed,
        past.is_least or rest.is_least,
    )


def count(tenant: Tenant, spans: Sequence[Span]) -> int | None:
    """About how many of a tenant's executions there are of some spans of time.

    Bounded as `of` is: None where there are more from before the seal than are counted.
    """
    with cursor() as db:
        found = _count(db, tenant, spans)
    return None if any(one.is_least for one in found) else sum(one.number for one in found)


@dataclass(frozen=True, slots=True)
class _Count:
    number: int
    is_least: bool


def _count(db: _Cursor, tenant: Tenant, spans: Sequence[Span]) -> list[_Count]:
    """From the rollups what began since the seal; what is left from before is counted so far."""
    seal = max(sealed_until(db, tenant.pk), EARLIEST)
    since = [(max(start, seal), end) for start, end in spans if end > seal]
    totals = iter(totals_of_spans(of_tenant(tenant), since, percentiles=False))
    found: list[_Count] = []
    for start, end in spans:
        rows = _count_rows(db, tenant.pk, start, min(end, seal))
        total = next(totals).total if end > seal else 0
        found.append(_Count(total + rows, rows >= MOST_COUNTED))
    return found


def _count_rows(db: _Cursor, tenant_id: int, start: dt.datetime, end: dt.datetime) -> int:
    if start >= end:
        return 0
    db.execute(_COUNT, [tenant_id, uuid_floor(start), uuid_floor(end), MOST_COUNTED])
    return int(_only(db))


def _average_bytes(db: _Cursor, tenant_id: int, horizon: dt.datetime) -> float:
    """Bytes of an execution with its nodes: the average of some spread evenly over the past."""
    db.execute(_OLDEST, [tenant_id, uuid_floor(horizon)])
    row = db.fetchone()
    if row is None:
        return 0.0
    first = time_of(row[0])
    apart = (horizon - first) / _SAMPLE
    points = [uuid_floor(first + number * apart) for number in range(_SAMPLE)]
    db.execute(_AVERAGE, [points, tenant_id, uuid_floor(horizon)])
    return float(_only(db))


def _only(db: _Cursor) -> Any:
    row = db.fetchone()
    assert row is not None
    return row[0]


_COUNT: Final = """
    SELECT count(*) FROM (
        SELECT FROM monitoring_execution WHERE tenant_id = %s AND id >= %s AND id < %s LIMIT %s
    ) e
"""
_OLDEST: Final = """
    SELECT id FROM monitoring_execution WHERE tenant_id = %s AND id < %s ORDER BY id LIMIT 1
"""
_AVERAGE: Final = f"""
    SELECT coalesce(avg(size), 0) FROM (
        SELECT DISTINCT one.id, one.size FROM unnest(%s::uuid[]) AS p (point)
        CROSS JOIN LATERAL (
            SELECT e.id, {BYTES_SQL} AS size FROM monitoring_execution e
            WHERE e.tenant_id = %s AND e.id >= p.point AND e.id < %s ORDER BY e.id LIMIT 1
        ) one
    ) sample
"""  # noqa: S608 - a constant of this module
