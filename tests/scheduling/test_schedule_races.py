"""Two people or programs at a tenant's schedules at once: making the first, deleting while one starts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now
from django.test import Client

from scheduling import schedules
from scheduling.due import Kind, LeaseLostError, claim
from scheduling.models import Scan, Schedule
from tenants.models import Role, Tenant
from tenants.scoping import tenant_scope
from tests.monitoring.api.conftest import api_for
from tests.monitoring.factories import make_member, make_tenant

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = {
    "name": "Mine",
    "enabled": "on",
    "frequency": "daily",
    "weekday": "0",
    "preferred_time": "03:00",
    "time_zone": "UTC",
    "scope": "all",
}


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("acme")


@contextmanager
def while_a_default_is_made(tenant: Tenant, act: Callable[[], Any]) -> Iterator[list[Any]]:
    """Let `act` happen in a thread until it waits for a transaction that makes the default."""
    answers: list[Any] = []

    def run() -> None:
        try:
            answers.append(act())
        finally:
            connection.close()

    other = threading.Thread(target=run)
    with tenant_scope(tenant), transaction.atomic():
        schedules.save(Schedule(tenant=tenant, name="Theirs", is_default=True, frequency="weekly"))
        other.start()
        wait_until_somebody_waits()
    other.join(20)
    yield answers


def wait_until_somebody_waits() -> None:
    end = time.monotonic() + 10
    while time.monotonic() < end:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_locks WHERE NOT granted")
            if cursor.fetchone():
                return
        time.sleep(0.02)
    raise AssertionError("nobody waited")


def shown(tenant: Tenant) -> dict[str, tuple[bool, str]]:
    with tenant_scope(tenant):
        rows = Schedule.objects.values_list("name", "is_default", "preferred_time")
        return {name: (is_default, f"{at:%H:%M}") for name, is_default, at in rows}


def test_a_call_changes_the_default_that_another_has_made_meanwhile(tenant: Tenant) -> None:
    api = api_for(tenant)
    call = lambda: api.post("/api/schedules", {"preferredTime": "04:30"})  # noqa: E731
    with while_a_default_is_made(tenant, call) as answers:
        assert answers[0].status_code == 200
        assert answers[0].json()["frequency"] == "weekly", "what is left out stays as it is"
    assert shown(tenant) == {"Theirs": (True, "04:30")}


def test_a_page_makes_another_schedule_beside_it(tenant: Tenant) -> None:
    client = Client()
    client.force_login(make_member(tenant, Role.ADMIN))
    send = lambda: client.post("/t/acme/scans/schedules/new/", PAGE)  # noqa: E731
    with while_a_default_is_made(tenant, send) as answers:
        assert answers[0].status_code == 302
    assert shown(tenant) == {"Theirs": (True, "02:00"), "Mine": (False, "03:00")}


def made(tenant: Tenant) -> Schedule:
    with tenant_scope(tenant):
        schedule = Schedule(tenant=tenant, name="Nightly", is_default=True)
        schedules.save(schedule)
        return schedule


def while_it_is_deleted(tenant: Tenant, schedule: Schedule, act: Callable[[], Any]) -> Any:
    """What `act` gives when it began before the schedule's deletion was committed."""
    answers: list[Any] = []

    def run() -> None:
        try:
            answers.append(act())
        finally:
            connection.close()

    other = threading.Thread(target=run)
    with tenant_scope(tenant), transaction.atomic():
        schedules.delete(schedule)
        other.start()
        wait_until_somebody_waits()
    other.join(20)
    [answer] = answers
    return answer


def test_a_scan_that_starts_while_the_schedule_is_deleted_is_of_all(tenant: Tenant) -> None:
    schedule = made(tenant)
    api = api_for(tenant)
    answer = while_it_is_deleted(tenant, schedule, lambda: api.post("/api/schedules/run-now", {}))
    assert answer.status_code == 202
    with tenant_scope(tenant):
        assert [scan.schedule_id for scan in Scan.objects.all()] == [None]


def test_a_page_says_that_the_schedule_is_gone(tenant: Tenant) -> None:
    schedule = made(tenant)
    client = Client()
    client.force_login(make_member(tenant, Role.ADMIN))
    form = {"schedule": schedule.pk}
    start = lambda: client.post("/t/acme/scans/start/", form)  # noqa: E731
    assert while_it_is_deleted(tenant, schedule, start).status_code == 404


def test_a_due_scan_is_not_started_while_the_schedule_is_deleted(tenant: Tenant) -> None:
    schedule = made(tenant)
    with tenant_scope(tenant):
        Schedule.objects.update(due_at=Now(), next_scan_at=Now())
    [held] = claim(Kind("nightly", model=Schedule, work=schedules.start_due_scan))

    def start() -> str:
        try:
            schedules.start_due_scan(held)
        except LeaseLostError:
            return "gone"
        return "started"

    assert while_it_is_deleted(tenant, schedule, start) == "gone"


def test_a_schedule_is_deleted_with_the_scan_that_starts_meanwhile(tenant: Tenant) -> None:
    schedule = made(tenant)
    answers: list[Any] = []

    def delete() -> None:
        try:
            answers.append(api_for(tenant).send("DELETE", "/api/schedules").status_code)
        finally:
            connection.close()

    other = threading.Thread(target=delete)
    with tenant_scope(tenant), transaction.atomic():
        schedules.run_now(tenant, schedule, by=None)
        other.start()
        wait_until_somebody_waits()
    other.join(20)
    assert answers == [200]
    with tenant_scope(tenant):
        assert [scan.status for scan in Scan.objects.all()] == ["canceled"]
