"""What stays although it is past: a tenant's newest executions, and those that have not ended."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any, Final

import psycopg

from monitoring.ids import uuid_floor
from monitoring.words import Status
from tenants.models import Tenant

OPEN: Final = frozenset({Status.PENDING, Status.RUNNING, Status.WAITING})
"""Executions in these have not ended: they stay while they are heard of since the horizon."""
OPEN_SQL: Final = ", ".join(str(int(status)) for status in sorted(OPEN))

_NTH_NEWEST: Final = """
    SELECT id FROM monitoring_execution WHERE tenant_id = %s ORDER BY id DESC OFFSET %s LIMIT 1
"""


def first_kept(db: psycopg.Cursor[Any], tenant: Tenant, horizon: dt.datetime) -> uuid.UUID:
    """The id from which on all of a tenant's executions stay: the horizon's, or the newest's minimum."""
    end = uuid_floor(horizon)
    if tenant.retention_minimum == 0:
        return end
    db.execute(_NTH_NEWEST, [tenant.pk, tenant.retention_minimum - 1])
    row = db.fetchone()
    return uuid.UUID(int=0) if row is None else min(end, row[0])
