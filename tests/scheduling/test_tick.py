"""The tick and wake-ups: what is due is worked on soon, without a flood of wake-ups."""

from __future__ import annotations

import datetime as dt
import threading
from queue import Queue
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.models import F
from django.db.models.functions import Now
from django_q.models import OrmQ, Task
from django_q.pusher import pusher

from scheduling import due, wake
from scheduling.broker import Wakes
from scheduling.clusters import send_canary
from scheduling.due import Kind, register_kind
from scheduling.models import Cluster, Leader, Scan, Wake
from scheduling.tick import Tick, forget_the_gone, jobs
from scheduling.wake import QUEUE_LIMIT, work_on
from tenants.models import Tenant
from tenants.scoping import across_tenants, tenant_scope
from tests.monitoring.factories import make_tenant

pytestmark = pytest.mark.django_db(transaction=True)

SECOND = dt.timedelta(seconds=1)


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("tick")


@pytest.fixture(autouse=True)
def two_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due, "_kinds", {})
    register_kind(Kind("one", model=Scan, work=finish))
    register_kind(Kind("two", model=Scan, work=finish))


def finish(held: due.Claim[Scan]) -> None:
    with held.finishing():
        pass


def cluster(name: str, **fields: Any) -> None:
    Cluster.objects.create(
        **{"name": name, "host": "here", "pid": 1, "started_at": Now(), "beat_at": Now()}
        | {"finished_at": Now()}
        | fields
    )


def waiting(tenant: Tenant, **fields: Any) -> Scan:
    with tenant_scope(tenant):
        scan = Scan.objects.create(tenant=tenant, status=Scan.Status.COMPLETED)
        Scan.objects.filter(pk=scan.pk).update(**{"due_at": Now() - SECOND} | fields)
        return scan


def queued() -> list[tuple[str, str]]:
    return [(row.key, row.args()[0]) for row in OrmQ.objects.order_by("pk")]


def test_what_is_due_is_seen_and_nothing_else(tenant: Tenant) -> None:
    tick = Tick()
    waiting(tenant, due_at=Now() + SECOND * 60)
    waiting(tenant, due_at=None)
    waiting(tenant, leased_until=Now() + SECOND * 60)
    waiting(tenant, quarantined_at=Now())
    assert tick.due_kinds() == []
    waiting(tenant, leased_until=Now() - SECOND)
    assert sorted(tick.due_kinds()) == ["one", "two"]


def test_a_wake_up_holds_a_kinds_name_and_nothing_more(tenant: Tenant) -> None:
    cluster("a")
    waiting(tenant)
    Tick().step()
    assert sorted(queued()) == [("a", "one"), ("a", "two")]
    task = OrmQ.objects.first()
    assert task is not None
    assert task.func() == "scheduling.wake.work_on"


def test_nobody_is_woken_twice_while_a_wake_up_is_under_way(tenant: Tenant) -> None:
    cluster("a")
    waiting(tenant)
    tick = Tick()
    for _ in range(5):
        tick.step()
    assert len(queued()) == 2


def test_a_wake_up_that_nobody_begins_is_sent_again_after_two_seconds(tenant: Tenant) -> None:
    cluster("a")
    waiting(tenant)
    tick = Tick()
    tick.step()
    Wake.objects.filter(kind="one").update(sent_at=F("sent_at") - SECOND * 2.1)
    tick.step()
    assert sorted(name for _, name in queued()) == ["one", "one", "two"]


def test_a_kind_is_woken_again_as_soon_as_the_last_wake_up_is_begun(tenant: Tenant) -> None:
    cluster("a")
    tick = Tick()
    waiting(tenant)
    tick.step()
    work_on("one")
    waiting(tenant)
    tick.step()
    assert sorted(name for _, name in queued()) == ["one", "one", "two"]


def test_a_worker_that_leaves_work_wakes_the_next(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster("a")
    wake.know_kinds(["one"])
    monkeypatch.setattr(wake, "drain", lambda name, seconds: True)
    work_on("one")
    assert queued() == [("a", "one")]


def test_a_kind_with_much_to_do_lets_others_have_their_turn(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found in a storm: looking at workflows kept all workers for ten seconds, and mails waited."""
    now = 0.0

    def work(held: due.Claim[Scan]) -> None:
        nonlocal now
        now += 0.3
        finish(held)

    monkeypatch.setattr(due, "time", SimpleNamespace(monotonic=lambda: now))
    register_kind(Kind("much", model=Scan, work=work))
    wake.know_kinds(["much", "one"])
    cluster("a")
    for _ in range(10):
        waiting(tenant)
    wake.wake("one")
    work_on("much")
    assert now <= 1.5
    assert queued() == [("a", "one"), ("a", "much")], "it goes on behind what waits"


def test_a_kind_that_does_not_spread_keeps_one_worker(tenant: Tenant) -> None:
    """Found in a storm: looks kept all workers, and posts waited for the processors."""
    while_it_worked: list[int] = []

    def work(held: due.Claim[Scan]) -> None:
        wake.wake("calm")
        while_it_worked.append(len(queued()))
        finish(held)

    register_kind(Kind("calm", model=Scan, work=work, spreads=False))
    wake.know_kinds(["calm"])
    cluster("a")
    wake.wake("calm")
    OrmQ.objects.all().delete()
    waiting(tenant)
    work_on("calm")
    assert while_it_worked == [0]
    wake.wake("calm")
    assert len(queued()) == 1, "the turn is over"


def test_a_failing_wake_up_leaves_no_row_behind(caplog: pytest.LogCaptureFixture) -> None:
    work_on("no such kind")
    assert "wake-up failed" in caplog.text


def test_wake_ups_go_to_living_clusters_the_idlest_first(tenant: Tenant) -> None:
    cluster("dead", finished_at=Now() - SECOND * 60)
    cluster("new", finished_at=None)
    cluster("ended", pid=None)
    cluster("a")
    cluster("b")
    wake.know_kinds([f"kind {n}" for n in range(8)])
    for n in range(8):
        wake.wake(f"kind {n}")
    keys = [key for key, _ in queued()]
    assert (keys.count("a"), keys.count("b")) == (4, 4)


def test_full_queues_are_not_filled_further() -> None:
    cluster("a")
    names = [f"kind {n}" for n in range(QUEUE_LIMIT + 5)]
    wake.know_kinds(names)
    for name in names:
        wake.wake(name)
    assert len(queued()) == QUEUE_LIMIT


def test_the_queue_is_first_in_first_out_and_fetched_once() -> None:
    broker = Wakes(list_key="a")
    numbers = [broker.enqueue(f"task {n}") for n in range(3)]
    Wakes(list_key="b").enqueue("another's")
    assert [broker.dequeue() for _ in range(3)] == [
        [(number, f"task {n}")] for n, number in enumerate(numbers)
    ]
    assert broker.dequeue() is None
    OrmQ.objects.filter(pk=numbers[1]).update(lock=Now() - SECOND)
    assert broker.dequeue() == [(numbers[1], "task 1")], "fetched again after the retry time"


def test_what_is_urgent_is_fetched_before_what_waits_and_after_canaries(tenant: Tenant) -> None:
    """Found in a storm: messages waited behind looks at workflows."""
    cluster("a")
    register_kind(Kind("urgent", model=Scan, work=finish, urgent=True))
    wake.know_kinds(["one", "two", "urgent"])
    for name in ("one", "two", "urgent"):
        wake.wake(name)
    canary = send_canary("a")
    fetched = [Wakes("a").dequeue() for _ in range(4)]
    rows = {row.pk: row.args() for row in OrmQ.objects.all()}
    [first, *others] = [pk for [(pk, _)] in filter(None, fetched)]
    assert first == canary
    assert [rows[pk][0] for pk in others] == ["urgent", "one", "two"]


def test_clusters_that_nobody_watches_and_queues_of_nobody_are_forgotten() -> None:
    cluster("gone", beat_at=Now() - SECOND * 90_000)
    cluster("a")
    for number, days in enumerate((2, 0)):
        Task.objects.create(
            id=str(number), name="failed", func="f", started=Now(), success=False,
            stopped=Now() - dt.timedelta(days=days),
        )  # fmt: skip
    for key in ("gone", "a", "unknown"):
        Wakes(list_key=key).enqueue("task")
    forget_the_gone()
    assert [each.name for each in Cluster.objects.all()] == ["a"]
    assert [row.key for row in OrmQ.objects.all()] == ["a"]
    assert [task.id for task in Task.objects.all()] == ["1"], "django-q2 keeps failures for ever"


def test_the_leader_says_what_it_did_since() -> None:
    work = {job.name: job.run for job in jobs()}
    work["tick"]()
    work["tell"]()
    leader = Leader.objects.get()
    assert leader.ticked_at is not None
    assert leader.relayed_at is None, "it has not relayed"
    Leader.objects.update(ticked_at=None)
    work["relay"]()
    work["tell"]()
    leader = Leader.objects.get()
    assert leader.relayed_at is not None
    assert leader.ticked_at is None, "it has not ticked since"


def test_the_carriers_settings_are_those_that_were_decided(settings: Any) -> None:
    """Research on django-q2: each other value loses, doubles or holds up something."""
    q = settings.Q_CLUSTER
    assert {name: q[name] for name in ("bulk", "max_attempts", "ack_failures", "save_limit")} == {
        "bulk": 1, "max_attempts": 1, "ack_failures": True, "save_limit": -1,
    }  # fmt: skip
    assert (q["catch_up"], q["scheduler"], q["orm"]) == (False, False, "default")
    assert q["queue_limit"] == q["workers"]
    assert q["timeout"] > 10 * wake.TURN_SECONDS
    assert q["retry"] > q["timeout"] * (q["queue_limit"] / q["workers"] + 1) + 30


def test_nothing_of_another_tenant_is_needed_to_see_what_is_due(tenant: Tenant) -> None:
    waiting(tenant)
    with tenant_scope(make_tenant("other")):
        assert sorted(Tick().due_kinds()) == ["one", "two"]
    with across_tenants():
        assert Scan.objects.count() == 1


def test_a_task_of_another_secret_key_is_dropped_and_the_kind_woken_again(tenant: Tenant) -> None:
    """A rotated SECRET_KEY: django-q2 deletes what it can't verify; what is due stays due."""
    cluster("a")
    waiting(tenant)
    Tick().step()
    OrmQ.objects.update(payload="not:signed:so")
    events, tasks = threading.Event(), Queue[Any]()
    events.set()  # the pusher fetches once and ends
    for _ in range(2):
        pusher(tasks, events, Wakes(list_key="a"))
    assert OrmQ.objects.count() == 0
    assert tasks.empty()
    Wake.objects.update(sent_at=F("sent_at") - SECOND * 3)
    Tick().step()
    assert len(queued()) == 2
