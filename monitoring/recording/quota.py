"""How many messages about executions a tenant may send: a bucket that leaks, one for all processes.

It forgets the quota's number of messages each minute, evenly. A call is taken whole while there is room
for one message; what it brings beyond that is forgotten before the next call is taken. So a batch
that is larger than the quota passes, and the average holds.
"""

from __future__ import annotations

import math
from typing import Final

from django.conf import settings
from django.db import transaction

from monitoring.database import cursor
from tenants.models import Tenant


class QuotaExceededError(Exception):
    """The tenant has sent its messages; `retry_after` whole seconds until there is room."""

    def __init__(self, per_minute: int, retry_after: int) -> None:
        super().__init__(
            f"This tenant may send {per_minute:,} executions a minute. Nothing was stored;"
            f" repeat the call in {retry_after} s."
        )
        self.retry_after = retry_after


def quota_of(tenant: Tenant) -> int | None:
    """Messages a minute; None: as many as come."""
    return tenant.executions_per_minute or settings.QUOTA_EXECUTIONS_PER_MINUTE or None


def take(tenant: Tenant, messages: int) -> None:
    """Count messages of one call before they are stored. Raises QuotaExceededError."""
    per_minute = quota_of(tenant)
    if per_minute is None:
        return
    values = {"tenant": tenant.pk, "messages": messages, "quota": float(per_minute)}
    with transaction.atomic(), cursor() as db:
        # What a crash forgets of a count is let through: nobody has to wait for the disk for that.
        db.execute("SET LOCAL synchronous_commit = off")
        db.execute(_TAKE, values)
        row = db.fetchone()
    assert row is not None
    before: float = row[0]
    missing = before + 1 - per_minute
    if missing > 0:
        raise QuotaExceededError(per_minute, max(1, math.ceil(missing * 60 / per_minute)))


# `was` locks the row and reads it as others left it, so that calls at the same time all count.
_TAKE: Final = """
    WITH was AS MATERIALIZED (
        SELECT level, at FROM monitoring_quotause WHERE tenant_id = %(tenant)s FOR UPDATE
    ), now AS (
        SELECT coalesce((
            SELECT greatest(0, level - %(quota)s / 60
                * greatest(0, extract(epoch FROM clock_timestamp() - at))) FROM was
        ), 0)::float8 AS level
    ), kept AS (
        INSERT INTO monitoring_quotause AS q (tenant_id, level, at)
        SELECT %(tenant)s, now.level
            + CASE WHEN now.level + 1 <= %(quota)s THEN %(messages)s::float8 ELSE 0 END, clock_timestamp()
        FROM now
        ON CONFLICT (tenant_id) DO UPDATE SET level = EXCLUDED.level, at = EXCLUDED.at
    )
    SELECT level FROM now
"""
