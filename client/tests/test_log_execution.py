"""Executions handed over in requirement 002's shape."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowwatch_client.log.document import execution_document
from flowwatch_client.log.incoming import BadExecution, camel
from flowwatch_client.log.log import Log
from flowwatch_client.log.reading import summary
from flowwatch_client.log.times import read_time, stored

WHOLE: dict[str, Any] = {
    "id": "e1",
    "workflowId": "orders",
    "workflowName": "Orders",
    "status": "error",
    "startedAt": "2026-11-21T20:00:00.000000+00:00",
    "completedAt": "2026-11-21T20:00:01.500000+00:00",
    "durationMs": 1500,
    "trigger": {"type": "http", "data": {"order": 4711}},
    "error": {"message": "no", "stack": "Traceback", "nodeId": "send"},
    "attempt": 2,
    "retryOf": "e0",
    "parent": {"executionId": "p", "nodeId": "n"},
    "version": "1.2",
    "tags": ["a"],
    "keys": {"order": "4711"},
    "result": [1],
    "heartbeatSeconds": 60,
    "region": "eu",
    "nodeExecutions": [
        {
            "nodeId": "send",
            "nodeName": "Send",
            "nodeType": "http",
            "status": "error",
            "startedAt": "2026-11-21T20:00:00.000000+00:00",
            "completedAt": "2026-11-21T20:00:01.000000+00:00",
            "durationMs": 1000,
            "input": {"a": 1},
            "output": [2],
            "error": {"message": "no", "stack": "Traceback"},
            "runIndex": 0,
            "attempt": 1,
            "source": {"file": "a.py", "line": 3},
        }
    ],
}


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "executions.db")


def _logged(log: Log, name: str) -> dict[str, Any]:
    found = log.get_execution(name)
    assert found is not None
    return execution_document(*found)


def _snake(value: Any) -> Any:
    if isinstance(value, dict):
        return {_snake_name(key): _snake(each) for key, each in value.items()}
    return [_snake(each) for each in value] if isinstance(value, list) else value


def _snake_name(name: str) -> str:
    return "".join(f"_{each.lower()}" if each.isupper() else each for each in name)


def test_a_whole_execution_comes_back_as_it_was(log: Log) -> None:
    assert log.log_execution(WHOLE) == "e1"
    assert _logged(log, "e1") == WHOLE


def test_snake_case_is_the_same(log: Log) -> None:
    log.log_execution(_snake(WHOLE))
    assert _logged(log, "e1") == WHOLE
    assert camel("node_executions") == "nodeExecutions"


def test_little_is_required(log: Log) -> None:
    name = log.log_execution({"workflowId": 7, "status": "completed"})
    found = _logged(log, name)
    assert (found["workflowId"], found["workflowName"], found["status"]) == ("7", "7", "success")
    assert found["trigger"] == {"type": "manual", "data": None}
    assert read_time(found["startedAt"]) is not None


def test_an_execution_that_goes_on_changes_its_nodes(log: Log) -> None:
    running = {**WHOLE, "status": "running", "completedAt": None, "nodeExecutions": [
        {"nodeId": "read", "status": "success"}, {"nodeId": "send", "status": "running"},
    ]}  # fmt: skip
    log.log_execution(running)
    log.log_execution({**WHOLE, "nodeExecutions": [
        {"nodeId": "read", "status": "success"},
        {"nodeId": "send", "status": "error", "error": "no"},
        {"nodeId": "send", "status": "success"},
    ]})  # fmt: skip
    nodes = _logged(log, "e1")["nodeExecutions"]
    assert [(each["nodeId"], each["runIndex"], each["status"]) for each in nodes] == [
        ("read", 0, "success"), ("send", 0, "error"), ("send", 1, "success"),
    ]  # fmt: skip
    assert nodes[1]["error"] == {"message": "no"}
    assert summary(log).counts.waiting == 7


def test_what_is_not_said_follows_from_the_rest(log: Log) -> None:
    log.log_execution(
        {
            "id": "a",
            "workflowId": "w",
            "status": "success",
            "completedAt": "2026-11-21T20:00:01Z",
            "durationMs": 1000,
        }
    )
    assert _logged(log, "a")["startedAt"] == "2026-11-21T20:00:00.000000+00:00"
    begin = dt.datetime.fromisoformat("2026-11-21T20:00:00")
    log.log_execution(
        {
            "id": "b",
            "workflowId": "w",
            "status": "success",
            "startedAt": begin,
            "completedAt": begin.replace(second=2, tzinfo=dt.timezone.utc),
        }
    )
    assert _logged(log, "b")["durationMs"] == 2_000


def test_secrets_are_not_written(log: Log) -> None:
    secret = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"
    log.log_execution(
        {
            **WHOLE,
            "trigger": {"type": "http", "data": {"password": "hunter2hunter2"}},
            "error": {"message": f"bad key {secret}", "stack": secret},
            "extraField": {"api_key": secret},
            "nodeExecutions": [{"nodeId": "n", "status": "error", "input": secret, "note": secret}],
        }
    )
    log.connection.checkpoint()
    written = log.path.read_bytes() + Path(f"{log.path}-wal").read_bytes()
    assert secret.encode() not in written
    assert b"hunter2hunter2" not in written
    assert b"[scrubbed:" in written


def test_any_value_is_kept_as_json(log: Log) -> None:
    log.log_execution({**WHOLE, "result": {1, 2}, "tags": ("a", "b"), "keys": {"k": dt.date.min}})
    found = _logged(log, "e1")
    assert sorted(found["result"]) == [1, 2]
    assert found["tags"] == ["a", "b"]
    assert found["keys"] == {"k": "0001-01-01"}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"workflowId": None}, "workflowId is required"),
        ({"workflowId": ""}, "workflowId is required"),
        ({"workflowId": ["x"]}, "workflowId must be text, not list"),
        ({"id": "x" * 256}, "id has 256 characters, at most 255 are allowed"),
        ({"status": None}, "status is required"),
        ({"status": "fine"}, "status must be one of"),
        ({"status": ["success"]}, "status must be one of"),
        ({"startedAt": "yesterday"}, "startedAt must be a time of ISO 8601"),
        ({"startedAt": 1_763_000_000}, "startedAt must be a time of ISO 8601"),
        ({"durationMs": "5"}, "durationMs must be a number, not str"),
        ({"durationMs": -5}, "durationMs must be milliseconds from 0 on"),
        ({"durationMs": float("nan")}, "durationMs must be milliseconds from 0 on"),
        ({"durationMs": 1e15, "startedAt": None}, "durationMs would begin before the year 1"),
        ({"startedAt": "0001-01-01T00:00:00+05:00"}, "startedAt must be a time of ISO 8601"),
        ({"completedAt": dt.datetime.max.replace(tzinfo=dt.timezone(dt.timedelta(hours=-5)))},
         "completedAt must be a time of ISO 8601"),
        ({"attempt": -1}, "attempt must be a whole number from 0"),
        ({"heartbeatSeconds": 1}, "heartbeatSeconds must be a whole number from 5 to 3600"),
        ({"trigger": "http"}, "trigger must be an object, not str"),
        ({"trigger": {"type": 5}}, "trigger.type must be text, not int"),
        ({"tags": "a"}, "tags must be a list, not str"),
        ({"keys": ["a"]}, "keys must be an object, not list"),
        ({"nodeExecutions": {}}, "nodeExecutions must be a list, not dict"),
        ({"nodeExecutions": ["x"]}, "nodeExecutions[0] must be an object, not str"),
        ({"nodeExecutions": [{"nodeId": "a", "status": "success"}, {"status": "?"}]},
         "nodeExecutions[1].nodeId is required; nodeExecutions[1].status must be one of"),
        ({"nodeExecutions": [{"nodeId": "a", "status": "error", "error": {"message": 5}}]},
         "nodeExecutions[0].error.message must be text, not int"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_at_its_place(log: Log, changed: Any, said: str) -> None:
    with pytest.raises(BadExecution) as refused:
        log.log_execution({**WHOLE, **changed})
    assert said in str(refused.value)
    assert log.get_executions() == []


def test_what_is_no_object_is_refused(log: Log) -> None:
    with pytest.raises(BadExecution, match="must be an object, not list"):
        log.log_execution([WHOLE])  # type: ignore[arg-type]


_NAMES = st.sampled_from(
    (
        "id", "workflowId", "workflow_name", "status", "startedAt", "completed_at", "durationMs",
        "trigger", "type", "data", "error", "message", "stack", "nodeId", "node_executions",
        "attempt", "parent", "executionId", "tags", "keys", "result", "heartbeatSeconds", "input",
        "runIndex", "x",
    )
)  # fmt: skip
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
    | st.sampled_from(["success", "error", "running", "2026-11-21T20:00:00Z", "\ud800", "\0"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_NAMES, inner, max_size=6),
    max_leaves=12,
)  # fmt: skip


@settings(deadline=None, max_examples=50)
@given(message=st.dictionaries(_NAMES, _VALUES, max_size=12))
def test_any_message_is_logged_or_refused(
    tmp_path_factory: pytest.TempPathFactory, message: dict[str, Any]
) -> None:
    log = Log(tmp_path_factory.mktemp("any") / "executions.db")
    try:
        name = log.log_execution({"workflowId": "w", "status": "success", **message})
    except BadExecution:
        return
    assert _logged(log, name)["id"] == name
    assert summary(log).holds


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-21T20:00:00Z", "2026-11-21T20:00:00.000000+00:00"),
        ("2026-11-21T20:00:00.5+01:00", "2026-11-21T19:00:00.500000+00:00"),
        ("2026-11-21 20:00:00.123456789", "2026-11-21T20:00:00.123456+00:00"),
        ("2026-11-21T20:00-0530", "2026-11-22T01:30:00.000000+00:00"),
        ("2026-11-21", "2026-11-21T00:00:00.000000+00:00"),
        ("2026-02-30", None),
        ("2026-11-21T20:00:00+99:00", None),
        ("soon", None),
    ],
)
def test_times_are_read_as_programs_write_them(text: str, time: str | None) -> None:
    moment = read_time(text)
    assert (moment and stored(moment)) == time
