"""A tenant, its workflow, and callers of the API for tests of alerts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from monitoring.models import Workflow
from monitoring.recording.environments import forget_environments
from tenants.models import Tenant
from tenants.tokens import forget_cached_tokens
from tests.monitoring.api.conftest import Api, api_for
from tests.monitoring.factories import make_environment, make_tenant, make_workflow


@pytest.fixture(autouse=True)
def _fresh_caches() -> Iterator[None]:
    forget_cached_tokens()
    forget_environments()
    yield
    forget_cached_tokens()
    forget_environments()


@pytest.fixture
def tenant(db: None) -> Tenant:
    return make_tenant("alerts")


@pytest.fixture
def workflow(tenant: Tenant) -> Workflow:
    return make_workflow(make_environment(tenant), name="Invoice sync", external_id="invoices")


@pytest.fixture
def api(tenant: Tenant) -> Api:
    return api_for(tenant)
