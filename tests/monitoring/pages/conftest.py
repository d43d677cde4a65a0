"""A tenant with one workflow, and people who look at its pages."""

from __future__ import annotations

import pytest
from django.test import Client

from monitoring.models import Workflow
from tenants.models import Role, Tenant
from tests.monitoring.factories import make_environment, make_member, make_tenant, make_workflow


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("agency")


@pytest.fixture
def workflow(tenant: Tenant) -> Workflow:
    environment = make_environment(tenant, name="n8n EU")
    return make_workflow(environment, name="Invoice sync", external_id="wf-invoice")


@pytest.fixture
def viewer(tenant: Tenant, client: Client) -> Client:
    client.force_login(make_member(tenant))
    return client


@pytest.fixture
def admin(tenant: Tenant, client: Client) -> Client:
    client.force_login(make_member(tenant, Role.ADMIN))
    return client
