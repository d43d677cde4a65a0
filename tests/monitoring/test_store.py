"""What becomes of records: outcomes, completion, keys, workflows, events, refusals, deletion."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any

import msgspec
import pytest
from django.db import connection

from monitoring import deletion
from monitoring.ids import new_id, time_of
from monitoring.models import (
    ErrorGroup,
    Event,
    Execution,
    ExecutionKey,
    IdempotencyKey,
    NodeExecution,
    RollupDelta,
    Workflow,
)
from monitoring.recording import merge, payload, schema
from monitoring.recording.environments import source_for
from monitoring.recording.order import body_hash
from monitoring.recording.payload import json_of
from monitoring.recording.record import ExecutionRecord, Idempotency, Outcome, Result
from monitoring.recording.store import Entry, Verdict, judge, record_executions
from monitoring.words import ErrorClass, Severity, Status
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests.monitoring.factories import make_tenant

pytestmark = [pytest.mark.django_db, pytest.mark.store]
START = "2026-11-20T09:12:04+00:00"
END = "2026-11-20T09:12:34+00:00"


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant()


def message(**fields: Any) -> dict[str, Any]:
    return {
        "id": "e1",
        "workflowId": "w1",
        "workflowName": "Invoice sync",
        "status": "success",
        "startedAt": START,
        "completedAt": END,
        **fields,
    }


def record(tenant: Tenant, told: dict[str, Any], **changes: Any) -> ExecutionRecord:
    body = msgspec.json.encode(told)
    made = schema.full_execution(schema.decode(body), body, source_for(tenant.pk))
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def store(tenant: Tenant, *told: dict[str, Any]) -> list[Result]:
    return record_executions([record(tenant, one) for one in told])


def outcomes(results: list[Result]) -> list[str]:
    return [result.outcome.value for result in results]


def only_execution(tenant: Tenant) -> Execution:
    with tenant_scope(tenant):
        return Execution.objects.select_related("workflow").get()


def counted(tenant: Tenant, status: Status) -> int:
    """What the unfolded deltas of this test count."""
    with tenant_scope(tenant):
        return sum(delta.counts[status] for delta in RollupDelta.objects.all())


def test_a_new_execution_is_created_then_known_then_updated(tenant: Tenant) -> None:
    assert outcomes(store(tenant, message(status="running", completedAt=None))) == ["created"]
    assert outcomes(store(tenant, message(status="running", completedAt=None))) == ["unchanged"]
    assert outcomes(store(tenant, message())) == ["updated"]
    execution = only_execution(tenant)
    assert (execution.state, execution.duration_ms) == (Status.SUCCESS, 30_000)
    assert counted(tenant, Status.SUCCESS) == 1
    assert counted(tenant, Status.RUNNING) == 0, "what the first message counted was taken back"


def test_the_same_id_several_times_in_one_chunk_is_one_execution(tenant: Tenant) -> None:
    results = store(tenant, message(status="running"), message(), message())
    assert outcomes(results) == ["created", "updated", "unchanged"]
    assert len({result.id for result in results}) == 1
    assert counted(tenant, Status.SUCCESS) == 1


def test_our_id_carries_the_first_known_start_and_never_changes(tenant: Tenant) -> None:
    (first,) = store(tenant, message(startedAt="2026-11-20T09:00:00Z", status="running"))
    store(tenant, message(startedAt="2026-11-20T09:30:00Z", completedAt="2026-11-20T09:31:00Z"))
    execution = only_execution(tenant)
    assert execution.pk == first.id
    assert time_of(execution.pk) == dt.datetime(2026, 11, 20, 9, 0, tzinfo=dt.UTC)
    assert execution.started_at == dt.datetime(2026, 11, 20, 9, 30, tzinfo=dt.UTC), (
        "what was said last is shown"
    )


def test_without_a_start_the_time_is_receiving_less_duration(tenant: Tenant) -> None:
    received = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)
    made = record(
        tenant, message(startedAt=None, completedAt=None, durationMs=60_000), received_at=received
    )
    (result,) = record_executions([made])
    assert result.id is not None
    assert time_of(result.id) == received - dt.timedelta(minutes=1)


def test_no_id_is_always_a_new_execution(tenant: Tenant) -> None:
    assert outcomes(store(tenant, message(id=None), message(id=None))) == ["created", "created"]
    with tenant_scope(tenant):
        assert Execution.objects.count() == 2
        assert ExecutionKey.objects.count() == 0


def test_richer_data_completes_poorer(tenant: Tenant) -> None:
    store(
        tenant,
        message(
            nodeExecutions=[{"nodeId": "n1", "runIndex": 0, "status": "success", "output": [1, 2]}]
        ),
    )
    poorer = message(
        nodeExecutions=[
            {
                "nodeId": "n1",
                "runIndex": 0,
                "status": "success",
                "nodeName": "Fetch",
                "input": {"a": 1},
            }
        ]
    )
    store(tenant, poorer)
    with tenant_scope(tenant):
        node = NodeExecution.objects.get()
        kept = payload.unpack(Execution.objects.get().payload).node("n1", 0)
    assert (node.name, node.input_items, node.output_items) == ("Fetch", 1, 2)
    assert (json_of(kept.input), json_of(kept.output)) == (b'{"a":1}', b"[1,2]")


def test_runs_of_a_node_are_told_apart_by_their_order(tenant: Tenant) -> None:
    nodes = [{"nodeId": "loop", "status": "success", "output": {"turn": turn}} for turn in range(3)]
    store(tenant, message(nodeExecutions=nodes))
    with tenant_scope(tenant):
        assert list(
            NodeExecution.objects.order_by("run_index").values_list("run_index", flat=True)
        ) == [0, 1, 2]
        assert Execution.objects.get().node_count == 3


def test_a_failure_names_its_node_class_severity_and_group(tenant: Tenant) -> None:
    failed = {
        "nodeId": "n2",
        "nodeName": "Charge card",
        "status": "error",
        "error": {"message": "Card declined: 4711"},
    }
    store(
        tenant,
        message(status="error", nodeExecutions=[{"nodeId": "n1", "status": "success"}, failed]),
    )
    execution = only_execution(tenant)
    assert (execution.error_message, execution.error_node_name) == (
        "Card declined: 4711",
        "Charge card",
    )
    assert (execution.error_class, execution.severity) == (ErrorClass.PAYMENT, Severity.CRITICAL)
    with tenant_scope(tenant):
        assert ErrorGroup.objects.get().title == "Card declined: <n>"


def test_a_late_success_after_a_failure_leaves_no_class_behind(tenant: Tenant) -> None:
    store(tenant, message(status="error", error={"message": "timed out"}))
    store(tenant, message(status="success", completedAt="2026-11-20T10:00:00Z"))
    execution = only_execution(tenant)
    assert (execution.state, execution.error_class, execution.fingerprint) == (
        Status.SUCCESS,
        None,
        None,
    )
    with tenant_scope(tenant):
        assert (
            sum(delta.error_classes[ErrorClass.TIMEOUT] for delta in RollupDelta.objects.all()) == 0
        )


def test_a_workflow_is_made_on_first_sight_and_takes_the_newest_name(tenant: Tenant) -> None:
    store(tenant, message(id="a", workflowName=None))
    with tenant_scope(tenant):
        assert Workflow.objects.get().name == "w1", "without a name the id stands in"


def test_one_event_for_each_change_of_status(tenant: Tenant) -> None:
    store(tenant, message(status="running"))
    store(tenant, message(status="running", version="8"))
    store(tenant, message())
    with tenant_scope(tenant):
        told = [
            (event.body["before"], event.body["status"]) for event in Event.objects.order_by("pk")
        ]
    assert told == [(None, "running"), ("running", "success")]


# --- Idempotency-Key ------------------------------------------------------------------------------


def keyed(tenant: Tenant, told: dict[str, Any], key: bytes = b"k" * 16) -> ExecutionRecord:
    return record(tenant, told, idempotency=Idempotency(key, body_hash(msgspec.json.encode(told))))


def test_the_same_key_and_body_is_stored_once(tenant: Tenant) -> None:
    first, second = (record_executions([keyed(tenant, message(id=None))])[0] for _ in range(2))
    assert (first.outcome, second.outcome) == (Outcome.CREATED, Outcome.UNCHANGED)
    assert first.id == second.id


def test_the_same_key_with_another_body_is_refused_and_changes_nothing(tenant: Tenant) -> None:
    record_executions([keyed(tenant, message(id=None))])
    (refused,) = record_executions([keyed(tenant, message(id="other"))])
    assert (refused.outcome, refused.kind) == (Outcome.REJECTED, "key-reused")
    assert only_execution(tenant).external_id is None
    with tenant_scope(tenant):
        assert ExecutionKey.objects.count() == 0, "the refused message's id stays free"
    assert outcomes(store(tenant, message(id="other"))) == ["created"]


def test_a_key_belongs_to_one_tenant(tenant: Tenant) -> None:
    other = make_tenant()
    results = record_executions(
        [keyed(tenant, message(id=None)), keyed(other, message(id=None, version="2"))]
    )
    assert outcomes(results) == ["created", "created"]


def test_a_key_with_an_id_belongs_to_the_execution_of_that_id(tenant: Tenant) -> None:
    (first,) = store(tenant, message())
    (again,) = record_executions([keyed(tenant, message(version="9"))])
    assert again.id == first.id
    with tenant_scope(tenant):
        assert IdempotencyKey.objects.get().execution_id == first.id


def test_of_two_messages_about_one_execution_only_that_with_a_used_key_is_refused(
    tenant: Tenant,
) -> None:
    record_executions([keyed(tenant, message(id="first"))])
    results = record_executions(
        [
            keyed(tenant, message(status="running", completedAt=None), b"n" * 16),
            keyed(tenant, message(version="9")),
            keyed(tenant, message(), b"m" * 16),
        ]
    )
    assert outcomes(results) == ["created", "rejected", "updated"]
    with tenant_scope(tenant):
        stored = Execution.objects.get(external_id="e1")
        assert (stored.status, stored.version) == (Status.SUCCESS, None)


def test_judging_changes_nothing(tenant: Tenant) -> None:
    mine, others = Entry(1, uuid.uuid4()), Entry(1, uuid.uuid4())
    mine.add(0, keyed(tenant, message(id=None)))
    others.add(1, keyed(tenant, message(id="other"), b"u" * 16))
    others.add(2, record(tenant, message(id="other")))
    theirs = uuid.uuid4()
    body = mine.records[0].idempotency
    assert body is not None
    known = {
        (tenant.pk, b"k" * 16): (body.body_digest, theirs),
        (tenant.pk, b"u" * 16): (b"another body", theirs),
    }
    assert judge([mine, others], known) == Verdict([theirs, others.new_id], frozenset({1}))
    assert (mine.owner, len(others.records)) == (mine.new_id, 2)


# --- what the database refuses --------------------------------------------------------------------


def test_one_bad_record_harms_no_other(tenant: Tenant) -> None:
    """A record that passed the door but not the database (here: too large a number)."""
    good = [record(tenant, message(id=f"g{number}")) for number in range(6)]
    bad = record(tenant, message(id="bad"), attempt=2**40)
    results = record_executions([*good[:3], bad, *good[3:]])
    assert outcomes(results) == ["created"] * 3 + ["rejected"] + ["created"] * 3
    assert results[3].reason
    with tenant_scope(tenant):
        assert Execution.objects.count() == 6


def test_too_much_data_for_one_execution_is_rejected_alone(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(payload, "MAX_BYTES", 2_000)
    store(tenant, message(trigger={"data": "x" * 1_500}))
    results = store(tenant, message(id="other"), message(result="y" * 1_500, version="9"))
    assert outcomes(results) == ["created", "rejected"]
    assert "larger than" in (results[1].reason or "")


def test_too_many_nodes_for_one_execution_are_rejected_alone(
    tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    def runs(*numbers: int) -> list[dict[str, Any]]:
        return [{"nodeId": "loop", "runIndex": n, "status": "success"} for n in numbers]

    monkeypatch.setattr(merge, "MOST_NODES", 3)
    store(tenant, message(nodeExecutions=runs(0, 1)))
    results = store(
        tenant,
        message(id="other"),
        message(nodeExecutions=runs(0, 1, 2)),
        message(nodeExecutions=runs(2, 3)),
    )
    assert outcomes(results) == ["created", "updated", "rejected"]
    assert "at most 3 node executions" in (results[2].reason or "")
    with tenant_scope(tenant):
        assert sorted(Execution.objects.values_list("node_count", flat=True)) == [0, 3]


def test_a_damaged_payload_does_not_block_its_execution(tenant: Tenant) -> None:
    (first,) = store(tenant, message(status="running", trigger={"data": {"a": 1}}))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE monitoring_execution SET payload = 'broken' WHERE id = %s", [first.id]
        )
    assert outcomes(store(tenant, message(result={"b": 2}))) == ["updated"]
    kept = payload.unpack(only_execution(tenant).payload)
    assert json_of(kept.result) == b'{"b":2}'


def test_a_key_without_its_execution_is_as_good_as_none(tenant: Tenant) -> None:
    store(tenant, message())
    (first,) = record_executions([keyed(tenant, message(id=None))])
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM monitoring_execution")
    results = record_executions(
        [
            record(tenant, message(version="2")),
            record(tenant, message(id="b")),
            keyed(tenant, message(id=None)),
        ]
    )
    assert outcomes(results) == ["created"] * 3
    assert results[2].id != first.id
    with tenant_scope(tenant):
        ids = {each.id for each in results}
        assert set(Execution.objects.values_list("id", flat=True)) == ids
        for keys in (ExecutionKey.objects.all(), IdempotencyKey.objects.all()):
            assert set(keys.values_list("execution_id", flat=True)) <= ids


def test_a_key_without_its_execution_can_be_refused_as_too_old(tenant: Tenant) -> None:
    old = message(startedAt="2020-01-01T00:00:00Z", completedAt=None)
    Tenant.objects.update(retention_days=3_650)
    assert outcomes(store(tenant, old)) == ["created"]
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM monitoring_execution")
    Tenant.objects.update(retention_days=90)
    assert [each.kind for each in store(tenant, old)] == ["too-old"]


def test_times_of_every_age_find_a_partition() -> None:
    tenant = make_tenant(retention_days=3_650)
    ages = [
        "2017-01-01T00:00:00Z",
        "2023-07-01T00:00:00Z",
        "2026-11-16T00:00:00Z",
        "2026-11-15T23:59:59.999Z",
    ]
    results = store(
        tenant, *(message(id=age, startedAt=age, completedAt=None, durationMs=1) for age in ages)
    )
    assert outcomes(results) == ["created"] * len(ages)
    with connection.cursor() as cursor:
        cursor.execute("SELECT flowwatch_ensure_partitions(now() + interval '60 days')")
        assert cursor.fetchone() == (0,), "all partitions 60 days ahead exist already"


def test_ids_sort_by_time() -> None:
    ids = [new_id(milliseconds) for milliseconds in (0, 1, 1_700_000_000_000, 1_700_000_000_001)]
    assert ids == sorted(ids)
    assert all(made.version == 7 and made.variant == uuid.RFC_4122 for made in ids)


# --- deleting -------------------------------------------------------------------------------------


def test_deleting_takes_everything_and_its_numbers(tenant: Tenant) -> None:
    results = store(
        tenant,
        message(id="a", nodeExecutions=[{"nodeId": "n", "status": "success"}]),
        message(
            id="b", status="error", error={"message": "boom"}, startedAt="2026-11-20T08:00:00Z"
        ),
    )
    assert results[0].id is not None
    assert deletion.delete_executions(tenant.pk, [results[0].id, uuid.uuid4()]) == 1
    assert only_execution(tenant).external_id == "b"
    with tenant_scope(tenant):
        assert NodeExecution.objects.count() == 0
        assert list(ExecutionKey.objects.values_list("external_id", flat=True)) == ["b"]
        assert Workflow.objects.get().last_executed_at == dt.datetime(
            2026, 11, 20, 8, 0, tzinfo=dt.UTC
        )
    assert (counted(tenant, Status.SUCCESS), counted(tenant, Status.FAILED)) == (0, 1)


def test_a_foreign_execution_is_not_deleted(tenant: Tenant) -> None:
    other = make_tenant()
    (result,) = store(other, message())
    assert result.id is not None
    assert deletion.delete_executions(tenant.pk, [result.id]) == 0
    assert only_execution(other).pk == result.id


def test_what_was_deleted_may_come_again(tenant: Tenant) -> None:
    (first,) = store(tenant, message())
    assert first.id is not None
    deletion.delete_executions(tenant.pk, [first.id])
    (again,) = store(tenant, message())
    assert again.outcome is Outcome.CREATED
    assert counted(tenant, Status.SUCCESS) == 1


def test_clearing_a_workflow_goes_in_steps_and_leaves_the_others(tenant: Tenant) -> None:
    store(
        tenant, *(message(id=f"e{number}") for number in range(5)), message(id="x", workflowId="w2")
    )
    with tenant_scope(tenant):
        workflow = Workflow.objects.get(external_id="w1")
    steps = [deletion.clear_workflow_step(workflow, limit=2) for _ in range(4)]
    assert steps == [2, 2, 1, 0]
    assert only_execution(tenant).external_id == "x"


def test_a_tenants_data_is_deleted_in_bounded_steps_and_no_other_tenants(tenant: Tenant) -> None:
    other = make_tenant()
    store(tenant, message())
    store(other, message())
    while deletion.delete_tenant_step(tenant):
        pass
    with tenant_scope(tenant):
        assert not Execution.objects.exists()
        assert not Workflow.objects.exists()
    assert only_execution(other).external_id == "e1"
