"""What paths answer: each document's shape and words, filters, pages, candidates, deletion."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from monitoring.api import contents, workflows
from monitoring.api.answers import Page, Success, SuccessPage
from monitoring.api.executions import EditorExecution
from monitoring.api.observability import KpiAnswer, OverviewAnswer
from monitoring.api.observed_executions import ObservedExecution
from monitoring.api.workflow_executions import (
    AutomationExecution,
    AutomationExecutionWithLogs,
    Overview,
    StepList,
)
from monitoring.api.workflow_numbers import ExecutionAnalytics, WorkflowPerformance
from monitoring.api.workflows import FailureEntry, LogEntry, MetricsAnswer, WorkflowAnswer
from monitoring.models import Environment, Execution, RollupDelta
from monitoring.tenant_data import execution_records
from tenants.models import AuditEvent, Tenant
from tenants.scoping import across_tenants, tenant_scope
from tests.monitoring.api.conftest import Api, api_for, counts

pytestmark = pytest.mark.django_db

START = timezone.now().replace(microsecond=0) - dt.timedelta(hours=1)
STATUSES = ("success", "failed", "partial", "running", "waiting", "pending", "canceled", "skipped")


def moment(minutes: float) -> str:
    return (START + dt.timedelta(minutes=minutes)).isoformat()


def send(api: Api, number: int, status: str = "success", **fields: Any) -> str:
    """Record execution `e<number>`, started that many minutes after START; our id."""
    message = {
        "id": f"e{number}",
        "workflowId": "w",
        "workflowName": "Orders",
        "status": status,
        "startedAt": moment(number),
        **({"durationMs": 100 * (number + 1)} if status in STATUSES[:3] else {}),
    }
    answer = api.post("/api/executions", message | fields)
    assert answer.status_code in (200, 201), answer.content
    return str(answer.json()["id"])


def fail(api: Api, number: int, **fields: Any) -> str:
    return send(
        api,
        number,
        "failed",
        error={"message": "402 card declined", "stack": "Error\n at x", "nodeId": "pay"},
        nodeExecutions=[
            {
                "nodeId": "start",
                "nodeName": "Start",
                "nodeType": "condition",
                "status": "success",
                "input": [1],
                "output": {"result": True},
            },
            {
                "nodeId": "pay",
                "nodeName": "Pay",
                "nodeType": "http",
                "status": "failed",
                "durationMs": 80,
                "error": {"message": "402 card declined"},
            },
            {"nodeId": "mail", "status": "skipped"},
        ],
        trigger={"type": "webhook", "data": {"order": 1}},
        result={"done": False},
        **fields,
    )


def checked(value: Any, type_: Any) -> Any:
    """The answer, after it was found to have exactly the documented shape."""
    msgspec.convert(value, type_)
    return value


# --- requirement 002 ----------------------------------------------------------------------------


def test_002_shape(api: Api) -> None:
    ours = fail(api, 0, attempt=2, parent={"executionId": "p1", "nodeId": "call"})
    page = checked(api.get("/api/executions?workflowId=w"), Page[EditorExecution])
    assert set(page) == {"data", "pagination"}
    assert page["pagination"] == {
        "total": 1,
        "limit": 50,
        "offset": 0,
        "hasMore": False,
        "nextCursor": None,
    }
    one = checked(api.get(f"/api/executions/{ours}"), EditorExecution)
    assert page["data"] == [one]
    assert one["id"] == ours
    assert one["externalId"] == "e0"
    assert one["status"] == "error"
    assert one["durationMs"] == 100
    assert dt.datetime.fromisoformat(one["startedAt"]) == START
    assert one["trigger"] == {"type": "webhook", "data": {"order": 1}}
    assert one["error"] == {
        "message": "402 card declined",
        "stack": "Error\n at x",
        "nodeId": "pay",
    }
    assert (one["errorClass"], one["severity"]) == ("payment", "critical")
    assert one["parent"] == {"executionId": "p1", "nodeId": "call"}
    nodes = one["nodeExecutions"]
    assert [node["nodeId"] for node in nodes] == ["start", "pay", "mail"]
    assert [node["status"] for node in nodes] == ["success", "error", "skipped"]
    assert nodes[0]["input"] == [1]
    assert nodes[0]["output"] == {"result": True}
    assert nodes[1]["error"]["message"] == "402 card declined"
    assert nodes[2]["nodeName"] == "mail"


def test_a_list_leaves_out_what_is_too_heavy(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        fail(api, number)
    monkeypatch.setattr(contents, "BUDGET_NODES", 7)
    page = api.get("/api/executions")["data"]
    assert [row["contentsOmitted"] for row in page] == [False, False, True]
    assert [len(row["nodeExecutions"]) for row in page] == [3, 3, 0]
    monkeypatch.setattr(contents, "BUDGET_BYTES", 0)
    page = api.get("/api/workflow-executions")["data"]
    assert all(row["contents_omitted"] and row["trigger_data"] is None for row in page)


def test_lists_ask_few_questions(
    api: Api, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(12):
        fail(api, number)
    for path in (
        "/api/executions",
        "/api/workflow-executions",
        "/api/v1/executions",
        "/api/workflows/w/executions",
        "/api/workflows",
        "/api/v1/observability/workflows",
        "/api/v1/analytics/executions",
    ):
        with django_assert_max_num_queries(9):
            api.get(path)


# --- requirement 003 ----------------------------------------------------------------------------


def test_003_shape(api: Api) -> None:
    ours = fail(api, 0, attempt=3)
    send(api, 1)
    page = checked(api.get("/api/workflow-executions"), SuccessPage[AutomationExecution])
    assert page["success"] is True
    assert [row["status"] for row in page["data"]] == ["completed", "failed"]
    one = api.get("/api/workflow-executions/e0")
    checked(one, Success[AutomationExecutionWithLogs])
    data = one["data"]
    assert one["success"] is True
    assert data["id"] == ours
    assert data["trigger_event"] == "webhook"
    assert data["trigger_data"] == {"order": 1}
    assert data["result"] == {"done": False}
    assert data["retry_count"] == 2
    assert data["error"] == "402 card declined"
    assert data["error_stack"].startswith("Error")
    assert {name: data[name] for name in page["data"][1]} == page["data"][1]
    logs = checked(api.get("/api/workflow-executions/e0/logs"), StepList)
    assert logs["data"] == data["logs"]
    assert [step["step_number"] for step in data["logs"]] == [1, 2, 3]
    assert [step["step_type"] for step in data["logs"]] == ["condition", "http", "action"]
    assert [step["status"] for step in data["logs"]] == ["completed", "failed", "skipped"]
    assert data["logs"][0]["output_data"] == {"result": True}


def test_003_statistics(api: Api) -> None:
    send(api, 0)
    send(api, 1)
    fail(api, 2)
    send(api, 3, "running", workflowId="other", id="o1")
    answer = api.get("/api/workflow-executions/stats/overview")
    assert answer["success"] is True
    data = checked(answer["data"], Overview)
    assert {row["status"]: row["count"] for row in data["statusBreakdown"]} == {
        "completed": 2,
        "failed": 1,
        "running": 1,
    }
    completed = next(row for row in data["statusBreakdown"] if row["status"] == "completed")
    assert completed["avg_duration"] == 150
    assert sum(day["total"] for day in data["dailyTrend"]) == 4
    assert [row["id"] for row in data["topWorkflows"]] == ["w", "other"]
    assert data["topWorkflows"][0]["failure_count"] == 1
    only = api.get("/api/workflow-executions/stats/overview?workflowId=other")["data"]
    assert [row["status"] for row in only["statusBreakdown"]] == ["running"]
    none = api.get("/api/workflow-executions/stats/overview?endDate=2026-01-01")["data"]
    assert none["statusBreakdown"] == none["topWorkflows"] == []


# --- requirements 000 and 001 -------------------------------------------------------------------


def test_001_history_and_failures(api: Api, tenant: Tenant) -> None:
    answer = api.post(
        "/api/workflows/w/executions",
        {
            "status": "failed",
            "failedActionId": "sms",
            "failedActionName": "Send SMS",
            "errorMessage": "timed out",
            "executionTimeMs": 5,
            "executedAt": moment(1),
        },
    )
    send(api, 2)
    history = checked(api.get("/api/workflows/w/executions?limit=50"), Page[LogEntry])
    assert [row["status"] for row in history["data"]] == ["success", "failed"]
    row = history["data"][1]
    assert row["id"] == answer.json()["id"]
    assert row["location_id"] == "loc-acme"
    assert (row["failed_action_id"], row["failed_action_name"]) == ("sms", "Send SMS")
    assert row["execution_time_ms"] == 5
    failures = checked(api.get("/api/workflows/w/failures?hours=24"), Page[FailureEntry])
    assert [each["action"] for each in failures["data"]] == ["Send SMS"]
    assert failures["data"][0]["error"] == "timed out"
    assert failures["data"][0]["error_class"] == "timeout"
    assert failures["data"][0]["execution_id"] == answer.json()["id"]


def test_000_metrics(api: Api) -> None:
    send(api, 0)
    fail(api, 1)
    send(api, 2, "running")
    metrics = checked(api.get("/api/workflows/w/metrics"), MetricsAnswer)
    assert metrics["failure_rate"] == 50.0
    assert metrics["avg_execution_time"] == 150.0
    assert metrics["failure_trend"] == "stable"
    assert (metrics["total_executions"], metrics["failed_executions"]) == (3, 1)
    assert metrics["last_failure"]["action"] == "Pay"
    assert metrics["last_failure"]["error"] == "402 card declined"
    assert dt.datetime.fromisoformat(metrics["last_failure"]["timestamp"]) == START + dt.timedelta(
        minutes=1
    )


def test_metrics_of_a_window_without_executions(api: Api) -> None:
    send(api, 0, startedAt=(START - dt.timedelta(days=30)).isoformat())
    metrics = checked(api.get("/api/workflows/w/metrics?hours=24"), MetricsAnswer)
    assert metrics["last_failure"] is None
    assert metrics["total_executions"] == 0


def test_workflows_with_statistics(api: Api) -> None:
    send(api, 0)
    fail(api, 1)
    send(api, 2, workflowId="b", workflowName="Billing", id="b1")
    page = checked(api.get("/api/workflows"), Page[WorkflowAnswer])
    assert [row["workflow_id"] for row in page["data"]] == ["b", "w"]
    one = checked(api.get("/api/workflows/w"), WorkflowAnswer)
    assert one == page["data"][1]
    assert (one["execution_count"], one["success_count"], one["failure_count"]) == (2, 1, 1)
    assert one["average_duration_ms"] == 150
    assert one["name"] == "Orders"
    assert dt.datetime.fromisoformat(one["last_executed_at"]) == START + dt.timedelta(minutes=1)
    assert [row["id"] for row in api.get("/api/workflows?search=BILL")["data"]] == ["b"]


# --- requirement 004 ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time_range", "points"), [("1h", 12), ("6h", 12), ("24h", 24), ("7d", 14), ("30d", 30)]
)
def test_004_kpis(api: Api, time_range: str, points: int) -> None:
    send(api, 30)
    fail(api, 31)
    send(api, 32, "partial")
    send(api, 33, "running")
    kpis = checked(api.get(f"/api/v1/observability/kpis?time_range={time_range}"), KpiAnswer)
    assert kpis["total_executions"] == 4
    assert (kpis["success_count"], kpis["failure_count"], kpis["partial_count"]) == (1, 1, 1)
    assert kpis["success_rate"] == 33.33
    assert kpis["avg_duration_ms"] == 3200
    assert abs(kpis["p50_duration_ms"] - 3200) <= 32
    assert abs(kpis["p95_duration_ms"] - 3300) <= 33
    assert len(kpis["sparkline_data"]) == points
    assert sum(point["total_executions"] for point in kpis["sparkline_data"]) == 4
    assert kpis["delta_vs_previous"]["total_executions"] is None


def test_004_range_by_start_and_end(api: Api) -> None:
    send(api, 0)
    send(api, 10)
    query = f"start={quote(moment(5))}&end={quote(moment(15))}"
    kpis = api.get(f"/api/v1/observability/kpis?{query}")
    assert kpis["total_executions"] == 1
    assert kpis["delta_vs_previous"]["total_executions"] == 0.0
    assert api.get(f"/api/v1/observability/kpis?{query}&workflow_id=w")["total_executions"] == 1
    assert api.get(f"/api/v1/observability/kpis?{query}&workflow_id=x")["total_executions"] == 0


def test_004_overview_and_workflows(api: Api) -> None:
    send(api, 0)
    fail(api, 1)
    send(api, 2, "partial")
    overview = checked(api.get("/api/v1/observability/overview"), OverviewAnswer)
    assert overview["kpis"]["total_executions"] == 3
    assert overview["status_breakdown"] == {"success": 1, "error": 2}
    assert overview["top_workflows"][0]["workflow_id"] == "w"
    assert overview["failing_workflows"][0]["failure_count"] == 1
    rows = checked(api.get("/api/v1/observability/workflows"), Page[WorkflowPerformance])["data"]
    assert [(row["workflow_id"], row["total_executions"]) for row in rows] == [("w", 3)]
    found = checked(api.get("/api/v1/analytics/executions"), Page[ExecutionAnalytics])["data"]
    assert found[0]["last_error_message"] == "402 card declined"
    assert dt.datetime.fromisoformat(found[0]["last_failure_at"]) == START + dt.timedelta(minutes=1)


def test_004_executions(api: Api) -> None:
    fail(api, 0)
    send(api, 1, "partial")
    send(api, 2)
    page = checked(api.get("/api/v1/executions"), Page[ObservedExecution])
    assert [row["normalized_status"] for row in page["data"]] == ["success", "error", "error"]
    row = page["data"][2]
    assert row["n8n_execution_id"] == row["external_id"] == "e0"
    assert (row["error_message"], row["error_node"]) == ("402 card declined", "Pay")
    assert (row["mode"], row["execution_time"]) == ("webhook", 100)
    errors = api.get("/api/v1/executions?status=error")
    assert [row["external_id"] for row in errors["data"]] == ["e1", "e0"]
    assert errors["pagination"]["total"] == 2


# --- words, filters, pages ----------------------------------------------------------------------

WORDS = {
    "/api/workflows/w/executions": STATUSES,
    "/api/executions": ("success", "error", *STATUSES[2:]),
    "/api/workflow-executions": ("completed", "failed", *STATUSES[2:]),
    "/api/v1/executions": ("success", "error", "error", *STATUSES[3:]),
}


@pytest.mark.parametrize("path", WORDS)
def test_each_document_has_its_words(api: Api, path: str) -> None:
    for number, status in enumerate(STATUSES):
        send(api, number, status)
    rows = api.get(path)["data"]
    assert tuple(row["status"] for row in reversed(rows)) == WORDS[path]


@pytest.mark.parametrize("path", WORDS)
@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("failed", ["e1"]),
        ("FAILED", ["e1"]),
        ("success", ["e0"]),
        ("completed", ["e0"]),
        ("crashed", ["e1"]),
        ("cancelled", ["e6"]),
        ("in-progress", ["e3"]),
        ("running,waiting", ["e4", "e3"]),
    ],
)
def test_filters_take_any_spelling(api: Api, path: str, word: str, found: list[str]) -> None:
    for number, status in enumerate(STATUSES):
        send(api, number, status)
    page = api.get(f"{path}?status={word}")
    assert [row.get("external_id") or row["externalId"] for row in page["data"]] == found
    assert page["pagination"]["total"] == len(found)


@pytest.mark.parametrize(
    ("path", "start", "end"),
    [
        ("/api/executions", "startDate", "endDate"),
        ("/api/workflow-executions", "startDate", "endDate"),
        ("/api/workflows/w/executions", "startDate", "endDate"),
        ("/api/v1/executions", "start", "end"),
    ],
)
def test_filters_by_time(api: Api, path: str, start: str, end: str) -> None:
    for number in range(6):
        send(api, number)
    page = api.get(f"{path}?{start}={quote(moment(2))}&{end}={quote(moment(4))}")
    assert [row.get("external_id") or row["externalId"] for row in page["data"]] == ["e3", "e2"]
    assert page["pagination"]["total"] == 2


@pytest.mark.parametrize("path", [*WORDS, "/api/workflows"])
def test_pages_by_cursor_meet_every_row_once_while_rows_arrive(api: Api, path: str) -> None:
    is_workflows = path == "/api/workflows"

    def more(number: int) -> None:
        extra = {"workflowId": f"w{number}"} if is_workflows else {}
        send(api, number, **extra)

    for number in range(7):
        more(number)
    seen: list[str] = []
    cursor = ""
    for turn in range(9):
        page = api.get(f"{path}?limit=3{cursor}")
        seen += [row["id"] for row in page["data"]]
        assert page["pagination"]["hasMore"] is (page["pagination"]["nextCursor"] is not None)
        if not page["pagination"]["hasMore"]:
            break
        cursor = f"&cursor={page['pagination']['nextCursor']}"
        if not is_workflows:
            more(20 + turn)
    assert len(seen) == len(set(seen)) == 7


@pytest.mark.parametrize("path", WORDS)
def test_pages_by_offset(api: Api, path: str) -> None:
    for number in range(5):
        send(api, number)
    page = api.get(f"{path}?limit=2&offset=2")
    assert [row.get("external_id") or row["externalId"] for row in page["data"]] == ["e2", "e1"]
    assert page["pagination"]["total"] == 5
    assert page["pagination"]["offset"] == 2
    assert page["pagination"]["hasMore"] is True
    assert api.get(f"{path}?offset=10000")["data"] == []


# --- the same id twice --------------------------------------------------------------------------


@pytest.fixture
def second(tenant: Tenant) -> Environment:
    with tenant_scope(tenant):
        return Environment.objects.create(tenant=tenant, name="Second", slug="second")


def test_a_workflow_id_in_two_environments_needs_a_choice(api: Api, second: Environment) -> None:
    send(api, 0)
    send(api, 1, environmentId=second.pk)
    for path in (
        "/api/workflows/w",
        "/api/workflows/w/executions",
        "/api/workflows/w/failures",
        "/api/workflows/w/metrics",
        "/api/executions?workflowId=w",
        "/api/workflow-executions?workflowId=w",
        "/api/v1/executions?workflow_id=w",
        "/api/v1/observability/kpis?workflow_id=w",
    ):
        answer = api.send("GET", path)
        assert answer.status_code == 409, path
        candidates = answer.json()["candidates"]
        assert second.pk in {each["environment_id"] for each in candidates}
        assert len(candidates) == 2
        sign = "&" if "?" in path else "?"
        assert api.send("GET", f"{path}{sign}environment_id={second.pk}").status_code == 200
    # A push is never asked.
    assert send(api, 2)


def test_a_senders_id_twice_needs_a_choice(api: Api, second: Environment) -> None:
    ours = send(api, 0)
    send(api, 0, workflowId="v")
    send(api, 0, environmentId=second.pk)
    for path in ("/api/executions/e0", "/api/workflow-executions/e0"):
        for method in ("GET", "DELETE"):
            answer = api.send(method, path)
            assert answer.status_code == 409
            assert ours in {each["id"] for each in answer.json()["candidates"]}
        chosen = api.send("GET", f"{path}?workflowId=v")
        assert chosen.status_code == 200
        assert api.send("GET", f"{path}?environment_id={second.pk}").status_code == 200
        assert api.send("GET", f"/api/executions/{ours}").status_code == 200


def test_a_bound_token_reads_its_environment_only(
    api: Api, tenant: Tenant, second: Environment
) -> None:
    ours = send(api, 0)
    send(api, 1, environmentId=second.pk, workflowId="v")
    bound = api_for(tenant, "read", environment_id=second.pk)
    assert [row["externalId"] for row in bound.get("/api/executions")["data"]] == ["e1"]
    assert [row["workflow_id"] for row in bound.get("/api/workflows")["data"]] == ["v"]
    assert bound.get("/api/v1/observability/kpis")["total_executions"] == 1
    assert bound.send("GET", f"/api/executions/{ours}").status_code == 404
    assert bound.send("GET", "/api/workflows/w").status_code == 404


# --- deleting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/executions", "/api/workflow-executions"])
def test_deleting_an_execution_takes_it_out_of_everything(
    api: Api, tenant: Tenant, path: str
) -> None:
    send(api, 0)
    ours = fail(api, 1)
    answer = api.send("DELETE", f"{path}/{ours}")
    assert answer.status_code == 200
    assert answer.json() == {"success": True}
    assert api.send("GET", f"{path}/{ours}").status_code == 404
    assert api.send("DELETE", f"{path}/{ours}").status_code == 404
    page = api.get("/api/executions")
    assert [row["externalId"] for row in page["data"]] == ["e0"]
    assert page["pagination"]["total"] == 1
    assert api.get("/api/v1/observability/kpis")["failure_count"] == 0
    with tenant_scope(tenant):
        event = AuditEvent.objects.get(action="execution.delete")
    assert event.subject == ours
    assert event.actor_label.startswith("token ")
    # The id is free again.
    assert api.post("/api/executions", {"id": "e1", "workflowId": "w", "status": "ok"}).json()[
        "created"
    ]


def test_clearing_a_workflow(api: Api, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        send(api, number)
    send(api, 6, workflowId="other")
    answer = api.send("DELETE", "/api/workflows/w/executions")
    assert answer.status_code == 200
    assert answer.json() == {"deleted": 5, "complete": True, "success": True}
    assert api.get("/api/workflows/w/executions")["data"] == []
    assert api.get("/api/workflows/w")["execution_count"] == 0
    assert api.get("/api/executions")["pagination"]["total"] == 1
    with tenant_scope(tenant):
        assert AuditEvent.objects.filter(action="workflow.clear", subject="w").count() == 1
    monkeypatch.setattr(workflows, "CLEAR_SECONDS", 0.0)
    answer = api.send("DELETE", "/api/workflows/other/executions")
    assert (answer.status_code, answer.json()["complete"]) == (202, False)


def test_reading_changes_nothing(api: Api) -> None:
    fail(api, 0)
    before = counts()
    with across_tenants():
        deltas = list(RollupDelta.objects.values_list("id", "counts"))
        rows = list(Execution.objects.values_list("id", "changed_at"))
    for path in (
        *WORDS,
        "/api/workflows",
        "/api/executions/e0",
        "/api/workflow-executions/e0/logs",
    ):
        api.get(path)
    with across_tenants():
        assert list(RollupDelta.objects.values_list("id", "counts")) == deltas
        assert list(Execution.objects.values_list("id", "changed_at")) == rows
    assert counts() == before


@pytest.mark.parametrize(
    "damaged", [b"", b"\x00" * 50, b"not zstd at all", b"\x28\xb5\x2f\xfd\x00"]
)
@pytest.mark.parametrize("path", ["/api/executions", "/api/workflow-executions"])
def test_a_damaged_payload_leaves_lists_and_executions_readable(
    api: Api, tenant: Tenant, path: str, damaged: bytes
) -> None:
    our_id = send(api, 1, result={"kept": "x" * 300})
    with tenant_scope(tenant):
        Execution.objects.update(payload=damaged)
    [row] = api.get(path)["data"]
    assert (row["id"], row["result"]) == (our_id, None)
    assert api.send("GET", f"{path}/{our_id}").status_code == 200
    with tenant_scope(tenant):
        [record] = execution_records(tenant)
    assert (record["id"], record["result"]) == (uuid.UUID(our_id), None)
