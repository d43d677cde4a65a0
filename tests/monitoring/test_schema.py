"""What senders may send: spellings, limits, errors at their place, marks where something was cut."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
from typing import Any

import msgspec
import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from monitoring.providers.n8n import error_workflow
from monitoring.recording import schema
from monitoring.recording.record import ExecutionRecord
from monitoring.words import Status

NOW = dt.datetime(2026, 11, 21, 12, 0, tzinfo=dt.UTC)
SOURCE = schema.Source(
    tenant_id=1, received_at=NOW, default_environment_id=7, known_environments=frozenset({7, 8})
)


def full(**fields: Any) -> ExecutionRecord:
    told = {"id": "e1", "workflowId": "w1", "status": "success", **fields}
    body = json.dumps(told).encode()
    return schema.full_execution(schema.decode(body), body, SOURCE)


def refused(**fields: Any) -> dict[str, str]:
    with pytest.raises(schema.InvalidMessage) as caught:
        full(**fields)
    return {error.loc: error.msg for error in caught.value.errors}


def test_both_spellings_mean_the_same() -> None:
    camel = full(
        workflowName="Sync",
        startedAt="2026-11-20T09:00:00Z",
        nodeExecutions=[{"nodeId": "n", "status": "ok"}],
    )
    snake = full(
        workflow_name="Sync",
        started_at="2026-11-20T09:00:00Z",
        node_executions=[{"node_id": "n", "status": "ok"}],
    )
    camel.order_key = snake.order_key = b""
    assert camel == snake


@pytest.mark.parametrize(
    ("word", "status"),
    [("error", Status.FAILED), ("Completed", Status.SUCCESS), ("in-progress", Status.RUNNING),
     ("cancelled", Status.CANCELED), ("crashed", Status.FAILED), ("new", Status.PENDING),
     ("waiting", Status.WAITING), ("partial", Status.PARTIAL)],
)  # fmt: skip
def test_providers_words_map_in_one_table(word: str, status: Status) -> None:
    assert full(status=word).status is status


@pytest.mark.parametrize(
    ("fields", "loc"),
    [
        ({"status": "done-ish"}, "status"),
        ({"status": 7}, "status"),
        ({"status": None}, "status"),
        ({"workflowId": ""}, "workflowId"),
        ({"workflowId": {"a": 1}}, "workflowId"),
        ({"workflowName": "x" * 256}, "workflowName"),
        ({"id": ["e"]}, "id"),
        ({"startedAt": "yesterday"}, "startedAt"),
        ({"startedAt": 1_700_000_000}, "startedAt"),
        ({"startedAt": "1999-12-31T23:59:59Z"}, "startedAt"),
        ({"completedAt": "2026-11-22T12:00:01Z"}, "completedAt"),
        ({"startedAt": "9999-12-31T23:59:59-14:00"}, "startedAt"),
        ({"durationMs": -1}, "durationMs"),
        ({"durationMs": "5"}, "durationMs"),
        ({"durationMs": 10**30}, "durationMs"),
        ({"durationMs": 40 * 366 * 86_400_000}, "durationMs"),
        ({"attempt": 2**31}, "attempt"),
        ({"attempt": True}, "attempt"),
        ({"heartbeatSeconds": 4}, "heartbeatSeconds"),
        ({"tags": "a,b"}, "tags"),
        ({"tags": ["x" * 256]}, "tags"),
        ({"keys": {"order": 7}}, "keys"),
        ({"trigger": "schedule"}, "trigger"),
        ({"parent": []}, "parent"),
        ({"error": 5}, "error"),
        ({"nodeExecutions": {}}, "nodeExecutions"),
        ({"nodeExecutions": ["n"]}, "nodeExecutions.0"),
        ({"nodeExecutions": [{"status": "ok"}]}, "nodeExecutions.0.nodeId"),
        ({"nodeExecutions": [{"nodeId": "n", "status": "?"}]}, "nodeExecutions.0.status"),
        (
            {"nodeExecutions": [{"nodeId": "n", "status": "ok", "runIndex": -1}]},
            "nodeExecutions.0.runIndex",
        ),
        ({"environment_id": 99}, "environmentId"),
        ({"environment_id": "7"}, "environmentId"),
    ],
)
def test_what_breaks_the_schema_is_named_at_its_place(fields: dict[str, Any], loc: str) -> None:
    assert loc in refused(**fields)


@pytest.mark.parametrize("field", ["message", "stack"])
def test_an_error_that_is_no_text_loses_its_secrets_by_their_keys(field: str) -> None:
    said = {"config": {"passphrase": "hunter2222", "headers": [["Authorization", "hunter2222"]]}}
    record = full(
        error={field: said}, nodeExecutions=[{"nodeId": "n", "status": "ok", "error": said}]
    )
    assert "hunter2222" not in str(record)
    assert '"passphrase":"[scrubbed:' in str(record.error_message or record.error_stack)


@pytest.mark.parametrize("field", ["message", "stack"])
@pytest.mark.parametrize("depth", [65, 900])
def test_an_error_that_is_nested_too_deep_is_refused(field: str, depth: int) -> None:
    value: Any = "x"
    for _ in range(depth):
        value = [value]
    assert "nested deeper" in "".join(refused(error={field: value}).values())


def test_an_error_workflows_message_that_is_no_text_loses_its_secrets() -> None:
    told = {
        "execution": {"id": "1", "error": {"message": {"token": "hunter2222"}}, "mode": "webhook"},
        "workflow": {"id": "w"},
    }
    body = json.dumps(told).encode()
    record = error_workflow.execution_of(schema.decode(body), body, SOURCE)
    assert "hunter2222" not in str(record)


def test_all_errors_are_said_at_once() -> None:
    assert set(refused(status="?", startedAt="?", durationMs=-1)) == {
        "status",
        "startedAt",
        "durationMs",
    }


def test_naming_a_run_twice_is_refused() -> None:
    node = {"nodeId": "n", "runIndex": 0, "status": "ok"}
    assert "twice" in refused(nodeExecutions=[node, node])["nodeExecutions"]


def test_too_many_nodes_are_refused() -> None:
    nodes = [{"nodeId": str(number), "status": "ok"} for number in range(settings.LIMITS.nodes + 1)]
    assert "nodeExecutions" in refused(nodeExecutions=nodes)


def test_too_deep_is_refused_wherever_it_stands() -> None:
    deep: Any = "x"
    for _ in range(settings.LIMITS.depth + 1):
        deep = [deep]
    assert (
        "nested deeper"
        in refused(nodeExecutions=[{"nodeId": "n", "status": "ok", "input": deep}])[
            "nodeExecutions.0.input"
        ]
    )
    assert refused(something=deep)
    with pytest.raises(schema.InvalidMessage):
        schema.decode(b"[" * 100_000)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"{'a': 1}", b"\xff\xfe{}", b'{"a": NaN}', b"nope", b'{"a": "\x00"}']
)
def test_what_is_no_json_is_said(body: bytes) -> None:
    with pytest.raises(schema.NotJson):
        schema.decode(body)


def test_nul_and_lone_surrogates_become_replacement_characters() -> None:
    told = schema.decode(
        rb'{"a": "x\u0000y", "b": "\ud800", "c": "\udc00\ud800", "d": "\ud83d\ude00", "e": "\\u0000"}'
    )
    assert told == {"a": "x\ufffdy", "b": "\ufffd", "c": "\ufffd\ufffd", "d": "😀", "e": "\\u0000"}


@given(st.text())
def test_every_text_comes_through_as_postgresql_can_hold_it(text: str) -> None:
    told = schema.decode(json.dumps({"a": text}).encode())["a"]
    assert told == text.replace("\x00", "\ufffd")


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    try:
        told = schema.decode(body)
        schema.full_execution(told, body, SOURCE)
    except (schema.NotJson, schema.InvalidMessage):
        return
    raise AssertionError("random bytes are no execution")


def test_long_texts_are_cut_with_a_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        settings, "LIMITS", dataclasses.replace(settings.LIMITS, error_message_bytes=10)
    )
    record = full(status="error", error={"message": "é" * 20})
    assert record.error_message == "é" * 5 + "… [cut: 30 more bytes]"
    assert record.truncated


def test_large_data_is_replaced_by_a_mark_with_its_beginning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        settings, "LIMITS", dataclasses.replace(settings.LIMITS, node_data_bytes=20)
    )
    (node,) = full(nodeExecutions=[{"nodeId": "n", "status": "ok", "output": "y" * 100}]).nodes
    assert node.output is not None
    assert msgspec.json.decode(node.output) == {
        "__truncated__": {"bytes": 102, "kept": 20, "text": '"' + "y" * 19}
    }


def test_ids_that_look_like_card_numbers_stay_distinct() -> None:
    """Found by attack: scrubbed ids became equal marks, and two executions became one."""
    record = full(id="4111111111111111", workflowId="4000000000001653", nodeExecutions=[
        {"nodeId": "5555555555554444", "nodeName": "card 4111111111111111", "status": "ok"}
    ])  # fmt: skip
    assert (record.external_id, record.workflow_external_id) == (
        "4111111111111111",
        "4000000000001653",
    )
    assert record.nodes[0].node_id == "5555555555554444"
    assert "4111" not in (record.nodes[0].name or "")


def test_unknown_fields_are_kept() -> None:
    record = full(weather="rain", nodeExecutions=[{"nodeId": "n", "status": "ok", "colour": "red"}])
    assert record.raw_log == b'{"weather":"rain"}'
    assert record.nodes[0].extra == b'{"colour":"red"}'


def test_naive_times_are_utc_and_offsets_are_kept() -> None:
    assert full(startedAt="2026-11-20T09:00:00").started_at == dt.datetime(
        2026, 11, 20, 9, tzinfo=dt.UTC
    )
    assert full(startedAt="2026-11-20T09:00:00+05:30").started_at == dt.datetime(
        2026, 11, 20, 3, 30, tzinfo=dt.UTC
    )


def test_a_short_log_is_one_finished_execution_with_its_failed_action() -> None:
    told = {"status": "failed", "workflowName": "My Workflow", "failedActionId": "abc123",
            "failedActionName": "Send Email",
            "errorMessage": "API key invalid", "executionTimeMs": 1234, "contact": {"id": 9}}  # fmt: skip
    body = json.dumps(told).encode()
    record = schema.short_log(told, body, SOURCE, workflow_id="wf/1")
    assert (record.workflow_external_id, record.status, record.duration_ms) == (
        "wf/1",
        Status.FAILED,
        1234,
    )
    (node,) = record.nodes
    assert (node.node_id, node.name, node.status, node.error_message) == (
        "abc123",
        "Send Email",
        Status.FAILED,
        "API key invalid",
    )
    assert record.raw_log == b'{"contact":{"id":9}}'


def test_a_short_log_is_never_running() -> None:
    with pytest.raises(schema.InvalidMessage):
        schema.short_log({"status": "running"}, b"{}", SOURCE, workflow_id="w")


def test_a_token_bound_to_an_environment_decides() -> None:
    bound = dataclasses.replace(SOURCE, environment_id=8)
    told = {"workflowId": "w", "status": "ok", "environmentId": 7}
    assert schema.full_execution(told, b"{}", bound).environment_id == 8
    assert schema.full_execution(told, b"{}", SOURCE).environment_id == 7
    assert full().environment_id == 7


def test_an_n8n_code_nodes_message_is_taken_whole_from_the_stack() -> None:
    told = {
        "execution": {
            "id": "9", "mode": "webhook", "lastNodeExecuted": "Validate",
            "error": {"message": "00Z [line 6]",
                      "stack": "Error: Customer 48213 rejected at 2026-11-02T10:15:00Z\n at x"},
        },
        "workflow": {"id": "1", "name": "Intake"},
    }  # fmt: skip
    record = error_workflow.execution_of(told, b"{}", SOURCE)
    assert record.error_message == "Customer 48213 rejected at 2026-11-02T10:15:00Z"
    assert (record.nodes[0].node_id, record.trigger_type, record.external_id) == (
        "Validate",
        "webhook",
        "9",
    )


def test_an_n8n_trigger_that_failed_is_an_execution_without_id() -> None:
    told = {
        "trigger": {"error": {"message": "no connection"}, "mode": "trigger"},
        "workflow": {"id": "1", "name": "Intake"},
    }
    record = error_workflow.execution_of(told, b"{}", SOURCE)
    assert (record.external_id, record.status, record.error_message) == (
        None,
        Status.FAILED,
        "no connection",
    )


@pytest.mark.parametrize(
    "told", [[], {}, {"execution": 5}, {"execution": {"id": "1"}}, {"execution": {"error": []}}]
)
def test_what_is_no_error_workflows_call_is_refused(told: Any) -> None:
    with pytest.raises(schema.InvalidMessage):
        error_workflow.execution_of(told, b"{}", SOURCE)
