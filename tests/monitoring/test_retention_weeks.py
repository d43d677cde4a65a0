"""The oldest week goes at once when all but a few of its executions are past."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from io import StringIO
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_django.plugin import DjangoDbBlocker

from monitoring import deletion
from monitoring.database import cursor
from monitoring.ids import time_of
from monitoring.metrics.ranges import totals
from monitoring.metrics.rollups import fold_deltas
from monitoring.metrics.subject import of_tenant
from monitoring.metrics.timerange import TimeRange
from monitoring.metrics.totals import Totals
from monitoring.metrics.verification import verify
from monitoring.models import (
    Execution,
    ExecutionKey,
    NodeExecution,
    PastWeek,
    RetentionRun,
    Seal,
    Workflow,
)
from monitoring.recording import old_weeks
from monitoring.recording.record import ExecutionRecord, Outcome
from monitoring.recording.store import record_executions
from monitoring.retention import removal, staying, weeks
from monitoring.retention.staying import Week
from monitoring.words import Status
from tenants.models import Tenant
from tenants.scoping import across_tenants, tenant_scope
from tests.monitoring.counted import message, node, record
from tests.monitoring.factories import make_environment, make_tenant, make_workflow

HOUR = dt.timedelta(hours=1)
DAY = dt.timedelta(days=1)


def oldest() -> Week:
    with cursor() as db:
        return staying.oldest_week(db)


def in_week(workflow: Workflow, hours: float = 1, *args: Any, **fields: Any) -> ExecutionRecord:
    """A message of the oldest week about an execution that began so long after its start."""
    started_at = oldest().start + hours * HOUR
    return message(workflow, started_at, *args, nodes=[node("a"), node("b")], **fields)


def drop() -> bool:
    """Steps until the oldest week is gone, or nothing is left to do at once; whether it is."""
    week = oldest()
    while oldest() == week:
        if not weeks.drop_step():
            return oldest() != week
    return True


def all_time(tenant: Tenant) -> Totals:
    with tenant_scope(tenant):
        now = timezone.now()
        return totals(of_tenant(tenant), TimeRange(now - 400 * DAY, now + DAY))


def partitions() -> set[str]:
    with cursor() as db:
        db.execute("SELECT relid::text FROM pg_partition_tree('monitoring_execution') WHERE isleaf")
        return {name for (name,) in db.fetchall()}


@pytest.fixture
def workflow(db: None) -> Workflow:
    return make_workflow(
        make_environment(make_tenant("acme", retention_days=30, retention_minimum=0))
    )


def test_a_past_week_goes_with_all_that_hangs_on_it(workflow: Workflow) -> None:
    tenant, week, before = workflow.tenant, oldest(), partitions()
    record(*(in_week(workflow, hours) for hours in range(1, 100, 9)))
    record(message(workflow, timezone.now() - DAY))
    numbers = all_time(tenant)
    assert drop()
    assert before - partitions() == {f"monitoring_execution_{week.start:%Y%m%d}"}
    with tenant_scope(tenant):
        assert Execution.objects.count() == ExecutionKey.objects.count() == 1
        assert not NodeExecution.objects.exists()
        run = RetentionRun.objects.get()
        assert Seal.objects.get().until == week.end
    assert (run.state, run.removed, run.weeks, run.kept) == ("done", 11, 1, 0)
    assert run.bytes > 0
    assert all_time(tenant) == numbers
    fold_deltas()
    assert all_time(tenant) == numbers
    assert not PastWeek.objects.exists()


def test_the_few_that_stay_move_to_the_archive(workflow: Workflow) -> None:
    quiet = make_workflow(make_environment(make_tenant(retention_days=30, retention_minimum=2)))
    long = make_workflow(make_environment(make_tenant(retention_days=3_650)))
    waits = in_week(workflow, 3, Status.WAITING, duration_ms=None, external_id="waits")
    record(*(in_week(workflow, hours) for hours in range(4, 9)), waits)
    record(*(in_week(quiet, hours) for hours in (2, 3, 4)), in_week(long, 5))
    with tenant_scope(workflow.tenant):
        Execution.objects.filter(external_id="waits").update(changed_at=timezone.now())
    with across_tenants():
        before = {row.id: row for row in Execution.objects.all()}
    # Worth it although the third tenant may still store executions of that week.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staying, "WORTH_DROPPING", 5)
        assert drop()
    with across_tenants():
        left = list(Execution.objects.order_by("tenant_id", "id"))
        assert ExecutionKey.objects.count() == len(left) == 4
        assert NodeExecution.objects.count() == 8
        names = [field.attname for field in Execution._meta.concrete_fields]
        for row in left:
            old = before[row.id]
            assert {name: getattr(row, name) for name in names} == {
                name: getattr(old, name) for name in names
            }
        assert {run.tenant_id: (run.removed, run.kept) for run in RetentionRun.objects.all()} == {
            workflow.tenant_id: (5, 1),
            quiet.tenant_id: (1, 2),
        }
    late = in_week(workflow, 0, external_id="waits")
    late.received_at = timezone.now()
    assert record_executions([late])[0].outcome is Outcome.UPDATED


def test_where_much_would_stay_nothing_goes(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = make_workflow(make_environment(make_tenant(retention_days=3_650)))
    record(*(in_week(workflow, hours) for hours in range(1, 4)))
    record(*(in_week(long, hours) for hours in range(1, 4)))
    monkeypatch.setattr(staying, "WORTH_DROPPING", 3)
    for limit in ("MOST_MOVED", "MOST_MOVED_NODES"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(staying, limit, 2)
            assert not drop()
    # Row by row instead, and the week stays.
    with tenant_scope(workflow.tenant):
        monkeypatch.setattr(staying, "MOST_MOVED", 2)
        while removal.remove_step(workflow.tenant):
            pass
        assert not Execution.objects.exists()


def test_a_week_in_which_somebody_may_store_stays(workflow: Workflow) -> None:
    make_tenant(retention_days=3_650)
    record(in_week(workflow))
    assert not drop()


def test_the_clock_of_the_host_does_not_say_which_week_is_past(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    Tenant.objects.update(retention_days=365)
    record(in_week(workflow))
    true = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: true() + 400 * DAY)
    assert not weeks.drop_step()
    assert not PastWeek.objects.exists()


def test_what_was_decided_of_a_week_that_is_gone_is_void(workflow: Workflow) -> None:
    week = oldest()
    record(in_week(workflow))
    assert drop()
    PastWeek.objects.create(start=week.start, keep_from=[], kept=[], is_forgotten=True)
    record(in_week(workflow))
    assert drop()
    assert not PastWeek.objects.filter(start=week.start).exists()


def test_only_the_oldest_past_week_can_be_dropped(workflow: Workflow) -> None:
    week = oldest()
    monday = timezone.now() - timezone.now().weekday() * DAY
    for start in (week.end, week.start + DAY, monday.replace(hour=0), week.start - 7 * DAY):
        with pytest.raises(DatabaseError, match="not the oldest one"), transaction.atomic():
            call("flowwatch_drop_week(%s, '{}', '{}', '{}', '{}')", start)
    # Not even where the boundary says so.
    this_week = monday.replace(hour=0, minute=0, second=0, microsecond=0)
    with connection.cursor() as db:
        db.execute("UPDATE monitoring_partitionboundary SET archive_until = %s", [this_week])
    with pytest.raises(DatabaseError, match="is not past"), transaction.atomic():
        call("flowwatch_widen_archive(%s)", this_week)
    with pytest.raises(DatabaseError, match="is not past"), transaction.atomic():
        call("flowwatch_drop_week(%s, '{}', '{}', '{}', '{}')", this_week)


def call(function: str, at: dt.datetime) -> None:
    with connection.cursor() as db:
        db.execute(f"SELECT {function}", [at])


def test_a_large_past_waits_for_its_week_to_go(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staying, "WORTH_DROPPING", 3)
    tenant = workflow.tenant
    Tenant.objects.filter(pk=tenant.pk).update(
        retention_days=(timezone.now() - oldest().start).days - 2
    )
    tenant.refresh_from_db()
    older = message(workflow, oldest().start - HOUR)
    record(*(in_week(workflow, hours) for hours in range(1, 5)), older)
    with tenant_scope(tenant):
        while removal.remove_step(tenant):
            pass
        assert Execution.objects.count() == 4
        assert Seal.objects.get().until == oldest().start
        run = RetentionRun.objects.get()
    assert (run.removed, run.expected) == (1, 1), "only what is not left to the week"
    # One that keeps a few days does not wait for a week.
    Tenant.objects.filter(pk=tenant.pk).update(retention_days=27)
    tenant.refresh_from_db()
    monkeypatch.setattr(staying, "MOST_MOVED_NODES", -1)
    with tenant_scope(tenant):
        while removal.remove_step(tenant):
            pass
        assert not Execution.objects.exists()


def test_the_command_drops_weeks(workflow: Workflow) -> None:
    record(*(in_week(workflow, hours) for hours in range(1, 4)))
    out = StringIO()
    week = oldest()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staying, "WORTH_DROPPING", 3)
        call_command("run_retention", "acme", stdout=out)
    assert "acme: nothing to remove one by one" in out.getvalue()
    assert oldest() == week, "weeks are everybody's"
    call_command("run_retention", stdout=out)
    assert "acme: 3 executions" in out.getvalue()
    assert timezone.now() - oldest().end < 31 * DAY, "all weeks went that are past for everybody"


def test_forgetting_goes_in_steps(workflow: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weeks, "FORGOTTEN_AT_ONCE", 2)
    other = make_workflow(make_environment(make_tenant(retention_days=30, retention_minimum=0)))
    record(*(in_week(workflow, hours) for hours in range(1, 4)))
    record(*(in_week(other, hours) for hours in range(1, 4)))
    assert drop()
    with across_tenants():
        assert not Execution.objects.exists()
        assert not ExecutionKey.objects.exists()
        assert [run.removed for run in RetentionRun.objects.all()] == [3, 3]


# --- beside others --------------------------------------------------------------------------------


@contextmanager
def reader() -> Iterator[None]:
    """Somebody whose transaction has read the history and goes on."""
    with (
        psycopg.connect(**connection.get_connection_params() | {"cursor_factory": None}) as other,
        other.cursor() as db,
    ):
        db.execute("SELECT count(*) FROM monitoring_execution")
        yield


@pytest.mark.django_db(transaction=True)
def test_a_long_query_puts_it_off_and_nobody_waits(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weeks, "RETRY_SECONDS", 0.05)
    record(*(in_week(workflow, hours) for hours in range(1, 4)))
    fold_deltas()
    slowest, stop = 0.0, threading.Event()

    def send() -> None:
        nonlocal slowest
        while not stop.is_set():
            started = time.monotonic()
            record_executions([message(workflow, timezone.now())])
            slowest = max(slowest, time.monotonic() - started)
            time.sleep(0.005)
        connection.close()

    sender = threading.Thread(target=send)
    with reader():
        assert not drop()
        sender.start()
        try:
            for _ in range(20):
                assert not drop()
                time.sleep(0.06)
        finally:
            stop.set()
            sender.join()
    assert PastWeek.objects.get().tries > 10
    # Locks that are waited for without end would keep senders out until the reader is done.
    assert slowest < 3
    assert drop()
    told: list[Any] = []
    verify(workflow.tenant, tell=told.append)
    assert told == []
    with tenant_scope(workflow.tenant):
        assert all(timezone.now() - time_of(one.id) < DAY for one in Execution.objects.all())


# --- what is told while a week goes -----------------------------------------------------------------


def keep(tenant: Tenant, days: int) -> None:
    Tenant.objects.filter(pk=tenant.pk).update(retention_days=days)


def late(one: ExecutionRecord) -> ExecutionRecord:
    """The message, received only now."""
    one.received_at = timezone.now()
    return one


def demand_that_keys_lead_somewhere() -> None:
    with across_tenants():
        there = set(Execution.objects.values_list("tenant_id", "id"))
        assert set(ExecutionKey.objects.values_list("tenant_id", "execution_id")) <= there


def test_what_is_stored_while_its_week_goes_is_not_lost(workflow: Workflow) -> None:
    tenant = workflow.tenant
    record(*(in_week(workflow, hours, external_id=f"e{hours}") for hours in range(1, 6)))
    assert weeks.drop_step(), "decided, and keys forgotten"
    keep(tenant, 3_650)
    names = ["new", "e3"]
    stored: list[str] = []
    for _ in range(10):
        results = record_executions([late(in_week(workflow, 3, external_id=one)) for one in names])
        assert {each.outcome for each in results} <= {
            Outcome.CREATED,
            Outcome.UPDATED,
            Outcome.UNCHANGED,
            Outcome.FAILED,
        }
        stored += [str(each.external_id) for each in results if each.outcome is not Outcome.FAILED]
        weeks.drop_step()
    assert stored[-2:] == names, "refused for a moment only"
    with tenant_scope(tenant):
        left = {one.external_id for one in Execution.objects.all()}
        assert left == {"e1", "e2", "e3", "e4", "e5", "new"}, "it keeps more now"
        assert Execution.objects.count() == ExecutionKey.objects.count() == 6
    demand_that_keys_lead_somewhere()
    assert not PastWeek.objects.exists()


def test_a_week_goes_without_what_somebody_keeps_longer_since(workflow: Workflow) -> None:
    other = make_workflow(make_environment(make_tenant(retention_days=30, retention_minimum=0)))
    record(*(in_week(workflow, hours) for hours in range(1, 6)), in_week(other, external_id="one"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(staying, "WORTH_DROPPING", 5)
        assert weeks.drop_step()
        keep(other.tenant, 3_650)
        assert drop()
    with across_tenants():
        assert [one.external_id for one in Execution.objects.all()] == ["one"]
        assert ExecutionKey.objects.count() == 1
    [result] = record_executions([late(in_week(other, -160, external_id="one"))])
    assert result.outcome is Outcome.UPDATED, "its key was made again"


def test_what_moves_is_weighed_again(workflow: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staying, "MOST_MOVED", 5)
    monkeypatch.setattr(staying, "WORTH_DROPPING", 3)
    record(*(in_week(workflow, hours) for hours in range(1, 5)))
    assert weeks.drop_step()
    new = make_workflow(make_environment(make_tenant(retention_days=3_650)))
    record(*(in_week(new, hours) for hours in range(1, 20)))
    assert not drop()
    with across_tenants():
        assert Execution.objects.count() == ExecutionKey.objects.count() == 23
    assert not PastWeek.objects.exists()


stories = st.lists(
    st.one_of(
        st.tuples(st.just("post"), st.integers(0, 1), st.integers(1, 8)),
        st.tuples(st.just("days"), st.integers(0, 1), st.sampled_from((30, 3_650))),
        st.tuples(st.just("minimum"), st.integers(0, 1), st.integers(0, 3)),
        st.tuples(st.just("remove"), st.integers(0, 1)),
        st.just(("drop",)),
        st.just(("delete",)),
    ),
    min_size=5,
    max_size=40,
)


@settings(max_examples=12, deadline=None)
@given(story=stories)
def test_whatever_meets_a_week_that_goes_loses_nothing(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, story: list[tuple[Any, ...]]
) -> None:
    with django_db_blocker.unblock(), pytest.MonkeyPatch.context() as patch, transaction.atomic():
        patch.setattr(weeks, "FORGOTTEN_AT_ONCE", 2)
        patch.setattr(staying, "WORTH_DROPPING", 2)
        patch.setattr(staying, "MOST_MOVED", 4)
        patch.setattr(removal, "STEP", 2)
        _Story().tell(story)
        transaction.set_rollback(True)


class _Story:
    """What two tenants do while a week goes, and what must still be there.

    `acknowledged`: what was stored, by tenant and name, and was within the tenant's days ever since.
    """

    def __init__(self) -> None:
        self.workflows = [
            make_workflow(make_environment(make_tenant(retention_days=3_650, retention_minimum=0)))
            for _ in range(2)
        ]
        self.start = oldest().start
        self.deleted: set[int] = set()
        self.acknowledged: dict[tuple[int, str], uuid.UUID] = {}
        for number, hours in itertools.product(range(2), range(1, 6)):
            self.post(number, hours)
        self.days(0, 30)

    def tell(self, story: list[tuple[Any, ...]]) -> None:
        for action, *values in story:
            getattr(self, action)(*values)
            self.demand_all()
        while weeks.drop_step():
            self.demand_all()
        with across_tenants():
            there = set(Execution.objects.values_list("tenant_id", "id"))
            assert set(ExecutionKey.objects.values_list("tenant_id", "execution_id")) == there

    def post(self, number: int, hours: int) -> None:
        workflow, name = self.workflows[number], f"e{hours}"
        [result] = record_executions(
            [late(message(workflow, self.start + hours * HOUR, external_id=name))]
        )
        if result.outcome in (Outcome.CREATED, Outcome.UPDATED, Outcome.UNCHANGED):
            assert result.id is not None
            if workflow.tenant.retention_days == 3_650 and number not in self.deleted:
                self.acknowledged[number, name] = result.id
        else:
            assert result.outcome is Outcome.FAILED or result.kind == "too-old"

    def days(self, number: int, days: int) -> None:
        tenant = self.workflows[number].tenant
        tenant.retention_days = days
        tenant.save(update_fields=["retention_days"])
        if days == 30:
            for place in [place for place in self.acknowledged if place[0] == number]:
                del self.acknowledged[place]

    def minimum(self, number: int, minimum: int) -> None:
        tenant = self.workflows[number].tenant
        tenant.retention_minimum = minimum
        tenant.save(update_fields=["retention_minimum"])

    def remove(self, number: int) -> None:
        tenant = self.workflows[number].tenant
        with tenant_scope(tenant):
            removal.remove_step(tenant)

    def drop(self) -> None:
        weeks.drop_step()

    def delete(self) -> None:
        """The second tenant is marked for deletion: nothing of it needs to stay."""
        Tenant.objects.filter(pk=self.workflows[1].tenant_id).update(
            deletion_requested_at=timezone.now()
        )
        self.deleted.add(1)
        self.days(1, 30)

    def demand_all(self) -> None:
        demand_that_keys_lead_somewhere()
        with across_tenants():
            there = list(Execution.objects.values_list("tenant_id", "external_id"))
            ids = set(Execution.objects.values_list("id", flat=True))
        assert len(set(there)) == len(there), "one execution for each name"
        assert set(self.acknowledged.values()) <= ids


@pytest.mark.django_db(transaction=True)
def test_nothing_is_decided_while_somebody_stores_what_is_old(workflow: Workflow) -> None:
    record(in_week(workflow))
    with transaction.atomic():
        old_weeks.hold_keeps([workflow.tenant_id])
        with ThreadPoolExecutor(1) as other:
            assert not other.submit(in_a_thread, weeks.drop_step).result()
    assert not PastWeek.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_nothing_is_dropped_while_somebody_tells_of_what_is_there(workflow: Workflow) -> None:
    record(in_week(workflow, 2, Status.RUNNING, None, external_id="known"))
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as other:
        # Just before its key is forgotten somebody has found it.
        patch.setattr(deletion, "forget_keys", lambda *_: None)
        assert weeks.drop_step()
        with transaction.atomic():
            told = late(in_week(workflow, 2, Status.RUNNING, None, external_id="known"))
            told.order_key = in_week(workflow, 3, Status.RUNNING).order_key
            assert record_executions([told])[0].outcome is Outcome.UPDATED
            with cursor() as db:
                db.execute(_HELD)
                assert db.fetchone() == (1,), "also before its rows are locked"
            assert not other.submit(in_a_thread, weeks.drop_step).result()
    assert PastWeek.objects.get().tries == 1
    PastWeek.objects.update(next_try_at=None)
    assert drop()
    with tenant_scope(workflow.tenant):
        assert Execution.objects.get().external_id == "known"


_HELD = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock'"
    " AND pid = pg_backend_pid()"
)


def in_a_thread(step: Callable[[], bool]) -> bool:
    """The step's result, on a connection of its own that ends with it."""
    try:
        return step()
    finally:
        connection.close()
