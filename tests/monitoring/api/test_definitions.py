"""PUT of a definition, from the outside."""

from __future__ import annotations

from typing import Any

import pytest

from monitoring.models import Workflow, WorkflowVersion
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests.monitoring.api.conftest import Api, api_for, zipped
from tests.monitoring.definition_files import workflows
from tests.monitoring.factories import make_environment

PATH = "/api/workflows/w1/definition"
N8N = {
    "name": "Orders",
    "active": True,
    "nodes": [{"id": "1", "name": "Hook", "type": "n8n-nodes-base.webhook"}],
    "connections": {},
}


def put(api: Api, body: Any, path: str = PATH, **headers: Any) -> Any:
    return api.send("PUT", path, body, **headers)


def test_a_definition_is_stored_once(api: Api) -> None:
    first, again = put(api, N8N), put(api, N8N)
    assert first.status_code == again.status_code == 200
    assert first.json() | {"digest": "", "environment_id": 0} == {
        "workflow_id": "w1",
        "environment_id": 0,
        "version": 1,
        "created": True,
        "is_active": True,
        "node_count": 1,
        "digest": "",
        "success": True,
    }
    assert again.json() == first.json() | {"created": False}
    changed = put(api, N8N | {"settings": {"timezone": "UTC"}}).json()
    assert (changed["version"], changed["created"]) == (2, True)


def test_an_unknown_workflow_is_made_and_named(api: Api) -> None:
    put(api, N8N)
    assert api.get("/api/workflows/w1")["name"] == "Orders"


def test_a_known_workflow_keeps_its_history(api: Api) -> None:
    api.post("/api/workflows/w1/executions", {"status": "success", "executionTimeMs": 5})
    put(api, N8N)
    assert api.get("/api/workflows/w1")["execution_count"] == 1


def test_the_neutral_form_is_taken(api: Api) -> None:
    body = {"nodes": [{"id": "a"}, {"id": "b"}], "edges": [{"source": "a", "target": "b"}]}
    assert put(api, body).json()["node_count"] == 2


def test_an_id_may_hold_slashes(api: Api) -> None:
    answer = put(api, N8N, "/api/workflows/a/b/definition/definition")
    assert answer.json()["workflow_id"] == "a/b/definition"


def test_the_environment_is_chosen_as_for_executions(tenant: Tenant, api: Api) -> None:
    other = make_environment(tenant)
    assert put(api, N8N, f"{PATH}?environment_id={other.pk}").json()["environment_id"] == other.pk
    bound = api_for(tenant, "write", environment_id=other.pk)
    assert put(bound, N8N, "/api/workflows/w2/definition").json()["environment_id"] == other.pk
    with tenant_scope(tenant):
        assert not Workflow.objects.filter(environment__is_default=True).exists()


def test_a_foreign_environment_is_refused(api: Api, other_tenant: Tenant) -> None:
    foreign = make_environment(other_tenant)
    assert put(api, N8N, f"{PATH}?environment_id={foreign.pk}").status_code == 422


@pytest.mark.parametrize(("scope", "status"), [("ingest", 403), ("read", 403), ("write", 200)])
def test_it_needs_the_write_scope(tenant: Tenant, scope: str, status: int) -> None:
    assert put(api_for(tenant, scope), N8N).status_code == status


@pytest.mark.parametrize(
    ("body", "status", "place"),
    [
        (b"{", 400, None),
        (b"\xff", 400, None),
        (b"", 400, None),
        (b"[]", 422, ["body"]),
        (b"7", 422, ["body"]),
        (b'{"nodes": [1]}', 422, ["body", "nodes", 0]),
        (b'{"nodes": [], "connections": 1}', 422, ["body", "connections"]),
        (b'{"nodes": [' + b"[" * 500 + b"]" * 500 + b"]}", 422, ["body"]),
        (b'{"nodes": [{"name": "' + b"n" * 300 + b'"}]}', 422, ["body", "nodes", 0]),
        (b'{"nodes": [{"name": "A", "parameters": {"n": 1' + b"0" * 400 + b"}}]}", None, None),
    ],
)  # fmt: skip
def test_hostile_bodies_are_problems(
    api: Api, body: bytes, status: int | None, place: list[Any] | None
) -> None:
    answer = put(api, body)
    if status is None:
        assert answer.status_code in (200, 422)
        return
    assert answer.status_code == status
    if place:
        assert answer.json()["errors"][0]["loc"] == place
    assert api.tenant is not None
    with tenant_scope(api.tenant):
        assert not WorkflowVersion.objects.exists()


def test_limits_hold(api: Api) -> None:
    assert put(api, b" " * (5 * 1024 * 1024 + 1)).status_code == 413
    assert put(api, N8N, content_type="text/plain").status_code == 415
    assert put(api, N8N, f"/api/workflows/{'w' * 256}/definition").status_code == 422
    packed = put(api, zipped(b'{"nodes": []}'), Content_Encoding="gzip")
    assert packed.status_code == 200


def test_text_that_the_database_can_not_hold_is_replaced(api: Api) -> None:
    answer = put(api, b'{"name": "a\\u0000\\ud800", "nodes": [{"name": "\\ud800"}]}')
    assert answer.status_code == 200
    assert api.get("/api/workflows/w1")["name"] == "a��"


@pytest.mark.parametrize(("name", "document"), workflows())
def test_real_workflows_are_taken(api: Api, name: str, document: dict[str, Any]) -> None:
    assert put(api, document).json()["node_count"] == len(document["nodes"])
