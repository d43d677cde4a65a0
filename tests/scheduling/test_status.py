"""What operators see of the carrier, and what everybody is told when it stands still."""

from __future__ import annotations

import datetime as dt
import re
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from alerts.channels.registry import kind_of_channel
from alerts.models import Target
from scheduling import due
from scheduling.broker import Wakes
from scheduling.models import Cluster, Delivery, Leader, Scan
from scheduling.status import (
    LOOK_AGAIN_SECONDS,
    STALLED_SECONDS,
    poison,
    scheduler_status,
    watch,
)
from tenants.lifecycle import suspend
from tenants.models import AuditEvent, Role, Tenant
from tenants.scoping import across_tenants, tenant_scope
from tests.tenants.factories import make_member, make_person, make_tenant

pytestmark = pytest.mark.django_db

SECOND = dt.timedelta(seconds=1)
BANNER = "Scans and alerts are not being worked on"


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant(slug="acme")


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(make_person(is_staff=True))
    return client


@pytest.fixture
def member(tenant: Tenant, client: Client) -> Client:
    client.force_login(make_member(tenant, Role.VIEWER))
    return client


def works(seconds_ago: float = 0) -> None:
    """Leader and one cluster were last seen working so long ago."""
    then = Now() - SECOND * seconds_ago
    Leader.objects.update_or_create(
        pk=1, defaults={"host": "here", "pid": 7, "ticked_at": then, "relayed_at": then}
    )
    Cluster.objects.update_or_create(
        name="a@here",
        defaults={
            "host": "here",
            "pid": 8,
            "started_at": then,
            "beat_at": then,
            "finished_at": then,
        },
    )


def deliver(tenant: Tenant, **fields: Any) -> None:
    with tenant_scope(tenant):
        values = {"subscriber": "s", "kind": "k", "body": {}, "event_id": 1, "happened_at": Now()}
        Delivery.objects.create(tenant=tenant, **values | {"due_at": Now()} | fields)


def test_rows_are_counted_by_what_becomes_of_them(tenant: Tenant) -> None:
    deliver(tenant)
    deliver(tenant, due_at=Now() - SECOND * 60)
    deliver(tenant, due_at=Now() - SECOND * 60, leased_until=Now() - SECOND)
    deliver(tenant, due_at=Now() - SECOND * 60, leased_until=Now() + SECOND * 60)
    deliver(tenant, due_at=Now() + SECOND * 60)
    deliver(tenant, due_at=None)
    deliver(tenant, quarantined_at=Now())
    found = {kind.name: kind for kind in scheduler_status().kinds}["delivery"]
    assert (found.due, found.overdue, found.leased, found.quarantined) == (3, 2, 1, 1)
    assert found.oldest is not None


def test_rows_of_a_suspended_tenant_are_not_overdue(tenant: Tenant) -> None:
    deliver(tenant, due_at=Now() - SECOND * 60)
    suspend(tenant)
    found = {kind.name: kind for kind in scheduler_status().kinds}["delivery"]
    assert (found.due, found.overdue, found.oldest) == (0, 0, None)


def test_the_answer_has_all_facts(operator: Client) -> None:
    works()
    Cluster.objects.create(
        name="stuck@there", host="there", pid=9, started_at=Now(), beat_at=Now(),
        finished_at=Now() - SECOND * 50, restarts=3,
    )  # fmt: skip
    Wakes(list_key="a@here").enqueue("task")
    told = operator.get("/internal/scheduler-status").json()
    assert [(c["name"], c["works"], c["restarts"]) for c in told["clusters"]] == [
        ("a@here", True, 0),
        ("stuck@there", False, 3),
    ]
    assert told["queue"]["depth"] == 1
    assert told["outbox"] == {"depth": 0, "oldest": None}
    assert told["last_tick"] is not None
    assert set(told["kinds"]["delivery"]) == {"due", "overdue", "leased", "oldest", "quarantined"}


def test_the_page_shows_them_and_what_was_given_up(operator: Client, tenant: Tenant) -> None:
    works()
    deliver(tenant, quarantined_at=Now(), last_error="ValueError: <b>poison</b>")
    page = operator.get("/status/").content.decode()
    assert "a@here" in page
    assert re.search(r"Partitions of executions</dt><dd>\d+, until ", page)
    assert re.search(r"Size</dt><dd>[\d.]+\xa0MB", page)
    assert "ValueError: &lt;b&gt;poison&lt;/b&gt;" in page


def test_the_page_says_what_to_start_when_nothing_ever_ran(operator: Client) -> None:
    page = operator.get("/status/").content.decode()
    assert "flowwatch run_cluster a" in page
    assert "run_tick" in page


def test_others_learn_nothing(member: Client) -> None:
    assert member.get("/internal/scheduler-status").status_code == 404
    assert member.get("/status/").status_code == 404
    assert Client().get("/internal/scheduler-status").status_code == 404


def pass_time(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """For the web process: it has been here so much longer."""
    monkeypatch.setattr(watch, "_began", watch._began - seconds)
    monkeypatch.setattr(watch, "_look_at", watch._look_at - seconds)


@pytest.mark.parametrize("part", ["tick", "clusters"])
def test_everybody_is_told_when_a_part_stood_still_for_two_minutes(
    member: Client, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    works(STALLED_SECONDS + 5)
    if part == "tick":
        Cluster.objects.update(finished_at=Now())
    else:
        Leader.objects.update(ticked_at=Now())
    assert BANNER not in member.get("/t/acme/").content.decode(), "it has just started itself"
    pass_time(monkeypatch, STALLED_SECONDS)
    assert BANNER in member.get("/t/acme/").content.decode()
    works()
    pass_time(monkeypatch, LOOK_AGAIN_SECONDS)
    assert BANNER not in member.get("/t/acme/").content.decode()


def test_everybody_is_told_when_no_worker_ever_came(
    member: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    pass_time(monkeypatch, STALLED_SECONDS + 1)
    assert BANNER in member.get("/t/acme/").content.decode()


def test_nothing_is_said_while_all_work(member: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    works(30)
    pass_time(monkeypatch, 10 * STALLED_SECONDS)
    assert BANNER not in member.get("/t/acme/").content.decode()


def test_pages_do_not_ask_each_time(
    monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    pass_time(monkeypatch, STALLED_SECONDS)
    watch.notice()
    with django_assert_num_queries(0):
        watch.notice()


# --- what was given up is tried again ------------------------------------------------------------


@pytest.fixture
def superuser(client: Client) -> Client:
    client.force_login(make_person(is_staff=True, is_superuser=True))
    return client


def given_up(tenant: Tenant) -> Delivery:
    deliver(tenant, quarantined_at=Now(), attempts=5, last_error="ValueError: poison")
    with tenant_scope(tenant):
        return Delivery.objects.latest("pk")


def try_again(client: Client, kind: str, row: object) -> str:
    answer = client.post("/status/try-again/", {"kind": kind, "row": row}, follow=True)
    assert answer.status_code == 200
    return answer.content.decode()


def test_an_operator_with_all_rights_has_a_row_tried_again(
    superuser: Client, tenant: Tenant
) -> None:
    row = given_up(tenant)
    assert "Try again" in superuser.get("/status/").content.decode()
    assert f"“delivery” {row.pk} is tried again." in try_again(superuser, "delivery", row.pk)
    with tenant_scope(tenant):
        row.refresh_from_db()
    assert (row.quarantined_at, row.attempts, row.last_error) == (None, 0, "")
    with across_tenants():
        event = AuditEvent.objects.get(action="row.revived")
    assert (event.tenant, event.subject) == (tenant, f"delivery {row.pk}")
    assert event.detail == {"error": "ValueError: poison"}
    assert "not given up any more" in try_again(superuser, "delivery", row.pk)
    with across_tenants():
        assert AuditEvent.objects.filter(action="row.revived").count() == 1


@pytest.mark.parametrize(
    ("kind", "row"), [("nothing", "1"), ("delivery", "x"), ("delivery", "9" * 30), ("scan", "1")]
)
def test_what_is_not_there_is_not_tried_again(superuser: Client, kind: str, row: str) -> None:
    assert "not given up any more" in try_again(superuser, kind, row)


def test_operators_who_may_only_look_have_no_button(operator: Client, tenant: Tenant) -> None:
    row = given_up(tenant)
    assert "Try again" not in operator.get("/status/").content.decode()
    answer = operator.post("/status/try-again/", {"kind": "delivery", "row": row.pk})
    assert answer.status_code == 403


def test_a_scan_that_was_given_up_goes_on(superuser: Client, tenant: Tenant) -> None:
    with tenant_scope(tenant):
        fields = {"status": "failed", "problem": "It broke.", "completed_at": Now()}
        scan = Scan.objects.create(tenant=tenant, attempts=4, **fields)
        Scan.objects.filter(pk=scan.pk).update(due_at=Now(), quarantined_at=Now())
        try_again(superuser, "scan", scan.pk)
        scan.refresh_from_db()
        assert (scan.status, scan.problem, scan.quarantined_at) == ("pending", "", None)
        due.drain("scan")
        scan.refresh_from_db()
    assert scan.status == "completed"


def test_a_scan_is_not_tried_again_beside_another(superuser: Client, tenant: Tenant) -> None:
    with tenant_scope(tenant):
        scan = Scan.objects.create(tenant=tenant, status="failed")
        Scan.objects.filter(pk=scan.pk).update(quarantined_at=Now())
        Scan.objects.create(tenant=tenant, status="running")
    assert "Another scan of the same schedule is running." in try_again(superuser, "scan", scan.pk)
    with tenant_scope(tenant):
        scan.refresh_from_db()
    assert (scan.status, scan.quarantined_at is None) == ("failed", False)


def test_rows_of_one_table_count_for_their_own_kind(tenant: Tenant) -> None:
    with tenant_scope(tenant):
        values = {"tenant": tenant, "due_at": Now(), "quarantined_at": Now()}
        Target.objects.create(channel="email", address="a@example.com", **values)
    counts = {kind.name: kind.quarantined for kind in scheduler_status().kinds}
    assert sum(counts.values()) == 1
    assert [each.kind for each in poison()] == [kind_of_channel("email")]
