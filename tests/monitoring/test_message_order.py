"""Messages may come late, twice, in parts and in any order: the end is always the same."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from django.conf import settings
from django.db import connection
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from monitoring.metrics.rollups import fold_deltas
from monitoring.metrics.verification import verify
from monitoring.models import Workflow
from monitoring.recording import order, schema
from monitoring.recording.environments import source_for
from monitoring.recording.payload import json_of, unpack
from monitoring.recording.record import ExecutionRecord
from monitoring.recording.store import record_executions
from tenants.models import Tenant
from tenants.scoping import tenant_scope

# Verification reads snapshots of its own, so what is delivered has to be committed.
pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.store]

_numbers = itertools.count()
START = dt.datetime(2026, 11, 20, 8, 58, tzinfo=dt.UTC)


def _maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


_minutes = st.integers(0, 6).map(lambda n: (START + dt.timedelta(minutes=n)).isoformat())
_words = st.sampled_from(["Fetch", "Map", "Send"])
_data = _maybe(
    st.sampled_from(
        [{"a": 1}, [1, 2, 3], "x" * 200, {"token": "s3cret-value"}, [{"long": "y" * 300}]]
    )
)
_error = _maybe(
    st.fixed_dictionaries(
        {
            "message": st.sampled_from(
                ["Connection timed out after 30 s", "Card declined", "boom 17"]
            )
        },
        optional={
            "stack": st.just("at line 1"),
            "nodeId": st.sampled_from(["n1", "n2"]),
            "httpCode": st.just("500"),
        },
    )
)
_node = st.fixed_dictionaries(
    {
        "nodeId": st.sampled_from(["n1", "n2", "n3"]),
        "runIndex": st.integers(0, 1),
        "status": st.sampled_from(["running", "success", "error", "skipped"]),
    },
    optional={
        "nodeName": _words,
        "nodeType": _words,
        "startedAt": _minutes,
        "completedAt": _minutes,
        "durationMs": st.integers(0, 5_000),
        "input": _data,
        "output": _data,
        "error": _error,
        "attempt": st.integers(0, 2),
    },
)
_message: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "id": st.sampled_from(["a", "b"]),
        "workflowId": st.sampled_from(["w1", "w2"]),
        "status": st.sampled_from(
            ["running", "waiting", "success", "error", "partial", "canceled"]
        ),
        "nodeExecutions": st.lists(
            _node, max_size=3, unique_by=lambda node: (node["nodeId"], node["runIndex"])
        ),
    },
    optional={
        "workflowName": _words,
        "startedAt": _minutes,
        "completedAt": _minutes,
        "updatedAt": _minutes,
        "durationMs": st.integers(0, 500_000),
        "trigger": st.fixed_dictionaries({"type": _words, "data": _data}),
        "error": _error,
        "attempt": st.integers(1, 3),
        "retryOf": st.just("z"),
        "version": st.sampled_from(["7", "8"]),
        "tags": st.lists(_words, max_size=2),
        "keys": st.dictionaries(_words, _words, max_size=2),
        "result": _data,
        "somethingElse": _data,
    },
)
_histories = st.lists(_message, min_size=1, max_size=8)


@pytest.fixture(autouse=True)
def small_payloads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make some of the generated payloads too big, so that whole ones must beat truncated ones."""
    monkeypatch.setattr(
        settings, "LIMITS", dataclasses.replace(settings.LIMITS, node_data_bytes=250)
    )


def _tenant() -> Tenant:
    number = next(_numbers)
    return Tenant.objects.create(name=f"Order {number}", slug=f"order-{number}")


def _deliver(tenant: Tenant, chunks: list[list[dict[str, Any]]]) -> None:
    for chunk in chunks:
        results = record_executions([_record(tenant, message) for message in chunk])
        assert {result.outcome.value for result in results} <= {"created", "updated", "unchanged"}


def _record(tenant: Tenant, message: dict[str, Any]) -> ExecutionRecord:
    body = msgspec.json.encode(message)
    return schema.full_execution(schema.decode(body), body, source_for(tenant.pk))


def _rows(statement: str, tenant: Tenant) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, [tenant.pk])
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def _payload(packed: Any) -> dict[str, Any]:
    payload = unpack(packed)
    return {
        "execution": (
            *(
                json_of(getattr(payload, name))
                for name in ("trigger_data", "raw_log", "result", "error_details")
            ),
            payload.error_stack,
        ),
        "nodes": {
            key: (
                *(json_of(getattr(node, name)) for name in ("input", "output", "error_details")),
                node.error_stack,
            )
            for key, node in sorted(payload.nodes.items())
        },
    }


def _state(tenant: Tenant) -> dict[str, Any]:
    """Everything that must not depend on the order: no ids of ours, no receive times, no buckets."""
    executions = _rows(
        """SELECT w.external_id, e.external_id, e.status, e.started_at, e.completed_at, e.updated_at,
               e.duration_ms, e.trigger_type, e.attempt, e.retry_of, e.version, e.tags, e.keys,
               e.error_message, e.error_node_id, e.error_node_name, e.error_class, e.severity,
               e.fingerprint, e.node_count, e.node_done_count, e.order_keys, e.payload
           FROM monitoring_execution e JOIN monitoring_workflow w ON w.id = e.workflow_id
           WHERE e.tenant_id = %s ORDER BY 1, 2""",
        tenant,
    )
    nodes = _rows(
        """SELECT w.external_id, e.external_id, n.node_id, n.run_index, n.status, n.position, n.name, n.type,
               n.started_at, n.completed_at, n.duration_ms, n.attempt, n.error_message, n.input_bytes,
               n.output_bytes, n.input_items, n.output_items, n.order_keys
           FROM monitoring_nodeexecution n
           JOIN monitoring_execution e ON e.id = n.execution_id
           JOIN monitoring_workflow w ON w.id = e.workflow_id
           WHERE n.tenant_id = %s ORDER BY 1, 2, 3, 4""",
        tenant,
    )
    return {
        "executions": [(*map(_plain, row[:-1]), _payload(row[-1])) for row in executions],
        "nodes": [tuple(map(_plain, row)) for row in nodes],
        "sums": _sums(tenant),
        "workflows": _workflows(tenant),
        "groups": _rows(
            "SELECT title FROM monitoring_errorgroup WHERE tenant_id = %s ORDER BY 1", tenant
        )[-0:],
    }


def _sums(tenant: Tenant) -> list[tuple[Any, ...]]:
    """Counters of each subject summed over all buckets of each level."""
    rows = _rows(
        """SELECT r.subject_kind, coalesce(w.external_id, ''), r.level, r.counts, r.duration_sums,
               r.duration_counts, r.error_classes
           FROM monitoring_rollup r
           LEFT JOIN monitoring_workflow w ON r.subject_kind = 2 AND w.id = r.subject_id
           WHERE r.tenant_id = %s""",
        tenant,
    )
    sums: dict[tuple[Any, ...], list[int]] = {}
    for kind, name, level, *arrays in rows:
        flat = [number for array in arrays for number in array]
        known = sums.setdefault((kind, name, level), [0] * len(flat))
        sums[kind, name, level] = [a + b for a, b in zip(known, flat, strict=True)]
    return sorted((*key, *numbers) for key, numbers in sums.items() if any(numbers))


def _workflows(tenant: Tenant) -> list[tuple[Any, ...]]:
    with tenant_scope(tenant):
        return [
            (
                workflow.external_id,
                workflow.name,
                workflow.execution_count,
                workflow.success_count,
                workflow.failure_count,
                workflow.partial_count,
                int(workflow.duration_sum_ms),
                workflow.duration_count,
            )
            for workflow in Workflow.objects.order_by("external_id")
        ]


def _fold() -> None:
    while fold_deltas():
        continue


def _chunked(messages: list[dict[str, Any]], sizes: Iterator[int]) -> list[list[dict[str, Any]]]:
    chunks, rest = [], list(messages)
    while rest:
        size = next(sizes)
        chunks.append(rest[:size])
        rest = rest[size:]
    return chunks


def _compare(history: list[dict[str, Any]], data: st.DataObject) -> None:
    ordered, shuffled = _tenant(), _tenant()
    _deliver(ordered, [[message] for message in history])
    repeats = data.draw(st.lists(st.sampled_from(history), max_size=4), label="repeats")
    messages = data.draw(st.permutations(history + repeats), label="delivery")
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4), label="chunk sizes")
    _deliver(shuffled, _chunked(messages, itertools.cycle(sizes)))
    _fold()
    for tenant in (ordered, shuffled):
        assert not verify(tenant).differences
    first, second = _state(ordered), _state(shuffled)
    # A group is made for each text that a failure ever had; which texts are seen depends on the order.
    for state in (first, second):
        state.pop("groups")
    for part in first:
        assert second[part] == first[part], part


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(history=_histories, data=st.data())
def test_any_order_and_any_repeats_end_in_the_same_state(
    history: list[dict[str, Any]], data: st.DataObject
) -> None:
    _compare(history, data)


def test_one_order_key_for_a_whole_row_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant: a row that remembers only its newest message forgets who set which field."""

    def take_whole_row(self: order.FieldKeys, newer: order.FieldKeys) -> list[int]:
        newest = max(self._of_field.values(), default=(False, b""))
        won = [
            field
            for field, key in newer._of_field.items()
            if key > newest or field not in self._of_field
        ]
        for key in newer._of_field.values():
            newest = max(newest, key)
        for field in {*self._of_field, *newer._of_field}:
            self._of_field[field] = newest
        return won

    monkeypatch.setattr(order.FieldKeys, "take", take_whole_row)

    # The first difference is enough: no need to find the smallest one.
    @hypothesis_settings(max_examples=200, deadline=None, database=None, phases=[Phase.generate])
    @given(history=_histories, data=st.data())
    def property_of_the_mutant(history: list[dict[str, Any]], data: st.DataObject) -> None:
        _compare(history, data)

    with pytest.raises(AssertionError):
        property_of_the_mutant()


def test_a_late_running_never_overwrites_success() -> None:
    tenant = _tenant()
    done = {"id": "a", "workflowId": "w", "status": "success", "completedAt": START.isoformat()}
    late = {
        "id": "a",
        "workflowId": "w",
        "status": "running",
        "updatedAt": "2026-11-20T23:00:00Z",
        "version": "9",
    }
    _deliver(tenant, [[done], [late]])
    rows = _rows("SELECT status, version FROM monitoring_execution WHERE tenant_id = %s", tenant)
    assert rows == [(3, "9")], "status stays success (3); what only the late message tells is added"
