"""What operators see of the carrier, and what everybody is told when it stands still."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from django.db.models.functions import Now
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from scheduling.broker import Wakes
from scheduling.models import Cluster, Delivery, Leader
from scheduling.status import LOOK_AGAIN_SECONDS, STALLED_SECONDS, scheduler_status, watch
from tenants.models import Role, Tenant
from tenants.scoping import tenant_scope
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
