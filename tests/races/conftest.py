"""A tenant with a token on a real server of two processes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import pytest

from monitoring.metrics.statistics import Statistics, workflow_statistics
from monitoring.metrics.verification import Difference, verify
from monitoring.models import Event, Execution, ExecutionKey, NodeExecution, Workflow
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests.config.servers import WebServer
from tests.tenants.factories import make_tenant, make_token


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Real processes need the machine for themselves."""
    for item in items:
        if item.nodeid.startswith("tests/races/"):
            item.add_marker(pytest.mark.processes)
            item.add_marker(pytest.mark.xdist_group("processes"))


@dataclass(frozen=True, slots=True)
class Stored:
    """A tenant's history as the database has it."""

    tenant: Tenant
    token: str

    def sender_ids(self) -> Counter[str | None]:
        """How many executions there are of each sender's id."""
        with tenant_scope(self.tenant):
            return Counter(Execution.objects.values_list("external_id", flat=True))

    def events_by_execution(self) -> Counter[str]:
        """How many outbox events tell of each execution."""
        with tenant_scope(self.tenant):
            return Counter(
                body["execution"] for body in Event.objects.values_list("body", flat=True)
            )

    def statistics(self) -> dict[str, Statistics]:
        """All-time statistics by the workflow's external id."""
        with tenant_scope(self.tenant):
            workflows = list(Workflow.objects.all())
            numbers = workflow_statistics(workflows)
            return {each.external_id: numbers[each.pk] for each in workflows}

    def differences(self) -> list[Difference]:
        """What `verify_rollups` finds."""
        found: list[Difference] = []
        with tenant_scope(self.tenant):
            verify(self.tenant, tell=found.append)
        return found

    def orphans(self) -> dict[str, int]:
        """Rows that belong to no execution."""
        with tenant_scope(self.tenant):
            living = set(Execution.objects.values_list("id", flat=True))
            return {
                model.__name__: len(
                    set(model.objects.values_list("execution_id", flat=True)) - living
                )
                for model in (ExecutionKey, NodeExecution)
            }


@pytest.fixture
def stored(transactional_db: None) -> Stored:
    tenant = make_tenant(name="Acme", slug="acme")
    return Stored(tenant, make_token(tenant)[1])


@pytest.fixture
def server(stored: Stored, granian_server: WebServer) -> WebServer:
    return granian_server
