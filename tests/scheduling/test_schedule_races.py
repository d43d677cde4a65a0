"""Two people or programs that make a tenant's first schedule at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client

from scheduling import schedules
from scheduling.models import Schedule
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
