"""Environments and workflows in the operators' admin."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from monitoring.models import Environment
from tenants.models import Tenant, User
from tenants.scoping import across_tenants
from tests.monitoring.factories import make_environment, make_member, make_tenant, make_workflow

pytestmark = pytest.mark.django_db
ENVIRONMENTS = reverse("admin:monitoring_environment_changelist")
WORKFLOWS = reverse("admin:monitoring_workflow_changelist")


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("agency")


@pytest.fixture
def operator(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("operator@example.com", "right-horse"))
    return client


def test_operators_see_and_search_environments_of_all_tenants(
    operator: Client, tenant: Tenant
) -> None:
    make_environment(tenant, name="n8n EU", base_url="https://n8n.example.com")
    make_environment(make_tenant("other"), name="Python jobs")
    page = operator.get(ENVIRONMENTS).content.decode()
    assert "n8n EU" in page
    assert "Python jobs" in page
    found = operator.get(ENVIRONMENTS, {"q": "n8n.example"}).content.decode()
    assert "n8n EU" in found
    assert "Python jobs" not in found


def test_operators_make_environments_that_stay_with_their_tenant(
    operator: Client, tenant: Tenant
) -> None:
    fields = {"tenant": tenant.pk, "name": "n8n EU", "slug": "n8n-eu", "provider": "n8n"}
    add = reverse("admin:monitoring_environment_add")
    assert operator.post(add, fields | {"base_url": ""}).status_code == 302
    with across_tenants():
        made = Environment.objects.get(slug="n8n-eu")
    change = reverse("admin:monitoring_environment_change", args=[made.pk])
    other = make_tenant("other")
    moved = {"tenant": other.pk, "name": "n8n Asia", "slug": "moved", "provider": "n8n"}
    assert operator.post(change, moved | {"base_url": ""}).status_code == 302
    with across_tenants():
        made.refresh_from_db()
    assert (made.tenant_id, made.slug, made.name) == (tenant.pk, "n8n-eu", "n8n Asia")


def test_workflows_are_for_looking_up_only(operator: Client, tenant: Tenant) -> None:
    workflow = make_workflow(make_environment(tenant), name="Invoice sync", external_id="wf-77")
    make_workflow(make_environment(tenant), name="Zebra")
    found = operator.get(WORKFLOWS, {"q": "wf-77"}).content.decode()
    assert "Invoice sync" in found
    assert "Zebra" not in found
    one = reverse("admin:monitoring_workflow_change", args=[workflow.pk])
    assert operator.get(one).status_code == 200
    assert operator.post(one, {"name": "x"}).status_code == 403
    assert operator.get(reverse("admin:monitoring_workflow_add")).status_code == 403
    gone = reverse("admin:monitoring_workflow_delete", args=[workflow.pk])
    assert operator.post(gone, {"post": "yes"}).status_code == 403


def test_environments_go_only_with_their_tenant(operator: Client, tenant: Tenant) -> None:
    environment = make_environment(tenant)
    gone = reverse("admin:monitoring_environment_delete", args=[environment.pk])
    assert operator.post(gone, {"post": "yes"}).status_code == 403


def test_members_are_no_operators(client: Client, tenant: Tenant) -> None:
    client.force_login(make_member(tenant))
    for address in (ENVIRONMENTS, WORKFLOWS):
        answer = client.get(address, follow=True)
        assert answer.status_code == 403
