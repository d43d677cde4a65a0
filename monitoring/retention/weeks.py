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
from typing import Any, Final

import psycopg
from django.conf import settings
from django.db import OperationalError, transaction
from django.db.models import F
from psycopg.errors import LockNotAvailable

from monitoring import deletion
from monitoring.database import cursor, database_now
from monitoring.metrics.sealing import seal
from monitoring.models import PastWeek, RetentionRun
from monitoring.recording import old_weeks
from monitoring.retention.staying import (
    ALL,
    Staying,
    Week,
    are_few,
    count_staying,
    oldest_week,
    staying,
)
from tenants.models import Tenant
from tenants.scoping import across_tenants

FORGOTTEN_AT_ONCE: Final = 5_000
RETRY_SECONDS: Final = 10.0
"""A try takes locks for 50 ms at most: one in ten seconds is not to be seen in the slowest per cent."""

_Cursor = psycopg.Cursor[Any]


def drop_step() -> bool:
    """Do a bounded part of dropping the oldest week; False when there is nothing to do at once."""
    with across_tenants():
        _forget_void()
        found = PastWeek.objects.first() or _begin()
        if found is None:
            return False
        if not found.is_forgotten:
            _forget(found)
            return True
        if found.next_try_at is not None and found.next_try_at > database_now():
            return False
        return _try(found)


def _forget_void() -> None:
    """Nothing is left to do of a week that is in the archive, whatever was decided of it."""
    with cursor() as db:
        PastWeek.objects.filter(start__lt=oldest_week(db).start).delete()


def _begin() -> PastWeek | None:
    """Decide what stays of the oldest week, if it can go."""
    if _decide(database_now()) is None:
        return None
    try:
        with transaction.atomic():
            old_weeks.hold_weeks()
            # Another process may have been quicker, and has perhaps dropped that week already.
            decided = _decide(database_now())
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
                if _locked(past) is None:  # another process has dropped it
                    return True
                # Validating reads the archive; it keeps nobody out, however long it takes.
                db.execute("SET LOCAL statement_timeout = 0")
                db.execute(f"SELECT {function}(%s)", [past.start])
        _drop(past)
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise
        pause = dt.timedelta(seconds=settings.PACE.seconds(RETRY_SECONDS))
        PastWeek.objects.filter(pk=past.pk).update(
            tries=F("tries") + 1, next_try_at=database_now() + pause
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
    old_weeks.hold_weeks()
    week, before = Week(found.start), _staying_of(found)
    with cursor() as db:
        now = staying(db, week, database_now())
        stands = now is not None and before.includes_all(now, week)
        if stands and are_few(db, week, before.keep_from):
            return found
    if now is None and not found.removed:
        found.delete()
    else:
        decided = _written(now or ALL)
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
        kept = count_staying(db, week, stays)
        size = _size(db, week) / max(sum(removed.values()), 1)
        seal(db, [(pk, week.end) for pk in living])
        now = database_now()
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
