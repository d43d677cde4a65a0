"""Versions: one for each change of a definition, numbered, without secrets."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from monitoring import definitions, tenant_data
from monitoring.models import Environment, Workflow, WorkflowVersion
from tenants.models import Role, Tenant
from tenants.scoping import tenant_scope
from tests.monitoring.factories import make_environment, make_member, make_tenant, make_workflow

API = WorkflowVersion.Source.API


def document(node: str = "A", **more: Any) -> dict[str, Any]:
    return {
        "nodes": [{"id": "1", "name": node, "type": "n8n-nodes-base.set"}],
        "connections": {},
    } | more


@pytest.fixture
def tenant(db: None) -> Iterator[Tenant]:
    made = make_tenant()
    with tenant_scope(made):
        yield made


@pytest.fixture
def environment(tenant: Tenant) -> Environment:
    return make_environment(tenant)


@pytest.fixture
def workflow(environment: Environment) -> Workflow:
    return make_workflow(environment)


def store(workflow: Workflow, content: Any, **more: Any) -> tuple[WorkflowVersion, bool]:
    return definitions.store_definition(workflow, content, **({"source": API, "by": None} | more))


def test_a_changed_definition_makes_a_version_and_an_unchanged_none(workflow: Workflow) -> None:
    first, is_new = store(workflow, document())
    again, is_new_again = store(workflow, document())
    second, _ = store(workflow, document("B"))
    back, is_back = store(workflow, document())
    assert (first.number, is_new) == (1, True)
    assert (again.pk, is_new_again) == (first.pk, False)
    assert second.number == 2
    assert (back.number, is_back) == (3, True), "going back is a change"
    assert definitions.current_version(workflow) == back


def test_a_version_knows_its_document_and_graph(workflow: Workflow) -> None:
    version, _ = store(workflow, document(active=True, name="Intake"))
    assert definitions.document_of(version)["nodes"][0]["name"] == "A"
    graph = definitions.graph_of(version)
    assert [node.name for node in graph.nodes] == ["A"]
    assert (graph.active, graph.name, version.node_count) == (True, "Intake", 1)


def test_secrets_are_not_stored(workflow: Workflow) -> None:
    secret = "k3Jx9Qm2Vw7Rt5Zb"
    content = document()
    content["nodes"][0]["parameters"] = {"apiKey": secret}
    version, _ = store(workflow, content)
    stored = definitions.document_of(version)
    assert secret not in str(stored)
    assert stored["nodes"][0]["parameters"]["apiKey"].startswith("[scrubbed:secret:")


def test_activity_is_state_and_no_version(workflow: Workflow) -> None:
    version, _ = store(workflow, document(active=False))
    assert workflow.is_active is False
    same, is_new = store(workflow, document(active=True))
    assert (same.pk, is_new) == (version.pk, False)
    workflow.refresh_from_db()
    assert workflow.is_active is True
    assert definitions.graph_of(same).active is True


def test_a_definition_that_does_not_say_leaves_activity_unknown(workflow: Workflow) -> None:
    store(workflow, document())
    workflow.refresh_from_db()
    assert workflow.is_active is None


def test_the_name_is_taken_until_a_message_named_the_workflow(environment: Environment) -> None:
    unnamed = definitions.find_or_make_workflow(environment, "w-1")
    store(unnamed, document(name="From the definition"))
    named = make_workflow(environment, name="From a message", name_key=b"\x01")
    store(named, document(name="From the definition"))
    unnamed.refresh_from_db()
    named.refresh_from_db()
    assert (unnamed.name, named.name) == ("From the definition", "From a message")


def test_who_and_where_from_are_kept(tenant: Tenant, workflow: Workflow) -> None:
    person = make_member(tenant, Role.OPERATOR)
    version, _ = store(workflow, document(), source=WorkflowVersion.Source.UPLOAD, by=person)
    version.refresh_from_db()
    assert (version.created_by, version.source) == (person, "upload")


def test_what_is_refused_stores_nothing(workflow: Workflow) -> None:
    with pytest.raises(definitions.InvalidDefinition):
        store(workflow, {"nodes": "none"})
    assert definitions.current_version(workflow) is None


@pytest.mark.django_db(transaction=True)
def test_two_deliveries_at_once_make_one_version() -> None:
    tenant = make_tenant()
    workflow = make_workflow(make_environment(tenant))
    made: list[bool] = []
    ready = threading.Barrier(4)

    def deliver() -> None:
        with tenant_scope(tenant):
            ready.wait()
            made.append(store(workflow, document())[1])
        connection.close()

    threads = [threading.Thread(target=deliver) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(made) == [False, False, False, True]


def test_a_tenants_export_holds_its_versions(tenant: Tenant, workflow: Workflow) -> None:
    store(workflow, document(active=True))
    [record] = tenant_data.version_records(tenant)
    assert record["definition"] == {"nodes": document()["nodes"], "connections": {}}
    assert (record["workflow_id"], record["number"], record["source"]) == (workflow.pk, 1, "api")
