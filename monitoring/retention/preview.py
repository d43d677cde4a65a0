"""What a removal would take, told before it happens: from the numbers, without counting history."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from django.utils import timezone

from monitoring.database import cursor
from monitoring.ids import uuid_floor
from monitoring.metrics.ranges import totals_of_spans
from monitoring.metrics.sealing import sealed_until
from monitoring.metrics.subject import of_tenant
from monitoring.recording.fields import EARLIEST
from monitoring.retention.horizon import DAY, GRACE, horizon_of
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
    now = timezone.now()
    horizon = horizon_of(days, now - GRACE)
    with cursor() as db:
        seal = max(sealed_until(db, tenant.pk), EARLIEST)
        left = _count_before(db, tenant.pk, seal)
        left_past = left if horizon >= seal else _count_before(db, tenant.pk, horizon)
        size = _average_bytes(db, tenant.pk, horizon)
    edge = max(horizon, seal)
    spans = [(seal, edge), (edge, now + 2 * DAY)] if seal < edge else [(edge, now + 2 * DAY)]
    *before, after = totals_of_spans(of_tenant(tenant), spans, percentiles=False)
    past = left_past + sum(each.total for each in before)
    there = left + sum(each.total for each in before) + after.total
    removed = max(0, min(past, there - minimum))
    return Preview(horizon, removed, round(removed * size), there - removed, left >= MOST_COUNTED)


def _count_before(db: _Cursor, tenant_id: int, moment: dt.datetime) -> int:
    db.execute(_COUNT, [tenant_id, uuid_floor(moment), MOST_COUNTED])
    return int(_only(db))


def _average_bytes(db: _Cursor, tenant_id: int, horizon: dt.datetime) -> float:
    """Bytes of an execution with its nodes: the average of the newest past ones."""
    db.execute(_AVERAGE, [tenant_id, uuid_floor(horizon), _SAMPLE])
    return float(_only(db))


def _only(db: _Cursor) -> Any:
    row = db.fetchone()
    assert row is not None
    return row[0]


_COUNT: Final = """
    SELECT count(*) FROM (
        SELECT FROM monitoring_execution WHERE tenant_id = %s AND id < %s LIMIT %s
    ) e
"""
_AVERAGE: Final = f"""
    SELECT coalesce(avg({BYTES_SQL}), 0) FROM (
        SELECT payload, error_message, node_count FROM monitoring_execution
        WHERE tenant_id = %s AND id < %s ORDER BY id DESC LIMIT %s
    ) e
"""  # noqa: S608 - a constant of this module
