"""The long history that benches measure with is one that messages could have made."""

from __future__ import annotations

import dataclasses
import datetime as dt
import time

import pytest

from monitoring.metrics.verification import Difference, verify
from monitoring.models import ErrorGroup, Execution, NodeExecution
from monitoring.recording import schema
from monitoring.recording.environments import source_for
from monitoring.recording.record import Outcome
from monitoring.recording.store import record_executions
from monitoring.words import Status
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests.bench.history import shapes
from tests.bench.history.fill import Plan, fill
from tests.tenants.factories import make_tenant

pytestmark = pytest.mark.django_db(transaction=True)
PLAN = Plan("history", executions=2_000, workflows=6, days=3, end=int(time.time() * 1_000))


@pytest.fixture
def tenant() -> Tenant:
    tenant = make_tenant(name="History", slug="history")
    fill(PLAN, processes=2, tell=lambda _: None)
    return tenant


def test_its_numbers_are_those_of_its_rows(tenant: Tenant) -> None:
    found: list[Difference] = []
    assert verify(tenant, tell=found.append).compared > 100
    assert found == []
    with tenant_scope(tenant):
        executions = Execution.objects.count()
        assert 2_000 <= executions <= 2_000 + 10 * PLAN.workflows, "and one of each shape"
        assert Execution.objects.with_status([Status.FAILED]).exists()
        assert ErrorGroup.objects.exists()
        assert 4 * executions < NodeExecution.objects.count() <= 5 * executions


def test_a_fill_that_was_ended_goes_on_with_the_days_that_are_missing(tenant: Tenant) -> None:
    longer = dataclasses.replace(PLAN, days=5)
    added = sum(longer.sizes()[day] for day in list(longer.sizes())[:2])
    assert fill(longer, processes=1, tell=lambda _: None) < added, "a day's shapes count as a day"
    assert fill(longer, processes=1, tell=lambda _: None) == 0


def test_a_later_message_about_one_of_its_executions_wins(tenant: Tenant) -> None:
    with tenant_scope(tenant):
        last = Execution.objects.newest_first().first()
        assert last is not None
        workflow = last.workflow.external_id
    now = dt.datetime.now(dt.UTC).isoformat()
    message = {"id": last.external_id, "workflowId": workflow, "status": "canceled"}
    body = shapes.encoded(message | {"completedAt": now})
    record = schema.full_execution(schema.decode(body), body, source_for(tenant.pk))
    assert record_executions([record])[0].outcome is Outcome.UPDATED
    assert verify(tenant).differences == 0
