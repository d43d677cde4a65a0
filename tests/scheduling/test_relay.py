"""The relay: every event once to every subscriber, whatever a subscriber does."""

from __future__ import annotations

import datetime as dt
import os
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.conf import settings
from django.db import connection, transaction

from config.home import home_from
from config.pace import Pace
from config.postgres.cluster import APP_ROLE, Cluster
from monitoring.models import Event
from scheduling import relay
from scheduling.due import MAX_ATTEMPTS, drain
from scheduling.models import Delivery, Leader
from scheduling.relay import Relay, subscriber
from tenants.models import Tenant
from tenants.scoping import ScopeError, across_tenants, current_tenant, tenant_scope
from tests.config.trees import wait_for
from tests.database import superuser
from tests.monitoring.factories import make_tenant

pytestmark = pytest.mark.django_db(transaction=True)

Subscriber = Callable[[Sequence[Event]], None]
NOW = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("relay")


@pytest.fixture(autouse=True)
def only_own_subscribers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "_subscribers", {})


def happen(tenant: Tenant, *numbers: int, kind: str = "test") -> None:
    with tenant_scope(tenant):
        Event.objects.bulk_create(
            [Event(tenant=tenant, kind=kind, body={"n": n}, created_at=NOW) for n in numbers]
        )


def waiting() -> int:
    with across_tenants():
        return Event.objects.count()


def deliveries(**fields: Any) -> list[Delivery]:
    with across_tenants():
        return list(Delivery.objects.filter(**fields).order_by("event_id"))


def relay_all(runner: Relay | None = None) -> None:
    runner = runner or Relay()
    while runner.step():
        continue


class Notes:
    """A subscriber that writes a row for each event, and fails for some."""

    def __init__(self, name: str = "notes", *, fails: Callable[[int], bool] = lambda n: False):
        self.fails, self.calls = fails, 0
        self.__module__, self.__qualname__ = "test", name
        subscriber("test")(self)

    def __call__(self, events: Sequence[Event]) -> None:
        self.calls += 1
        for event in events:
            n = event.body["n"]
            with connection.cursor() as cursor:
                cursor.execute(
                    "INSERT INTO relay_notes VALUES (%s, %s, %s)",
                    [self.__qualname__, current_tenant().slug, n],
                )
            if self.fails(n):
                raise ValueError(f"{n} is not to my taste")


@pytest.fixture(autouse=True)
def notes_table(transactional_db: None) -> Any:
    cluster = Cluster(home_from(os.environ))
    with superuser(cluster, settings.DATABASES["default"]["NAME"]) as admin:
        admin.execute("CREATE TABLE relay_notes (name text, tenant text, n int)")
        admin.execute(f"GRANT ALL ON relay_notes TO {APP_ROLE}")
        yield
        admin.execute("DROP TABLE relay_notes")


def noted(name: str = "notes") -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT n FROM relay_notes WHERE name = %s ORDER BY n", [name])
        return [n for (n,) in cursor.fetchall()]


def test_events_come_once_in_order_in_the_scope_of_their_tenant(tenant: Tenant) -> None:
    other, seen = make_tenant("other"), []

    @subscriber("test")
    def see(events: Sequence[Event]) -> None:
        seen.append((current_tenant().slug, [event.body["n"] for event in events]))

    happen(tenant, 1, 2)
    happen(other, 3)
    happen(tenant, 4)
    happen(tenant, 9, kind="nobody asked for this")
    relay_all()
    assert sorted(seen) == [("other", [3]), ("relay", [1, 2, 4])]
    assert waiting() == 0


def test_a_batch_has_at_most_a_thousand(tenant: Tenant) -> None:
    sizes: list[int] = []
    subscriber("test")(lambda events: sizes.append(len(events)))
    happen(tenant, *range(1_300))
    relay_all()
    assert sizes == [1_000, 300]


def test_a_number_that_commits_late_is_delivered_too(tenant: Tenant) -> None:
    """Two transactions take numbers; the one with the greater number commits first."""
    Notes()
    took_number, may_commit = threading.Event(), threading.Event()

    def slow() -> None:
        with transaction.atomic():
            happen(tenant, 1)
            took_number.set()
            may_commit.wait(10)
        connection.close()

    thread = threading.Thread(target=slow)
    thread.start()
    took_number.wait(10)
    happen(tenant, 2)
    runner = Relay()
    relay_all(runner)
    assert noted() == [2], "what is committed does not wait for what is not"
    may_commit.set()
    thread.join()
    relay_all(runner)
    assert noted() == [1, 2]


def test_what_a_subscriber_writes_commits_with_the_removal(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    Notes()
    happen(tenant, 1, 2)
    runner = Relay()
    mark = Relay._mark

    def fail_at_the_end(self: Relay, deaths: int) -> None:
        if deaths == 0:
            raise RuntimeError("in the middle")
        mark(self, deaths)

    monkeypatch.setattr(Relay, "_mark", fail_at_the_end)
    with pytest.raises(RuntimeError):
        runner.step()
    assert noted() == []
    assert waiting() == 2
    monkeypatch.setattr(Relay, "_mark", mark)
    relay_all(runner)
    assert noted() == [1, 2]


def test_one_bad_event_harms_no_other(tenant: Tenant) -> None:
    Notes(fails=lambda n: n == 77)
    Notes("others")
    happen(tenant, *range(200))
    relay_all()
    assert noted() == [n for n in range(200) if n != 77]
    assert noted("others") == list(range(200))
    [bad] = deliveries()
    assert (bad.subscriber, bad.body, bad.last_error) == (
        "test.notes", {"n": 77}, "ValueError: 77 is not to my taste",
    )  # fmt: skip
    assert waiting() == 0


def test_a_delivery_is_tried_again_and_succeeds_once(tenant: Tenant) -> None:
    notes = Notes(fails=lambda n: True)
    happen(tenant, 1)
    relay_all()
    notes.fails = lambda n: False
    drain("delivery")
    assert noted() == [1]
    assert deliveries() == []


def test_poison_is_quarantined_after_five_attempts_and_visible(
    tenant: Tenant, settings: Any
) -> None:
    settings.PACE = Pace(0.01)  # a lease of half a second, rests of up to 2.6 s
    notes = Notes(fails=lambda n: True)
    happen(tenant, 1)
    relay_all()

    def is_given_up() -> bool:
        drain("delivery")  # which says whether more is due, not whether it was given up
        return bool(deliveries(quarantined_at__isnull=False))

    wait_for(is_given_up, 30, "quarantined")
    [poison] = deliveries()
    assert poison.attempts == MAX_ATTEMPTS
    assert notes.calls == 1 + MAX_ATTEMPTS
    assert noted() == []


def test_a_subscriber_that_always_fails_costs_a_batch_little(tenant: Tenant) -> None:
    broken = Notes("broken", fails=lambda n: True)
    Notes()
    happen(tenant, *range(1_000))
    relay_all()
    assert broken.calls < 100
    assert noted() == list(range(1_000))
    assert len(deliveries()) == 1_000


def test_a_tenant_that_fails_stops_no_other(tenant: Tenant) -> None:
    other = make_tenant("other")
    Notes(fails=lambda n: n < 100)
    happen(tenant, *range(100))
    happen(other, *range(100, 200))
    relay_all()
    assert noted() == list(range(100, 200))


def test_an_event_that_kills_the_process_is_found_and_quarantined(tenant: Tenant) -> None:
    class Died(BaseException):
        """As if the process were gone: nothing after it runs."""

    calls: list[int] = []

    @subscriber("test")
    def die(events: Sequence[Event]) -> None:
        numbers = [event.body["n"] for event in events]
        calls.extend(numbers)
        if 5 in numbers:
            raise Died

    happen(tenant, *range(8))
    for _ in range(1 + MAX_ATTEMPTS):
        with pytest.raises(Died):
            relay_all(Relay())
    calls.clear()
    relay_all(Relay())
    assert calls == [6, 7], "tried no more, and what stood behind it is delivered"
    [poison] = deliveries(quarantined_at__isnull=False)
    assert poison.body == {"n": 5}
    assert "ended the process 5 times" in poison.last_error
    assert Leader.objects.get().deaths == 0


def test_an_error_that_the_process_survives_is_no_death(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    Notes()
    happen(tenant, 1)
    runner = Relay()
    with monkeypatch.context() as patch:
        patch.setattr(relay, "_deliver", lambda events: 1 / 0)
        for _ in range(MAX_ATTEMPTS + 2):
            with pytest.raises(ZeroDivisionError):
                runner.step()
    relay_all(runner)
    assert noted() == [1]


def test_events_of_a_tenant_that_is_gone_go_too(tenant: Tenant) -> None:
    Notes()
    happen(tenant, 1)
    Tenant.objects.filter(pk=tenant.pk).delete()
    relay_all()
    assert (waiting(), noted()) == (0, [])


def test_a_subscriber_can_not_look_across_tenants_by_mistake(tenant: Tenant) -> None:
    with pytest.raises(ScopeError):
        Delivery.objects.count()
