"""The oldest week's partitions go at once, when all but a few of its executions are past.

The few (the newest of quiet tenants, what has not ended, what tenants with longer retention have)
move to the archive, which takes the week's place. First it is decided what stays, then senders' keys
of the rest are forgotten in small steps, then the partitions are swapped under locks that are held for
a fraction of a second and waited for no longer than 50 ms at a time: whoever waits for such a lock holds up
all who come after.
"""

from __future__ import annotations

import datetime as dt
import itertools
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models import F, Max
from django.utils import timezone
from psycopg.errors import LockNotAvailable

from monitoring import deletion
from monitoring.database import columns, cursor
from monitoring.horizon import DAY, GRACE, horizon_of, past_of
from monitoring.ids import uuid_floor
from monitoring.metrics.sealing import seal
from monitoring.models import PastWeek, RetentionRun
from monitoring.recording import tables
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

FORGOTTEN_AT_ONCE: Final = 5_000
RETRY_SECONDS: Final = 10.0
"""A try takes locks for 50 ms at most: one in ten seconds is not to be seen in the slowest per cent."""

_DEFAULT_DAYS: Final = 90
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


_ALL: Final = Staying({}, frozenset())


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
    if not _are_few(db, week, first):
        return None
    for tenant in tenants:
        if not tenant.is_being_deleted:
            first[tenant.pk] = keeping.first_kept(db, tenant, horizons[tenant.pk])
    if not _are_few(db, week, first):
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


def _are_few(db: _Cursor, week: Week, keep_from: Mapping[int, uuid.UUID]) -> bool:
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


# --- one step -----------------------------------------------------------------------------------


def drop_step() -> bool:
    """Do a bounded part of dropping the oldest week; False when there is nothing to do at once."""
    with across_tenants():
        found = PastWeek.objects.first() or _begin()
        if found is None:
            return False
        if not found.is_forgotten:
            _forget(found)
            return True
        if found.next_try_at is not None and found.next_try_at > timezone.now():
            return False
        return _try(found)


def _begin() -> PastWeek | None:
    """Decide what stays of the oldest week, if it can go."""
    if _decide(timezone.now()) is None:
        return None
    try:
        with transaction.atomic():
            tables.hold_weeks()
            # Another process may have been quicker, and has perhaps dropped that week already.
            decided = _decide(timezone.now())
            if decided is None or PastWeek.objects.exists():
                return PastWeek.objects.first()
            week, stays = decided
            return PastWeek.objects.create(start=week.start, **_written(stays))
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise
        return None


def _decide(now: dt.datetime) -> tuple[Week, Staying] | None:
    """The oldest week and what stays of it; None when it can't go."""
    with cursor() as db:
        week = oldest_week(db)
        stays = staying(db, week, now)
    return None if stays is None else (week, stays)


def _written(stays: Staying) -> dict[str, Any]:
    """A decision as it stands in the row, with nothing forgotten yet."""
    return {
        "keep_from": [[pk, str(first)] for pk, first in stays.keep_from.items()],
        "kept": [[pk, str(one)] for pk, one in stays.kept],
        "removed": {},
        "position_tenant": 0,
        "position": None,
        "is_forgotten": False,
    }


def _locked(past: PastWeek) -> PastWeek | None:
    """The week as it stands now, while no other process works on it; None when it is gone."""
    return PastWeek.objects.select_for_update().filter(pk=past.pk).first()


def _staying_of(past: PastWeek) -> Staying:
    return Staying(
        {pk: uuid.UUID(first) for pk, first in past.keep_from},
        frozenset((pk, uuid.UUID(one)) for pk, one in past.kept),
    )


@transaction.atomic
def _forget(past: PastWeek) -> None:
    """Forget the keys of the next executions that go, and count them.

    Those that stay get back what was forgotten of them when it was decided otherwise before.
    """
    found = _locked(past)
    if found is None or found.is_forgotten:
        return
    past = found
    week, stays = Week(past.start), _staying_of(past)
    start = (past.position_tenant, past.position or uuid.UUID(int=0))
    with cursor() as db:
        db.execute(_NEXT, [*week.ids, *start, FORGOTTEN_AT_ONCE])
        rows = db.fetchall()
    for tenant_id, of_tenant in itertools.groupby(rows, key=lambda row: row[0]):
        places = [deletion.Place(*row[1:]) for row in of_tenant]
        going = [place for place in places if not stays.includes(tenant_id, place.id)]
        # First: deletion locks executions before their keys as well.
        if left := [place.id for place in places if stays.includes(tenant_id, place.id)]:
            deletion.make_keys(tenant_id, left)
        if going:
            deletion.forget_keys(tenant_id, going)
            past.removed[str(tenant_id)] = past.removed.get(str(tenant_id), 0) + len(going)
    if rows:
        past.position_tenant, past.position = rows[-1][:2]
    past.is_forgotten = len(rows) < FORGOTTEN_AT_ONCE
    past.save(update_fields=["removed", "position_tenant", "position", "is_forgotten"])


_NEXT: Final = """
    SELECT tenant_id, id, external_id, workflow_id, environment_id FROM monitoring_execution
    WHERE id >= %s AND id < %s AND (tenant_id, id) > (%s, %s)
    ORDER BY tenant_id, id LIMIT %s
"""


def _try(past: PastWeek) -> bool:
    """Try to swap the partitions; put off where somebody holds them."""
    try:
        with transaction.atomic():
            if not _stands(past):
                return True
        for function in ("flowwatch_widen_archive", "flowwatch_validate_archive"):
            with transaction.atomic(), cursor() as db:
                # Validating reads the archive; it keeps nobody out, however long it takes.
                db.execute("SET LOCAL statement_timeout = 0")
                db.execute(f"SELECT {function}(%s)", [past.start])
        _drop(past)
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise
        pause = dt.timedelta(seconds=settings.PACE.seconds(RETRY_SECONDS))
        PastWeek.objects.filter(pk=past.pk).update(
            tries=F("tries") + 1, next_try_at=timezone.now() + pause
        )
        return False
    return True


def _stands(past: PastWeek) -> PastWeek | None:
    """The locked week, if it can go as it was decided; until the transaction ends nobody stores into it.

    Tenants may keep more by now, or less, and more may be there to move. Then it is decided anew, and
    forgetting begins anew; a week that can't go any more is let be when all its keys are there again.
    """
    found = _locked(past)
    if found is None or not found.is_forgotten:
        return None
    tables.hold_weeks()
    week, before = Week(found.start), _staying_of(found)
    with cursor() as db:
        now = staying(db, week, timezone.now())
        stands = now is not None and before.includes_all(now, week)
        if stands and _are_few(db, week, before.keep_from):
            return found
    if now is None and not found.removed:
        found.delete()
    else:
        decided = _written(now or _ALL)
        PastWeek.objects.filter(pk=found.pk).update(**decided)
    return None


@transaction.atomic
def _drop(past: PastWeek) -> None:
    """Swap, with all that must be told of it; the locks come last and end with the commit."""
    found = _stands(past)
    if found is None:
        return
    past = found
    week, stays = Week(past.start), _staying_of(past)
    removed = {int(pk): number for pk, number in past.removed.items()}
    living = set(Tenant.objects.filter(pk__in=removed).values_list("pk", flat=True))
    with cursor() as db:
        kept = _count_staying(db, week, stays)
        size = _size(db, week) / max(sum(removed.values()), 1)
        seal(db, [(pk, week.end) for pk in living])
        now = timezone.now()
        RetentionRun.objects.bulk_create(
            RetentionRun(
                tenant_id=pk,
                state=RetentionRun.State.DONE,
                horizon=week.end,
                removed=removed[pk],
                bytes=round(size * removed[pk]),
                kept=kept[pk],
                weeks=1,
                started_at=past.began_at,
                ended_at=now,
            )
            for pk in sorted(living)
        )
        past.delete()
        db.execute(
            "SELECT flowwatch_drop_week(%s, %s::bigint[], %s::uuid[], %s::bigint[], %s::uuid[])",
            [
                week.start,
                [*stays.keep_from],
                [*stays.keep_from.values()],
                [pk for pk, _ in stays.kept],
                [one for _, one in stays.kept],
            ],
        )


def _count_staying(db: _Cursor, week: Week, stays: Staying) -> Counter[int]:
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


def _size(db: _Cursor, week: Week) -> int:
    """Bytes of the week's partitions on disk."""
    names = [f"monitoring_{table}_{week.start:%Y%m%d}" for table in ("execution", "nodeexecution")]
    db.execute(
        "SELECT sum(pg_total_relation_size(to_regclass(name)))::bigint FROM unnest(%s::text[]) AS n (name)",
        [names],
    )
    row = db.fetchone()
    return 0 if row is None else int(row[0] or 0)


def going_of(tenant: Tenant) -> Week | None:
    """The week that is being dropped, if it holds executions of the tenant."""
    found = PastWeek.objects.first()
    concerns = found is not None and any(pk == tenant.pk for pk, _ in found.keep_from)
    return Week(found.start) if found is not None and concerns else None


# --- what a tenant's own removal leaves alone -----------------------------------------------------


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


_PATIENT_DAYS: Final = 28
