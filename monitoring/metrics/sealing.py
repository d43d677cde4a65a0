"""How far back raw rows may be gone: numbers before a tenant's seal can't be counted again.

Retention takes raw rows and leaves the numbers. It moves the seal first, in the same transaction as the
first rows or before, and by whole days (UTC), so that the seal cuts no bucket. A range that cuts a bucket
before the seal counts it whole, and says so; `verify_rollups` passes over the days before it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, Final

import psycopg

from monitoring.database import columns, cursor

NEVER: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
"""The seal of a tenant of whom nothing was removed: nothing is older."""

_Cursor = psycopg.Cursor[Any]
_READ: Final = "SELECT until FROM monitoring_seal WHERE tenant_id = %s"
_MOVE: Final = """
    INSERT INTO monitoring_seal AS s (tenant_id, until)
    SELECT * FROM unnest(%s::bigint[], %s::timestamptz[])
    ON CONFLICT (tenant_id) DO UPDATE SET until = EXCLUDED.until WHERE s.until < EXCLUDED.until
"""


def sealed_until(db: _Cursor, tenant_id: int) -> dt.datetime:
    """The tenant's seal."""
    db.execute(_READ, [tenant_id])
    row = db.fetchone()
    return NEVER if row is None else row[0]


def gone_before(tenant_id: int, moment: dt.datetime) -> dt.datetime | None:
    """The tenant's seal, where single executions from that moment on may be gone; else None."""
    with cursor() as db:
        until = sealed_until(db, tenant_id)
    return until if moment < until else None


def seal(db: _Cursor, until: Iterable[tuple[int, dt.datetime]]) -> None:
    """Move the seals of tenants (id, midnight UTC) later; none moves back."""
    if rows := sorted(until):
        db.execute(_MOVE, columns(rows))
