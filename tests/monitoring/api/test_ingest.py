"""One message in, one execution stored: shapes, ids, keys, environments, encodings."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from unittest import mock
from urllib.parse import quote

import pytest
import zstandard
from django.db import OperationalError, connections
from django.utils import timezone

from monitoring.api import examples
from monitoring.models import Environment, Workflow
from monitoring.recording import writer
from monitoring.recording.environments import default_environment
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests.monitoring.api.conftest import Api, api_for, counts, zipped

pytestmark = [pytest.mark.django_db, pytest.mark.store]

SHORT = "/api/workflows/wf-1/executions"
FULL = "/api/executions"


def now(minutes: int = 0) -> str:
    return (timezone.now() - dt.timedelta(minutes=minutes)).isoformat()


def test_a_short_log_is_stored_before_the_answer(api: Api) -> None:
    answer = api.post(SHORT, examples.SHORT_LOG | {"executedAt": now()})
    assert answer.status_code == 201
    made = answer.json()
    assert made["created"] is True
    assert made["external_id"] is None
    shown = api.get(f"/api/executions/{made['id']}")
    assert shown["status"] == "error"
    assert shown["workflowId"] == "wf-1"
    assert shown["error"]["message"] == "Number is not reachable"
    assert [node["nodeId"] for node in shown["nodeExecutions"]] == ["send-sms"]


def test_a_full_execution_comes_back_whole(api: Api) -> None:
    answer = api.post(FULL, examples.FULL_EXECUTION)
    assert answer.status_code == 201
    assert answer.json()["success"] is True
    assert answer.json()["external_id"] == "exec-1001"
    shown = api.get("/api/executions/exec-1001")
    sent = examples.FULL_EXECUTION
    for name in ("workflowId", "workflowName", "status", "durationMs", "trigger", "error", "tags"):
        assert shown[name] == sent[name], name
    assert [node["nodeId"] for node in shown["nodeExecutions"]] == ["validate", "charge"]
    assert shown["nodeExecutions"][0]["input"] == {"order": 4711}
    assert shown["nodeExecutions"][1]["error"]["message"] == "502 Bad Gateway"


def test_the_same_message_again_changes_nothing(api: Api) -> None:
    first = api.post(FULL, examples.FULL_EXECUTION)
    before = counts()
    second = api.post(FULL, examples.FULL_EXECUTION)
    assert (first.status_code, second.status_code) == (201, 200)
    assert second.json() == first.json() | {"created": False}
    assert counts() == before


def test_a_newer_message_updates(api: Api) -> None:
    started = now(1)
    message = {"id": "e1", "workflowId": "w", "status": "running", "startedAt": started}
    assert api.post(FULL, message).status_code == 201
    done = message | {"status": "success", "completedAt": now(), "durationMs": 5}
    assert api.post(FULL, done).status_code == 200
    # A late copy of the first message doesn't bring it back.
    assert api.post(FULL, message).status_code == 200
    assert api.get("/api/executions/e1")["status"] == "success"


def test_snake_case_is_understood_too(api: Api) -> None:
    answer = api.post(FULL, {"id": "s1", "workflow_id": "w", "status": "ok", "duration_ms": 3})
    assert answer.status_code == 201
    assert api.get("/api/executions/s1")["durationMs"] == 3


@pytest.mark.parametrize(
    "workflow_id",
    [
        "plain",
        "with space",
        "a/b",
        "/a//b/",
        "executions",
        "x/executions",
        "batch",
        "a%2Fb",
        "ünïcödé ✓",
        "?&#",
        "..",
        "a\nb",
        "<script>alert(1)</script>",
        "x" * 255,
    ],
)
def test_a_workflow_id_may_be_any_text(api: Api, tenant: Tenant, workflow_id: str) -> None:
    path = f"/api/workflows/{quote(workflow_id, safe='')}/executions"
    answer = api.post(path, {"status": "success", "executionTimeMs": 1})
    assert answer.status_code == 201, answer.content
    with tenant_scope(tenant):
        assert [each.external_id for each in Workflow.objects.all()] == [workflow_id]
    assert api.get(path)["data"][0]["workflow_id"] == workflow_id
    metrics = api.get(f"{path.removesuffix('/executions')}/metrics")
    assert metrics["total_executions"] == 1


def test_nul_in_a_workflow_id_becomes_the_replacement_character(api: Api) -> None:
    assert api.post("/api/workflows/a%00b/executions", {"status": "success"}).status_code == 201
    assert api.get("/api/workflows/a%00b")["workflow_id"] == "a\ufffdb"


def test_a_workflow_id_too_long_is_422(api: Api) -> None:
    answer = api.post(f"/api/workflows/{'x' * 256}/executions", {"status": "success"})
    assert answer.status_code == 422


@pytest.mark.parametrize("payload", [json.loads('{"a": "\\u0000"}'), {"a": "\ud800"}])
def test_text_that_postgresql_cannot_hold_is_mended(api: Api, payload: Any) -> None:
    message = examples.FULL_EXECUTION | {"trigger": {"type": "x\u0000y", "data": payload}}
    assert api.post(FULL, message).status_code == 201
    shown = api.get("/api/executions/exec-1001")
    assert shown["trigger"] == {"type": "x\ufffdy", "data": {"a": "\ufffd"}}


# --- Idempotency-Key ----------------------------------------------------------------------------


def test_a_key_makes_a_message_without_id_repeatable(api: Api) -> None:
    log = {"status": "success", "executionTimeMs": 5}
    first = api.post(SHORT, log, Idempotency_Key="k 1")
    before = counts()
    second = api.post(SHORT, log, Idempotency_Key="k 1")
    assert (first.status_code, second.status_code) == (201, 200)
    assert first.json()["id"] == second.json()["id"]
    assert counts() == before


def test_without_id_and_key_each_message_is_a_new_execution(api: Api) -> None:
    log = {"status": "success", "executionTimeMs": 5}
    assert api.post(SHORT, log).json()["id"] != api.post(SHORT, log).json()["id"]


def test_a_key_with_another_body_is_422(api: Api) -> None:
    api.post(SHORT, {"status": "success"}, Idempotency_Key="k1")
    before = counts()
    answer = api.post(SHORT, {"status": "failed"}, Idempotency_Key="k1")
    assert answer.status_code == 422
    assert answer.json()["type"] == "/problems/key-reused"
    assert answer.json()["errors"][0]["loc"] == ["header", "Idempotency-Key"]
    assert counts() == before


def test_what_is_too_old_is_422_and_stores_nothing(api: Api) -> None:
    old = (timezone.now() - dt.timedelta(days=92)).isoformat()
    before = counts()
    for path, body in (
        ("/api/executions", {"id": "e1", "workflowId": "w", "status": "success", "startedAt": old}),
        ("/api/workflows/w/executions", {"status": "success", "executedAt": old}),
    ):
        answer = api.post(path, body, Idempotency_Key="k")
        assert answer.status_code == 422
        assert answer.json()["type"] == "/problems/too-old"
        assert "kept for 90 days" in answer.json()["detail"]
    assert counts() == before


def test_a_key_holds_for_its_path_and_tenant(api: Api, rival: Api) -> None:
    log = {"status": "success"}
    made = {
        api.post(SHORT, log, Idempotency_Key="k1").json()["id"],
        api.post("/api/workflows/wf-2/executions", log, Idempotency_Key="k1").json()["id"],
        rival.post(SHORT, log, Idempotency_Key="k1").json()["id"],
    }
    assert len(made) == 3


# --- environments -------------------------------------------------------------------------------


@pytest.fixture
def production(tenant: Tenant) -> Environment:
    with tenant_scope(tenant):
        return Environment.objects.create(
            tenant=tenant,
            name="Production",
            slug="production",
            provider="n8n",
            base_url="https://n8n.example.com/",
        )


def environment_of(api: Api, external_id: str) -> int:
    return int(api.get(f"/api/executions/{external_id}")["environmentId"])


def test_what_names_no_environment_goes_to_the_default_one(api: Api, tenant: Tenant) -> None:
    api.post(FULL, {"id": "1", "workflowId": "w", "status": "success"})
    assert environment_of(api, "1") == default_environment(tenant.pk).pk


def test_query_or_body_name_the_environment(api: Api, production: Environment) -> None:
    message = {"workflowId": "w", "status": "success"}
    api.post(f"{FULL}?environment_id={production.pk}", message | {"id": "1"})
    api.post(FULL, message | {"id": "2", "environmentId": production.pk})
    assert environment_of(api, "1") == environment_of(api, "2") == production.pk


def test_a_bound_token_decides_the_environment(
    tenant: Tenant, api: Api, production: Environment
) -> None:
    bound = api_for(tenant, "ingest", environment_id=production.pk)
    default = default_environment(tenant.pk).pk
    answer = bound.post(
        f"{FULL}?environment_id={default}", {"id": "1", "workflowId": "w", "status": "success"}
    )
    assert answer.status_code == 201
    assert environment_of(api, "1") == production.pk


def test_another_tenants_environment_is_422(api: Api, other_tenant: Tenant) -> None:
    foreign = default_environment(other_tenant.pk).pk
    message = {"id": "1", "workflowId": "w", "status": "success"}
    before = counts()
    assert api.post(f"{FULL}?environment_id={foreign}", message).status_code == 422
    assert api.post(FULL, message | {"environmentId": foreign}).status_code == 422
    assert counts() == before


def test_an_n8n_error_workflow_call_finds_its_environment(
    api: Api, production: Environment
) -> None:
    first = api.post("/api/n8n/error-workflow", examples.ERROR_WORKFLOW_CALL)
    again = api.post("/api/n8n/error-workflow", examples.ERROR_WORKFLOW_CALL)
    assert (first.status_code, again.status_code) == (201, 200)
    shown = api.get("/api/executions/231")
    assert shown["environmentId"] == production.pk
    assert shown["status"] == "error"


# --- encodings and sizes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("identity", bytes),
        ("gzip", zipped),
        ("x-gzip", zipped),
        ("zstd", zstandard.ZstdCompressor().compress),
        ("gzip", lambda body: zipped(body[:9]) + zipped(body[9:])),
        (
            "zstd",
            lambda body: b"".join(map(zstandard.ZstdCompressor().compress, (body[:9], body[9:]))),
        ),
    ],
)
def test_a_body_may_be_packed(api: Api, encoding: str, pack: Any) -> None:
    body = json.dumps(examples.FULL_EXECUTION).encode()
    answer = api.post(FULL, pack(body), Content_Encoding=encoding)
    assert answer.status_code == 201, answer.content


def test_the_database_away_is_503_with_retry_after(api: Api) -> None:
    with mock.patch.object(writer, "record", side_effect=writer.Overloaded("full")):
        answer = api.post(FULL, examples.FULL_EXECUTION)
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", FULL), ("POST", SHORT), ("POST", "/api/executions/batch"), ("GET", "/api/workflows")],
)
def test_a_database_that_is_away_is_503_everywhere(api: Api, method: str, path: str) -> None:
    away = mock.patch.object(connections["default"], "cursor", side_effect=OperationalError("away"))
    with away:
        answer = api.send(method, path, examples.SHORT_LOG)
    assert answer.status_code == 503
    assert int(answer["Retry-After"]) > 0


def test_head_and_options(api: Api) -> None:
    assert api.send("OPTIONS", FULL).status_code == 204
    assert api.send("HEAD", FULL).status_code == 200
