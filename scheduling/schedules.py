"""Schedules: when they are due next, and the scan of each due time.

Each due time has one row of `Scan`. After a time without a worker the newest one that was missed
runs; the older ones are recorded as missed.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import Final

from django.db import IntegrityError, transaction

from monitoring.database import database_now
from scheduling.due import REVIVED, Claim
from scheduling.models import Scan, Schedule, Scope
from scheduling.scans import cancel
from tenants.models import Tenant, User

# Due times that one step records; more than that are missed ones of a long absence.
_AT_ONCE: Final = 500


class ScanRunsError(Exception):
    """A scan of the same schedule is open already; two never run at once."""


_SAID: Final = (
    "name",
    "enabled",
    "frequency",
    "preferred_time",
    "time_zone",
    "weekday",
    "scope",
    "updated_at",
)
_PLANNED: Final = ("next_scan_at", "due_at")


@contextmanager
def alone(tenant: Tenant) -> Iterator[None]:
    """A transaction in which nobody else makes or changes a schedule of the tenant."""
    with transaction.atomic():
        # Not a lock that would hold up rows which are made for the tenant meanwhile.
        Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        yield


def save(schedule: Schedule, workflow_ids: list[int] | None = None) -> None:
    """Store a schedule (new or changed), plan its next scan from now, revive it if it was given up.

    A new one is the tenant's default only where there is none yet. `workflow_ids` are the selected
    workflows, of the schedule's tenant; None leaves them. What the worker wrote meanwhile (fence,
    last scan) stays.
    """
    with alone(schedule.tenant):
        planned = schedule.timetable.next_after(database_now()) if schedule.enabled else None
        schedule.next_scan_at = schedule.due_at = planned
        for field, value in REVIVED.items():
            setattr(schedule, field, value)
        if schedule.pk is None:
            has_default = Schedule.objects.filter(is_default=True).exists()
            schedule.is_default = schedule.is_default and not has_default
            schedule.save()
        else:
            # The lock waits for a step that is at work; its fence is not put back.
            Schedule.objects.select_for_update().get(pk=schedule.pk)
            schedule.save(update_fields=[*_SAID, *_PLANNED, *REVIVED])
        if workflow_ids is not None:
            schedule.selected.set(workflow_ids)


def delete(schedule: Schedule) -> None:
    """Delete a stored schedule and stop its open scan; all its scans stay, without a schedule."""
    with alone(schedule.tenant):
        # The lock waits for a step that starts a scan of it, and lets none begin.
        Schedule.objects.select_for_update().filter(pk=schedule.pk).first()
        for scan in schedule.scans.filter(status__in=Scan.OPEN):
            cancel(scan)
        schedule.delete()


def start_due_scan(claim: Claim[Schedule]) -> None:
    """Record the due times that have come, start the newest one's scan, plan the next."""
    with claim.finishing() as schedule:
        now = database_now()
        if schedule.next_scan_at is None or schedule.next_scan_at > now:
            schedule.due_at = schedule.next_scan_at
            return
        times = chain(
            [schedule.next_scan_at], schedule.timetable.between(schedule.next_scan_at, now)
        )
        due = list(islice(times, _AT_ONCE + 1))
        if len(due) > _AT_ONCE:
            _record_missed(schedule, due[:-1], "Nothing was there to run it.")
            schedule.next_scan_at = due[-1]
            schedule.due_at = now
        else:
            _record_missed(schedule, due[:-1], "Nothing was there to run it.")
            _start(schedule, due[-1], now)
            schedule.next_scan_at = schedule.timetable.next_after(max(now, due[-1]))
            schedule.due_at = schedule.next_scan_at
        schedule.save(update_fields=["next_scan_at", "last_scan_at"])


def _record_missed(schedule: Schedule, times: list[dt.datetime], why: str) -> None:
    Scan.objects.bulk_create(
        [
            Scan(
                tenant=schedule.tenant,
                schedule=schedule,
                due_for=time,
                status=Scan.Status.MISSED,
                problem=why,
                scope=schedule.scope,
            )
            for time in times
        ],
        ignore_conflicts=True,
    )


def _start(schedule: Schedule, due_for: dt.datetime, now: dt.datetime) -> None:
    scan = _scan_of(schedule, due_for=due_for, due_at=now)
    Scan.objects.bulk_create([scan], ignore_conflicts=True)
    # Another open scan of the schedule conflicts as well as one of the same due time.
    if schedule.scans.filter(due_for=due_for).exists():
        schedule.last_scan_at = now
    else:
        _record_missed(schedule, [due_for], "The scan before was still running.")


def _scan_of(schedule: Schedule, *, due_for: dt.datetime | None, due_at: dt.datetime) -> Scan:
    return Scan(
        tenant=schedule.tenant,
        schedule=schedule,
        due_for=due_for,
        due_at=due_at,
        scope=schedule.scope,
        selected_ids=sorted(schedule.selected.values_list("id", flat=True)),
    )


def run_now(tenant: Tenant, schedule: Schedule | None, *, by: User | None) -> Scan:
    """Start a scan of a schedule's workflows (None: of all the tenant's) at once.

    Raises ScanRunsError while one of the same schedule is open, Schedule.DoesNotExist when it was
    deleted meanwhile.
    """
    with alone(tenant):
        now = database_now()
        if schedule is None:
            scan = Scan(tenant=tenant, due_at=now, scope=Scope.ALL)
        else:
            stored = Schedule.objects.get(pk=schedule.pk)
            scan = _scan_of(stored, due_for=None, due_at=now)
        scan.requested_by = by
        try:
            with transaction.atomic():
                scan.save()
        except IntegrityError as conflict:
            raise ScanRunsError("A scan of this schedule is running.") from conflict
        return scan
