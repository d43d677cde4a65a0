"""Schedules make one row of a scan for each due time, whatever happens in between."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from scheduling import schedules
from scheduling.due import drain
from scheduling.models import Scan, Schedule
from scheduling.schedules import ScanRunsError
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests.monitoring.factories import make_environment, make_tenant, make_workflow

pytestmark = pytest.mark.django_db(transaction=True)

NOW = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("acme")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[dt.datetime]:
    """The time that schedules are computed with; the rows' due times are past for the database."""
    now = [NOW]
    monkeypatch.setattr(schedules, "database_now", lambda: now[0])
    return now


def make_schedule(tenant: Tenant, **fields: Any) -> Schedule:
    values = {"name": "Nightly", "frequency": "daily", "time_zone": "UTC"} | fields
    with tenant_scope(tenant):
        schedule = Schedule(tenant=tenant, **values)
        schedules.save(schedule, [])
        return schedule


def come(schedule: Schedule) -> list[tuple[dt.datetime | None, str]]:
    """Let the schedule be looked at now; return its scans as (due time, status)."""
    with tenant_scope(schedule.tenant):
        Schedule.objects.filter(pk=schedule.pk).update(due_at=NOW - 400 * 24 * HOUR)
        # Simulated days lie behind and ahead of the database's clock: each step is made due.
        drain("schedule", seconds=5)
        schedule.refresh_from_db()
        assert schedule.last_error == ""
        return list(schedule.scans.order_by("due_for").values_list("due_for", "status"))


def test_a_due_time_starts_one_scan_and_plans_the_next(
    tenant: Tenant, clock: list[dt.datetime]
) -> None:
    schedule = make_schedule(tenant)
    assert schedule.next_scan_at == dt.datetime(2026, 11, 22, 2, tzinfo=dt.UTC)
    clock[0] = schedule.next_scan_at
    assert come(schedule) == [(dt.datetime(2026, 11, 22, 2, tzinfo=dt.UTC), "pending")]
    assert schedule.next_scan_at == dt.datetime(2026, 11, 23, 2, tzinfo=dt.UTC)
    assert schedule.last_scan_at == clock[0]


def test_the_newest_missed_time_runs_and_older_ones_are_recorded(
    tenant: Tenant, clock: list[dt.datetime]
) -> None:
    schedule = make_schedule(tenant, frequency="6h", preferred_time=dt.time(0, 0))
    clock[0] = NOW + 25 * HOUR
    found = come(schedule)
    assert [(when.hour, status) for when, status in found if when] == [
        (18, "missed"),
        (0, "missed"),
        (6, "missed"),
        (12, "pending"),
    ]


def test_a_long_absence_is_recorded_whole(tenant: Tenant, clock: list[dt.datetime]) -> None:
    schedule = make_schedule(tenant, frequency="6h", preferred_time=dt.time(0, 0))
    clock[0] = NOW + 365 * 24 * HOUR
    for _ in range(4):
        found = come(schedule)
    assert len(found) == 365 * 4
    assert [status for _, status in found].count("missed") == len(found) - 1
    assert found[-1][1] == "pending"


def test_no_second_scan_while_one_is_open(tenant: Tenant, clock: list[dt.datetime]) -> None:
    schedule = make_schedule(tenant)
    with tenant_scope(tenant):
        schedules.run_now(tenant, schedule, by=None)
        with pytest.raises(ScanRunsError):
            schedules.run_now(tenant, schedule, by=None)
    clock[0] = NOW + 24 * HOUR
    statuses = dict(come(schedule))
    assert statuses[dt.datetime(2026, 11, 22, 2, tzinfo=dt.UTC)] == "missed"
    with tenant_scope(tenant):
        assert Scan.objects.filter(status="pending").count() == 1


def test_a_schedule_that_is_off_is_never_due(tenant: Tenant, clock: list[dt.datetime]) -> None:
    schedule = make_schedule(tenant, enabled=False)
    assert schedule.next_scan_at is None
    assert schedule.due_at is None
    assert come(schedule) == []


def test_the_scan_takes_the_schedules_workflows_along(
    tenant: Tenant, clock: list[dt.datetime]
) -> None:
    workflow = make_workflow(make_environment(tenant))
    schedule = make_schedule(tenant, scope="selected")
    with tenant_scope(tenant):
        schedules.save(schedule, [workflow.pk])
        scan = schedules.run_now(tenant, schedule, by=None)
    assert (scan.scope, scan.selected_ids) == ("selected", [workflow.pk])


def test_scans_without_a_schedule_are_one_at_a_time_for_each_tenant(tenant: Tenant) -> None:
    other = make_tenant("other")
    with tenant_scope(tenant):
        schedules.run_now(tenant, None, by=None)
        with pytest.raises(ScanRunsError):
            schedules.run_now(tenant, None, by=None)
    with tenant_scope(other):
        schedules.run_now(other, None, by=None)


def test_saving_revives_a_schedule_that_was_given_up(
    tenant: Tenant, clock: list[dt.datetime]
) -> None:
    schedule = make_schedule(tenant)
    with tenant_scope(tenant):
        Schedule.objects.filter(pk=schedule.pk).update(
            attempts=5, fence=9, quarantined_at=NOW, last_error="broken"
        )
        schedules.save(schedule)
        schedule.refresh_from_db()
    assert (schedule.quarantined_at, schedule.attempts, schedule.last_error) == (None, 0, "")
    assert schedule.fence == 9, "a fence never goes back"
    clock[0] = NOW + 24 * HOUR
    assert [status for _, status in come(schedule)] == ["pending"]
