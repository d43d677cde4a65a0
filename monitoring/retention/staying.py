"""What stays of a past week when it goes as a whole, and whether it can.

A week can go when it is past for every tenant, or worth it, and what stays of it is little enough to move
to the archive while everybody waits.
"""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from django.db.models import Max

from monitoring.database import columns
from monitoring.horizon import DAY, GRACE, horizon_of, past_of
from monitoring.ids import uuid_floor
from monitoring.retention import keeping
from monitoring.words import Status
from tenants.models import Tenant
from tenants.scoping import across_tenants

MOST_MOVED: Final = 2_000
"""Executions that may move to the archive while nobody can read or write."""
MOST_MOVED_NODES: Final = 20_000
MOST_MOVED_BYTES: Final = 32 * 1024 * 1024

WORTH_DROPPING: Final = 10_000
"""So many past executions are worth dropping a week in which other tenants may still store some."""

_DEFAULT_DAYS: Final = 90
_PATIENT_DAYS: Final = 28
_WEEK: Final = 7 * DAY
_Cursor = psycopg.Cursor[Any]


@dataclass(frozen=True, slots=True)
class Week:
    """A week's partitions, by its first moment (Monday, UTC)."""

    start: dt.datetime

    @property
    def end(self) -> dt.datetime:
        return self.start + _WEEK

    @property
    def ids(self) -> tuple[uuid.UUID, uuid.UUID]:
        """Its first id, and the next week's."""
        return uuid_floor(self.start), uuid_floor(self.end)


@dataclass(frozen=True, slots=True)
class Staying:
    """What stays of a week: each tenant's executions from an id on, and some older ones."""

    keep_from: Mapping[int, uuid.UUID]
    kept: frozenset[tuple[int, uuid.UUID]]

    def includes(self, tenant_id: int, execution_id: uuid.UUID) -> bool:
        """Whether an execution stays; a tenant that is not named keeps all."""
        first = self.keep_from.get(tenant_id)
        return first is None or execution_id >= first or (tenant_id, execution_id) in self.kept

    def includes_all(self, other: Staying, week: Week) -> bool:
        """Whether all stays that would stay by another decision, which names no further tenant."""
        end = week.ids[1]
        return all(
            pk in self.keep_from and min(self.keep_from[pk], end) <= min(first, end)
            for pk, first in other.keep_from.items()
        ) and all(self.includes(*one) for one in other.kept)


ALL: Final = Staying({}, frozenset())


def oldest_week(db: _Cursor) -> Week:
    """The week after the archive."""
    db.execute("SELECT archive_until FROM monitoring_partitionboundary")
    row = db.fetchone()
    assert row is not None
    return Week(row[0])


def staying(db: _Cursor, week: Week, now: dt.datetime) -> Staying | None:
    """What stays if the week goes at that moment; None when it can't go: too much would move.

    Across tenants. Costs about as much as what may move, and some look-ups for each tenant of the week.
    """
    if week.end > now - GRACE - DAY:
        return None
    tenants = list(Tenant.objects.filter(pk__in=_tenants_of(db, week)))
    horizons = {
        # Those that are being deleted keep nothing.
        tenant.pk: week.end if tenant.is_being_deleted else past_of(tenant, now)
        for tenant in tenants
    }
    first = {pk: max(uuid_floor(horizon), week.ids[0]) for pk, horizon in horizons.items()}
    if not are_few(db, week, first):
        return None
    for tenant in tenants:
        if not tenant.is_being_deleted:
            first[tenant.pk] = keeping.first_kept(db, tenant, horizons[tenant.pk])
    if not are_few(db, week, first):
        return None
    kept = _open_ones(db, week, first, horizons)
    if len(kept) > MOST_MOVED:
        return None
    if week.end > _longest_horizon(now) and not _is_worth_it(db, week, first):
        return None
    return Staying(first, frozenset(kept))


def _tenants_of(db: _Cursor, week: Week) -> list[int]:
    db.execute(_TENANTS, {"first": week.ids[0], "last": week.ids[1]})
    return [tenant_id for (tenant_id,) in db.fetchall() if tenant_id is not None]


# Leaps from tenant to tenant along the primary key of the one partition.
_TENANTS: Final = """
    WITH RECURSIVE there AS (
        (SELECT tenant_id FROM monitoring_execution WHERE id >= %(first)s AND id < %(last)s
        ORDER BY tenant_id LIMIT 1)
        UNION ALL
        SELECT (SELECT e.tenant_id FROM monitoring_execution e
            WHERE e.id >= %(first)s AND e.id < %(last)s AND e.tenant_id > there.tenant_id
            ORDER BY e.tenant_id LIMIT 1)
        FROM there WHERE there.tenant_id IS NOT NULL
    )
    SELECT tenant_id FROM there
"""


def are_few(db: _Cursor, week: Week, keep_from: Mapping[int, uuid.UUID]) -> bool:
    """Whether what stays by age can move quickly."""
    values = {"first": week.ids[0], "last": week.ids[1], "most": MOST_MOVED + 1}
    db.execute(_WEIGH, values | _named(keep_from.items(), "tenants", "from"))
    row = db.fetchone()
    assert row is not None
    number, nodes, size = map(int, row)
    return number <= MOST_MOVED and nodes <= MOST_MOVED_NODES and size <= MOST_MOVED_BYTES


_WEIGH: Final = """
    SELECT count(*), coalesce(sum(node_count), 0), coalesce(sum(pg_column_size(payload)), 0) FROM (
        SELECT e.node_count, e.payload
        FROM unnest(%(tenants)s::bigint[], %(from)s::uuid[]) AS k (tenant_id, keep_from)
        CROSS JOIN LATERAL (
            SELECT node_count, payload FROM monitoring_execution
            WHERE tenant_id = k.tenant_id AND id >= k.keep_from
                AND id >= %(first)s AND id < %(last)s
            ORDER BY id LIMIT %(most)s
        ) e LIMIT %(most)s
    ) few
"""


def _open_ones(
    db: _Cursor,
    week: Week,
    keep_from: Mapping[int, uuid.UUID],
    horizons: Mapping[int, dt.datetime],
) -> list[tuple[int, uuid.UUID]]:
    """Past executions that have not ended and were heard of since the horizon."""
    rows = [(pk, first, horizons[pk]) for pk, first in keep_from.items()]
    values = {"first": week.ids[0], "last": week.ids[1], "most": MOST_MOVED + 1}
    db.execute(_OPEN, values | _named(rows, "tenants", "from", "horizons"))
    return db.fetchall()


# The index on statuses holds all but successes; the planner must be told that none is asked for.
_OPEN: Final = f"""
    SELECT k.tenant_id, e.id
    FROM unnest(%(tenants)s::bigint[], %(from)s::uuid[], %(horizons)s::timestamptz[])
        AS k (tenant_id, keep_from, horizon)
    CROSS JOIN LATERAL (
        SELECT id, changed_at FROM monitoring_execution
        WHERE tenant_id = k.tenant_id AND status IN ({keeping.OPEN_SQL}) AND status <> {Status.SUCCESS:d}
            AND id >= %(first)s AND id < %(last)s AND id < k.keep_from
    ) e
    WHERE e.changed_at >= k.horizon OR EXISTS (
        SELECT FROM monitoring_signoflife s
        WHERE s.tenant_id = k.tenant_id AND s.execution_id = e.id AND s.heard_at >= k.horizon)
    LIMIT %(most)s
"""  # noqa: S608 - numbers of statuses


def _longest_horizon(now: dt.datetime) -> dt.datetime:
    """What is older is past for every tenant: nothing is stored there any more."""
    longest = Tenant.objects.living().aggregate(days=Max("retention_days"))["days"]
    return horizon_of(longest or _DEFAULT_DAYS, now - GRACE)


def _is_worth_it(db: _Cursor, week: Week, keep_from: Mapping[int, uuid.UUID]) -> bool:
    values = {"first": week.ids[0], "last": week.ids[1], "most": WORTH_DROPPING}
    db.execute(_COUNT_PAST, values | _named(keep_from.items(), "tenants", "from"))
    return db.fetchone() == (WORTH_DROPPING,)


_COUNT_PAST: Final = """
    SELECT count(*) FROM (
        SELECT FROM unnest(%(tenants)s::bigint[], %(from)s::uuid[]) AS k (tenant_id, keep_from)
        CROSS JOIN LATERAL (
            SELECT FROM monitoring_execution
            WHERE tenant_id = k.tenant_id AND id < k.keep_from
                AND id >= %(first)s AND id < %(last)s
            LIMIT %(most)s
        ) e LIMIT %(most)s
    ) past
"""


def _named(rows: Iterable[Sequence[Any]], *names: str) -> dict[str, Any]:
    """Rows as one parameter for each column."""
    rows = list(rows)
    return dict(zip(names, columns(rows) if rows else [[] for _ in names], strict=True))


def count_staying(db: _Cursor, week: Week, stays: Staying) -> Counter[int]:
    """Tenant → how many of its executions move to the archive."""
    values = {"first": week.ids[0], "last": week.ids[1]}
    db.execute(_COUNT_STAYING, values | _named(stays.keep_from.items(), "tenants", "from"))
    return Counter(dict(db.fetchall())) + Counter(tenant_id for tenant_id, _ in stays.kept)


_COUNT_STAYING: Final = """
    SELECT k.tenant_id, (
        SELECT count(*) FROM monitoring_execution e WHERE e.tenant_id = k.tenant_id
            AND e.id >= k.keep_from AND e.id >= %(first)s AND e.id < %(last)s)
    FROM unnest(%(tenants)s::bigint[], %(from)s::uuid[]) AS k (tenant_id, keep_from)
"""


def left_to_drop(db: _Cursor, tenant: Tenant, now: dt.datetime) -> list[Week]:
    """The oldest weeks, if the tenant's past in them is large and they go as a whole soon enough.

    Waiting makes what is past stay longer, by a week at most, and not for tenants that keep days only.
    """
    weeks: list[Week] = []
    then = now + (_WEEK if tenant.retention_days >= _PATIENT_DAYS else dt.timedelta())
    horizon, week = past_of(tenant, now), oldest_week(db)
    while week.start < horizon and _is_worth_it(db, week, {tenant.pk: uuid_floor(horizon)}):
        with across_tenants():
            if staying(db, week, then) is None:
                break
        weeks.append(week)
        week = Week(week.end)
    return weeks
