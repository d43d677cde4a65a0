"""Past executions go with all that hangs on them; numbers and error groups stay."""

from __future__ import annotations

import datetime as dt
import threading
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitoring.deletion import delete_executions
from monitoring.horizon import horizon_of, next_turn
from monitoring.ids import time_of
from monitoring.management.commands import run_retention
from monitoring.metrics.ranges import totals
from monitoring.metrics.rollups import fold_deltas
from monitoring.metrics.subject import of_tenant
from monitoring.metrics.timerange import TimeRange, floor_to
from monitoring.metrics.totals import Totals
from monitoring.metrics.verification import verify
from monitoring.models import (
    ErrorGroup,
    Execution,
    ExecutionKey,
    IdempotencyKey,
    NodeExecution,
    RetentionRun,
    Seal,
    SignOfLife,
    Workflow,
)
from monitoring.recording.record import ExecutionRecord, Idempotency, Outcome, Result
from monitoring.recording.store import record_executions
from monitoring.retention import preview, removal, weeks
from monitoring.words import Status
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests.monitoring.counted import message, node, record
from tests.monitoring.factories import make_tenant, make_workflow

pytestmark = pytest.mark.django_db(transaction=True)
DAY = dt.timedelta(days=1)


@pytest.fixture
def workflow() -> Workflow:
    return workflow_of(make_tenant("acme", retention_days=30, retention_minimum=0))


def workflow_of(tenant: Tenant) -> Workflow:
    with tenant_scope(tenant):
        return make_workflow(tenant.environments.get())


def days_ago(days: float) -> dt.datetime:
    return timezone.now() - days * DAY


def aged(workflow: Workflow, days: float, *args: Any, **fields: Any) -> ExecutionRecord:
    """A message about an execution that was received when it began, so many days ago."""
    return message(workflow, days_ago(days), *args, nodes=[node("a"), node("b")], **fields)


def remove_all(tenant: Tenant) -> int:
    """Steps until nothing is left; how many executions there are then."""
    with tenant_scope(tenant):
        while removal.remove_step(tenant):
            pass
        return Execution.objects.count()


def all_time(tenant: Tenant) -> Totals:
    with tenant_scope(tenant):
        return totals(of_tenant(tenant), TimeRange(days_ago(400), days_ago(-1)))


def demand_equal_numbers(tenant: Tenant) -> None:
    told: list[Any] = []
    verify(tenant, tell=told.append)
    assert told == []


def test_what_is_past_goes_with_all_that_hangs_on_it(workflow: Workflow) -> None:
    tenant = workflow.tenant
    record(aged(workflow, 40, Status.FAILED), aged(workflow, 10), aged(workflow, 1))
    old = aged(workflow, 50)
    old.idempotency = Idempotency(b"d" * 16, b"b" * 16)
    record(old)
    with tenant_scope(tenant):
        assert remove_all(tenant) == 2
        assert NodeExecution.objects.count() == 4
        assert ExecutionKey.objects.count() == 2
        assert not IdempotencyKey.objects.exists()
        run = RetentionRun.objects.get()
    assert (run.state, run.removed, run.kept) == ("done", 2, 0)
    assert run.bytes > 0
    assert run.ended_at is not None


def test_numbers_and_error_groups_stay(workflow: Workflow) -> None:
    record(aged(workflow, 40, Status.FAILED), aged(workflow, 40, duration_ms=5), aged(workflow, 1))
    before = all_time(workflow.tenant)
    remove_all(workflow.tenant)
    assert all_time(workflow.tenant) == before
    fold_deltas()
    assert all_time(workflow.tenant) == before
    demand_equal_numbers(workflow.tenant)
    workflow.refresh_from_db()
    assert (workflow.execution_count, workflow.failure_count) == (3, 1)
    assert workflow.last_executed_at is not None
    with tenant_scope(workflow.tenant):
        assert ErrorGroup.objects.exists()


def test_the_newest_stay_however_old(workflow: Workflow) -> None:
    tenant = workflow.tenant
    Tenant.objects.filter(pk=tenant.pk).update(retention_minimum=3)
    tenant.refresh_from_db()
    record(*(aged(workflow, 40 + number) for number in range(5)), aged(workflow, 2))
    assert remove_all(tenant) == 3
    with tenant_scope(tenant):
        run = RetentionRun.objects.get()
        left = Execution.objects.newest_first().values_list("id", flat=True)
        assert [round((timezone.now() - time_of(one)) / DAY) for one in left] == [2, 40, 41]
    assert (run.removed, run.kept) == (3, 2)


def test_what_has_not_ended_stays_while_it_is_heard_of(workflow: Workflow) -> None:
    running = aged(workflow, 40, Status.RUNNING, duration_ms=None, external_id="long")
    silent = aged(workflow, 41, Status.RUNNING, duration_ms=None, external_id="silent")
    beating = aged(workflow, 42, Status.RUNNING, duration_ms=None, external_id="beating")
    beating.heartbeat_seconds = 60
    record(running, silent, beating)
    with tenant_scope(workflow.tenant):
        Execution.objects.filter(external_id="long").update(changed_at=days_ago(1))
        SignOfLife.objects.update(heard_at=timezone.now())
    assert remove_all(workflow.tenant) == 2
    with tenant_scope(workflow.tenant):
        assert {one.external_id for one in Execution.objects.all()} == {"long", "beating"}


def test_the_clock_of_the_host_does_not_say_what_is_past(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = workflow.tenant
    record(aged(workflow, 40), aged(workflow, 10), aged(workflow, 1))
    true = timezone.now
    monkeypatch.setattr(timezone, "now", lambda: true() + 400 * DAY)
    with tenant_scope(tenant):
        assert preview.of(tenant, 30, 0).removed == 1
    assert remove_all(tenant) == 2
    with tenant_scope(tenant):
        assert Seal.objects.get().until == horizon_of(30, true())


def test_other_tenants_keep_theirs(workflow: Workflow) -> None:
    other = workflow_of(make_tenant("other", retention_days=60, retention_minimum=0))
    record(aged(workflow, 40), aged(other, 40))
    assert remove_all(workflow.tenant) == 0
    assert remove_all(other.tenant) == 1
    with tenant_scope(other.tenant):
        assert not RetentionRun.objects.exists()
        assert not Seal.objects.exists()


def test_a_run_goes_in_steps_and_can_be_canceled(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "STEP", 2)
    record(*(aged(workflow, 40 + number) for number in range(5)))
    with tenant_scope(workflow.tenant):
        assert removal.remove_step(workflow.tenant)
        run = RetentionRun.objects.get()
        assert (run.removed, run.expected, run.is_open) == (2, 5, True)
        assert removal.cancel(run, "ada@example.org")
        assert not removal.cancel(run, "ada@example.org")
    assert remove_all(workflow.tenant) == 3
    # The next day's run takes what is left.
    with tenant_scope(workflow.tenant):
        RetentionRun.objects.update(ended_at=days_ago(1))
    assert remove_all(workflow.tenant) == 0


def test_a_run_ends_when_more_is_kept_since(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "STEP", 2)
    record(*(aged(workflow, 40 + number) for number in range(5)), aged(workflow, 70))
    with tenant_scope(workflow.tenant):
        assert removal.remove_step(workflow.tenant)
        Tenant.objects.update(retention_days=60)
        [stored] = record_executions([late(workflow, 50)])
        assert stored.outcome is Outcome.CREATED
        assert not removal.remove_step(workflow.tenant)
        run = RetentionRun.objects.get()
    assert (run.state, run.removed) == ("canceled", 2)
    assert "More is kept" in run.problem
    assert remove_all(workflow.tenant) == 5
    demand_equal_numbers(workflow.tenant)


def test_a_run_leaves_what_is_the_newest_since(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "STEP", 2)
    record(*(aged(workflow, 40 + number) for number in range(5)))
    with tenant_scope(workflow.tenant):
        assert removal.remove_step(workflow.tenant)
    Tenant.objects.update(retention_minimum=2)
    assert remove_all(workflow.tenant) == 2


def test_first_steps_at_once_do_not_meet(workflow: Workflow) -> None:
    record(*(aged(workflow, 40 + number) for number in range(20)))
    start = threading.Barrier(4)

    def step() -> bool:
        try:
            with tenant_scope(workflow.tenant):
                start.wait()
                return removal.remove_step(workflow.tenant)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as others:
        results = [each.result() for each in [others.submit(step) for _ in range(4)]]
    assert any(results)
    assert remove_all(workflow.tenant) == 0
    with tenant_scope(workflow.tenant):
        assert [run.removed for run in RetentionRun.objects.all()] == [20]


def test_a_step_is_bounded_by_nodes(workflow: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(removal, "STEP_NODES", 3)
    record(*(aged(workflow, 40 + number) for number in range(3)))
    with tenant_scope(workflow.tenant):
        removal.remove_step(workflow.tenant)
        assert Execution.objects.count() == 1
    assert remove_all(workflow.tenant) == 0


def test_ranges_that_cut_a_sealed_bucket_say_so(workflow: Workflow) -> None:
    began = floor_to(days_ago(40), DAY) + dt.timedelta(hours=3)
    record(*(message(workflow, began + dt.timedelta(minutes=n)) for n in range(5)))
    remove_all(workflow.tenant)
    with tenant_scope(workflow.tenant):
        cut = TimeRange(began + dt.timedelta(minutes=2), began + DAY)
        found = totals(of_tenant(workflow.tenant), cut)
    assert (found.total, found.snapped_start) == (5, began)


# --- late messages ------------------------------------------------------------------------------


def late(workflow: Workflow, days: float, *args: Any, **fields: Any) -> ExecutionRecord:
    """A message that comes now about an execution that began so many days ago."""
    one = aged(workflow, days, *args, **fields)
    one.received_at = timezone.now()
    return one


def test_what_is_too_old_and_unknown_is_refused(workflow: Workflow) -> None:
    one, two, three = record_executions(
        [late(workflow, 31.5), late(workflow, 29), late(workflow, 300)]
    )
    assert [one.outcome, two.outcome, three.outcome] == [
        Outcome.REJECTED,
        Outcome.CREATED,
        Outcome.REJECTED,
    ]
    assert one.kind == "too-old"
    assert one.reason is not None
    assert "for 30 days" in one.reason
    with tenant_scope(workflow.tenant):
        assert Execution.objects.count() == ExecutionKey.objects.count() == 1
        assert NodeExecution.objects.count() == 2


def test_a_key_that_was_refused_as_too_old_is_free(workflow: Workflow) -> None:
    old = late(workflow, 40)
    old.external_id, old.idempotency = None, Idempotency(b"d" * 16, b"b" * 16)
    assert record_executions([old])[0].kind == "too-old"
    with tenant_scope(workflow.tenant):
        assert not IdempotencyKey.objects.exists()


def test_what_is_known_is_updated_however_old(workflow: Workflow) -> None:
    record(aged(workflow, 40, Status.RUNNING, duration_ms=None, external_id="known"))
    [result] = record_executions([late(workflow, 40, external_id="known")])
    assert result.outcome is Outcome.UPDATED
    remove_all(workflow.tenant)
    before = all_time(workflow.tenant)
    # Its key is gone with it: now it is as good as unknown.
    [result] = record_executions([late(workflow, 40, external_id="known")])
    assert (result.outcome, result.kind) == (Outcome.REJECTED, "too-old")
    assert all_time(workflow.tenant) == before
    demand_equal_numbers(workflow.tenant)


def test_a_late_message_counts_in_sealed_numbers(workflow: Workflow) -> None:
    tenant = workflow.tenant
    Tenant.objects.filter(pk=tenant.pk).update(retention_minimum=1)
    tenant.refresh_from_db()
    running = {"status": Status.RUNNING, "duration_ms": None}
    record(aged(workflow, 41), aged(workflow, 40, external_id="kept", **running))
    fold_deltas()
    assert remove_all(tenant) == 1
    [result] = record_executions([late(workflow, 40, external_id="kept")])
    assert result.outcome is Outcome.UPDATED
    assert all_time(tenant).count(Status.SUCCESS) == 2
    fold_deltas()
    assert all_time(tenant).count(Status.SUCCESS) == 2
    demand_equal_numbers(tenant)


def test_late_messages_and_a_removal_meet(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "STEP", 5)
    tenant = workflow.tenant
    ids = [f"e{number}" for number in range(150)]
    running = {"status": Status.RUNNING, "duration_ms": None}
    record(
        *(
            aged(workflow, 40 + place / 100, external_id=one, **running)
            for place, one in enumerate(ids)
        )
    )
    results: list[Result] = []

    def send(names: list[str]) -> None:
        for name in names:
            results.extend(record_executions([late(workflow, 40, external_id=name)]))
        connection.close()

    senders = [threading.Thread(target=send, args=(ids[part::3],)) for part in range(3)]
    for sender in senders:
        sender.start()
    assert remove_all(tenant) == 0
    for sender in senders:
        sender.join()
    assert {result.outcome for result in results} <= {Outcome.UPDATED, Outcome.REJECTED}
    assert {result.kind for result in results if result.outcome is Outcome.REJECTED} <= {"too-old"}
    with tenant_scope(tenant):
        assert not Execution.objects.exists()
        assert not NodeExecution.objects.exists()
        assert not ExecutionKey.objects.exists()
    found = all_time(tenant)
    updated = sum(result.outcome is Outcome.UPDATED for result in results)
    assert (found.total, found.count(Status.SUCCESS)) == (150, updated)
    demand_equal_numbers(tenant)
    fold_deltas()
    demand_equal_numbers(tenant)


told = st.tuples(
    st.just("message"),
    st.integers(0, 4),
    st.integers(0, 60),
    st.sampled_from(Status),
    st.one_of(st.none(), st.integers(0, 5_000)),
)
actions = st.one_of(
    told,
    st.tuples(st.just("delete"), st.integers(0, 4)),
    st.tuples(st.just("keep"), st.integers(1, 60), st.integers(0, 3)),
    st.just(("fold",)),
)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(story=st.lists(actions, min_size=2, max_size=12))
def test_numbers_stay_right_whatever_is_told_deleted_and_removed(
    db: None, story: list[tuple[Any, ...]]
) -> None:
    workflow = workflow_of(make_tenant(retention_days=61, retention_minimum=0))
    tenant = workflow.tenant
    for action, *values in story:
        if action == "message":
            number, days, status, duration = values
            one = late(workflow, days, status, duration, external_id=f"e{number}")
            [result] = record_executions([one])
            assert result.id or result.kind == "too-old"
        elif action == "delete":
            with tenant_scope(tenant):
                found = Execution.objects.filter(external_id=f"e{values[0]}")
                delete_executions(tenant.pk, list(found.values_list("id", flat=True)))
        elif action == "keep":
            before = all_time(tenant)
            tenant.retention_days, tenant.retention_minimum = values
            tenant.save()
            remove_all(tenant)
            assert all_time(tenant) == before
        else:
            fold_deltas(limit=1)
        demand_equal_numbers(tenant)
    while fold_deltas():
        pass
    demand_equal_numbers(tenant)


# --- when ---------------------------------------------------------------------------------------


def test_turns_are_spread_over_the_day() -> None:
    now = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    turns = [next_turn(number, now) for number in range(1, 500)]
    assert all(now < turn <= now + DAY for turn in turns)
    hours = {turn.hour for turn in turns}
    assert len(hours) >= 22
    assert max(sum(turn.hour == hour for turn in turns) for hour in hours) < 60
    assert next_turn(7, next_turn(7, now)) == next_turn(7, now) + DAY


def test_the_horizon_cuts_no_day() -> None:
    now = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    assert horizon_of(1, now) == dt.datetime(2026, 2, 28, tzinfo=dt.UTC)


# --- preview ------------------------------------------------------------------------------------


def test_a_preview_tells_what_would_go(workflow: Workflow) -> None:
    tenant = workflow.tenant
    record(*(aged(workflow, 40 + number) for number in range(5)), aged(workflow, 2))
    with tenant_scope(tenant):
        found = preview.of(tenant, 30, 0)
        assert (found.removed, found.kept, found.is_least) == (5, 1, False)
        assert 5 * 1_000 < found.bytes < 5 * 5_000
        assert preview.of(tenant, 30, 3).removed == 3
        assert preview.of(tenant, 60, 0).removed == 0
        remove_all(tenant)
        # What is gone already is neither removed again nor kept.
        found = preview.of(tenant, 1, 0)
        assert (found.removed, found.kept) == (1, 0)
        assert preview.of(tenant, 3_650, 0).kept == 1


def test_sizes_are_of_the_whole_past(workflow: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preview, "_SAMPLE", 10)
    large = [aged(workflow, 60 + number, Status.FAILED) for number in range(10)]
    for one in large:
        one.error_message = "".join(map(str, range(4_000)))
    record(*large, *(aged(workflow, 40 + number / 10) for number in range(10)))
    with tenant_scope(workflow.tenant):
        told = preview.of(workflow.tenant, 30, 0).bytes
        remove_all(workflow.tenant)
        taken = RetentionRun.objects.get().bytes
    assert taken / 2 < told < taken * 2


def test_what_a_run_expects_is_left_open_where_it_is_not_counted(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preview, "MOST_COUNTED", 3)
    monkeypatch.setattr(removal, "STEP", 2)
    record(*(aged(workflow, 40 + number) for number in range(7)))
    with tenant_scope(workflow.tenant):
        assert removal.remove_step(workflow.tenant)
        run = RetentionRun.objects.get()
        assert run.expected == 7, "it was counted before the seal"
        removal.cancel(run, "ada@example.org")
        RetentionRun.objects.update(ended_at=days_ago(1))
        assert removal.remove_step(workflow.tenant)
        assert RetentionRun.objects.all()[0].expected is None, "five are left, three were counted"


def test_the_command_tells_and_removes(workflow: Workflow, monkeypatch: pytest.MonkeyPatch) -> None:
    # Weeks that go in a test of committed data are gone for the tests after it.
    monkeypatch.setattr(weeks, "drop_step", lambda: False)
    record(aged(workflow, 40), aged(workflow, 2))
    out = StringIO()
    call_command("run_retention", "acme", "--dry-run", stdout=out)
    assert "about 1 executions" in out.getvalue()
    with tenant_scope(workflow.tenant):
        assert Execution.objects.count() == 2
    call_command("run_retention", stdout=out)
    assert "acme: 1 executions" in out.getvalue()
    with tenant_scope(workflow.tenant):
        assert Execution.objects.count() == 1
    with pytest.raises(CommandError, match="no tenant 'other'"):
        call_command("run_retention", "other")


def test_who_stops_the_command_is_told_how_far_it_came(
    workflow: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(removal, "STEP", 2)
    record(*(aged(workflow, 40 + number) for number in range(5)))
    left = [removal.remove_step]

    def step(tenant: Tenant) -> bool:
        if not left:
            raise KeyboardInterrupt
        return left.pop()(tenant)

    monkeypatch.setattr(run_retention, "remove_step", step)
    with pytest.raises(CommandError, match="2 executions of acme are removed") as told:
        call_command("run_retention", "acme", stdout=StringIO())
    assert told.value.returncode == 130


def test_a_run_says_in_the_log_that_it_begins_and_ends(
    workflow: Workflow, caplog: pytest.LogCaptureFixture
) -> None:
    record(aged(workflow, 40))
    with caplog.at_level("INFO", removal.__name__):
        remove_all(workflow.tenant)
    said = [each.message for each in caplog.records if each.name == removal.__name__]
    assert said == ["removal begins", "removal done"]
