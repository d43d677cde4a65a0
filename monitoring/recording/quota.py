"""How many messages about executions a tenant may send: a bucket that leaks, one for all processes.

It forgets the quota's number of messages each minute, evenly. A call is taken whole while there is room
for one message; what it brings beyond that is forgotten before the next call is taken. So a batch
that is larger than the quota passes, and the average holds. What turns out to be
rejected is given back.

That a tenant has no room is remembered in the process for a moment, so that its next calls are refused
before they cost anything: they would take the time of those that have room.
"""

from __future__ import annotations

import datetime as dt
import logging
import math
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import Final

from django.conf import settings
from django.db import Error, transaction

from monitoring.database import cursor
from monitoring.models import QuotaUse
from monitoring.models.quota import shifted
from tenants.models import Tenant
from tenants.scoping import across_tenants

logger = logging.getLogger(__name__)

HOUR: Final = dt.timedelta(hours=1)
LEAST_SECONDS: Final = 0.1
MOST_SECONDS: Final = 0.5
"""How long a process believes that a tenant has no room; an operator may have made some."""


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


class _Refusals:
    """Tenants that had no room a moment ago, and calls that were refused since it was last written."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[int, tuple[float, float]] = {}
        self._uncounted: Counter[int] = Counter()

    def remember(self, tenant_id: int, missing_seconds: float) -> None:
        """There will be room in so many seconds."""
        now = time.monotonic()
        believed = min(max(missing_seconds, LEAST_SECONDS), MOST_SECONDS)
        with self._lock:
            self._until[tenant_id] = now + believed, now + missing_seconds

    def missing_seconds(self, tenant_id: int) -> float | None:
        """Until there is room, None: perhaps there is now. What is told of is counted as refused."""
        if tenant_id not in self._until:
            return None
        now = time.monotonic()
        with self._lock:
            believed, room = self._until.get(tenant_id, (0.0, 0.0))
            if now >= believed:
                self._until.pop(tenant_id, None)
                return None
            self._uncounted[tenant_id] += 1
        return room - now

    def take_uncounted(self, tenant_id: int) -> int:
        """How many were refused since this was asked last."""
        with self._lock:
            return self._uncounted.pop(tenant_id, 0)

    def forget(self) -> None:
        """Believe nothing any more."""
        with self._lock:
            self._until.clear()
            self._uncounted.clear()


refusals = _Refusals()


def demand_room(tenant: Tenant) -> None:
    """Raise QuotaExceededError when there was no room a moment ago; asks no database."""
    per_minute = quota_of(tenant)
    if per_minute is None:
        return
    missing = refusals.missing_seconds(tenant.pk)
    if missing is not None:
        raise QuotaExceededError(per_minute, _whole_seconds(missing))


def take(tenant: Tenant, messages: int) -> None:
    """Count messages of one call before they are stored. Raises QuotaExceededError."""
    per_minute = quota_of(tenant)
    if per_minute is None:
        return
    uncounted = refusals.take_uncounted(tenant.pk)
    values = {"tenant": tenant.pk, "messages": messages, "quota": float(per_minute)}
    with transaction.atomic(), cursor() as db:
        # What a crash forgets of a count is let through: nobody has to wait for the disk for that.
        db.execute("SET LOCAL synchronous_commit = off")
        db.execute(_TAKE, values)
        row = db.fetchone()
        assert row is not None
        before: float = row[0]
        missing_seconds = (before + 1 - per_minute) * 60 / per_minute
        is_refused = missing_seconds > 0
        if is_refused or uncounted:
            _count_refused(tenant, uncounted + is_refused)
    if is_refused:
        refusals.remember(tenant.pk, missing_seconds)
        raise QuotaExceededError(per_minute, _whole_seconds(missing_seconds))


def give_back(tenant: Tenant, messages: int) -> None:
    """Take messages that were counted and then rejected out of the count; the database's errors pass."""
    if not messages or quota_of(tenant) is None:
        return
    try:
        with transaction.atomic(), cursor() as db:
            db.execute("SET LOCAL synchronous_commit = off")
            db.execute(_GIVE_BACK, {"tenant": tenant.pk, "messages": messages})
    except Error as error:
        # Others of the call may be stored: their sender has to be told.
        logger.warning("%d rejected messages stay counted: %s", messages, error)


def _whole_seconds(seconds: float) -> int:
    return max(1, math.ceil(seconds))


def _count_refused(tenant: Tenant, number: int) -> None:
    """Add refused calls to this hour's; the tenant's row is locked."""
    use = QuotaUse.objects.get(tenant=tenant)
    now = use.at  # just now, by the database's clock
    hours = shifted(use.refused_hours, use.refused_at, now)
    hours[0] += number
    QuotaUse.objects.filter(tenant=tenant).update(refused_at=now, refused_hours=hours)


@dataclass(frozen=True, slots=True)
class Use:
    """What a tenant has used of its quota; counts are of whole hours of the clock, this one too."""

    tenant: Tenant
    per_minute: int | None
    level: float
    refused_at: dt.datetime | None
    refused_in_hour: int
    refused_in_day: int

    @property
    def percent(self) -> float:
        """From 0 to 100, more after a large batch; of no quota 0."""
        return 100 * self.level / self.per_minute if self.per_minute else 0.0


def use_of(tenant: Tenant, now: dt.datetime) -> Use:
    """How a tenant is doing."""
    found = QuotaUse.objects.filter(tenant=tenant).first()
    return _use(tenant, found or QuotaUse(tenant=tenant, level=0.0, at=now), now)


@dataclass(frozen=True, slots=True)
class Refused:
    """Calls of a tenant that were refused since `since`, the beginning of an hour of the clock."""

    calls: int
    since: dt.datetime
    last: dt.datetime
    per_minute: int


def refused_of(tenant: Tenant, now: dt.datetime) -> Refused | None:
    """What was refused in this hour and the one before; None when nothing was in the last 60 minutes."""
    per_minute = quota_of(tenant)
    if per_minute is None:
        return None
    use = QuotaUse.objects.filter(tenant=tenant, refused_at__gt=now - HOUR).first()
    if use is None or use.refused_at is None:
        return None
    this_hour = now.astimezone(dt.UTC).replace(minute=0, second=0, microsecond=0)
    calls = use.refused_since(now, 2)
    since = this_hour if calls == use.refused_since(now, 1) else this_hour - HOUR
    return Refused(calls, since, use.refused_at, per_minute)


def refused_lately(now: dt.datetime, limit: int) -> list[Use]:
    """The tenants that were refused something in the last hour, those most often first."""
    with across_tenants():
        found = QuotaUse.objects.filter(refused_at__gt=now - HOUR)
        uses = [_use(each.tenant, each, now) for each in found.select_related("tenant")]
    return sorted(uses, key=lambda use: use.refused_in_hour, reverse=True)[:limit]


def _use(tenant: Tenant, use: QuotaUse, now: dt.datetime) -> Use:
    per_minute = quota_of(tenant)
    return Use(
        tenant=tenant,
        per_minute=per_minute,
        level=use.level_at(now, per_minute) if per_minute else 0.0,
        refused_at=use.refused_at,
        refused_in_hour=use.refused_since(now, 1),
        refused_in_day=use.refused_since(now, 24),
    )


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

_GIVE_BACK: Final = """
    UPDATE monitoring_quotause SET level = greatest(0, level - %(messages)s)
    WHERE tenant_id = %(tenant)s
"""
