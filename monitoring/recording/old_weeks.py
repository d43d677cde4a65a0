"""Who stores old executions, and who drops the week they are in, keep out of each other's way."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Collection
from dataclasses import dataclass

from monitoring.database import cursor
from monitoring.ids import uuid_floor

# Who decides what stays of a week holds this lock alone (`hold_weeks`), those who store into it share it.
_WEEKS_LOCK = "hashtext('flowwatch_past_week')"
_WEEK = dt.timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Keeps:
    """What a tenant keeps: so many days, and of a week that is being dropped only ids from one on."""

    days: int
    going: tuple[uuid.UUID, uuid.UUID] | None
    """Ids from the first up to, without, the second: nothing new may be stored there just now."""

    def is_going(self, execution_id: uuid.UUID) -> bool:
        """Whether it would be dropped with its week, or might have been there without its key."""
        return self.going is not None and self.going[0] <= execution_id < self.going[1]


# While keys are being forgotten (or made again, where it was decided otherwise), it is the whole week.
_KEEPS = """
    SELECT t.id, t.retention_days, w.start, CASE WHEN w.is_forgotten THEN (
            SELECT (k ->> 1)::uuid FROM jsonb_array_elements(w.keep_from) k
            WHERE (k ->> 0)::bigint = t.id)
        ELSE 'ffffffff-ffff-ffff-ffff-ffffffffffff' END
    FROM tenants_tenant t LEFT JOIN monitoring_pastweek w ON true WHERE t.id = ANY(%s::bigint[])
"""


def hold_old() -> None:
    """Have nothing decided about weeks until the transaction ends, which stores what is old."""
    with cursor() as db:
        db.execute(f"SELECT pg_advisory_xact_lock_shared({_WEEKS_LOCK})")


def hold_keeps(tenant_ids: Collection[int]) -> dict[int, Keeps]:
    """Tenant → what it keeps; nothing else is decided about weeks until the transaction ends."""
    hold_old()  # a statement of its own: the next one sees what was decided while this one waited
    with cursor() as db:
        db.execute(_KEEPS, [sorted(tenant_ids)])
        return {
            tenant_id: Keeps(days, _going(start, keep_from) if keep_from else None)
            for tenant_id, days, start, keep_from in db
        }


def _going(start: dt.datetime | None, keep_from: uuid.UUID) -> tuple[uuid.UUID, uuid.UUID] | None:
    if start is None:
        return None
    return uuid_floor(start), min(keep_from, uuid_floor(start + _WEEK))


def hold_weeks() -> None:
    """Keep everybody from storing what is old until the transaction ends.

    Raises OperationalError when those who store some don't end soon.
    """
    with cursor() as db:
        db.execute("SET LOCAL lock_timeout = '2s'")
        db.execute(f"SELECT pg_advisory_xact_lock({_WEEKS_LOCK})")
