"""What one step holds in memory is bounded by what it reads, whatever senders put into their rows."""

from __future__ import annotations

import datetime as dt
import secrets
import tracemalloc

import pytest
from django.utils import timezone

from monitoring import history, worker
from monitoring.history import ExecutionQuery
from monitoring.metrics.verification import verify
from monitoring.models import RollupDelta, Workflow
from monitoring.tenant_data import execution_records
from tenants.models import Tenant
from tenants.scoping import across_tenants, tenant_scope
from tests.monitoring.counted import message, node, record
from tests.monitoring.factories import make_environment, make_tenant, make_workflow

pytestmark = pytest.mark.django_db(transaction=True)

MEGABYTE = 1024 * 1024
START = dt.datetime(2026, 3, 2, 9, 1, tzinfo=dt.UTC)


@pytest.fixture
def tenant() -> Tenant:
    return make_tenant("acme")


@pytest.fixture
def workflow(tenant: Tenant) -> Workflow:
    return make_workflow(make_environment(tenant))


class Peak:
    """What Python took at most within the block."""

    megabytes = 0.0

    def __enter__(self) -> Peak:
        tracemalloc.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.megabytes = tracemalloc.get_traced_memory()[1] / MEGABYTE
        tracemalloc.stop()


def test_a_fold_takes_fewer_deltas_when_they_hold_many_nodes(workflow: Workflow) -> None:
    nodes = [node(f"n{number}") for number in range(3_000)]
    for hour in range(24):
        record(message(workflow, START + dt.timedelta(hours=hour), nodes=nodes))
    with Peak() as peak:
        assert worker.fold(), "there is more to fold at once"
    assert peak.megabytes < 75  # all 24 at once take 140
    assert deltas_left() > 0
    while worker.fold():
        continue
    assert deltas_left() == 0
    assert verify(workflow.tenant).differences == 0


def deltas_left() -> int:
    with across_tenants():
        return RollupDelta.objects.count()


def test_one_delta_larger_than_a_fold_may_take_is_folded(workflow: Workflow) -> None:
    record(message(workflow, START, nodes=[node(f"{'n' * 200}{n}") for n in range(5_000)]))
    worker.fold()
    assert deltas_left() == 0


def test_an_export_holds_few_long_messages(workflow: Workflow) -> None:
    long = "x" * 64_000
    for part in range(20):
        at = START + dt.timedelta(minutes=part)
        record(*(message(workflow, at, error_message=long) for _ in range(50)))
    with tenant_scope(workflow.tenant), Peak() as peak:
        assert sum(len(rows) for rows in history.iterate(ExecutionQuery())) == 1_000
    assert peak.megabytes < 40  # all 1,000 at once take 64


def test_a_tenants_export_holds_few_payloads(tenant: Tenant, workflow: Workflow) -> None:
    for _ in range(40):
        one = message(workflow, timezone.now())
        one.result = f'"{secrets.token_hex(MEGABYTE // 2)}"'.encode()  # half a megabyte packed
        record(one)
    with tenant_scope(tenant), Peak() as peak:
        assert sum(1 for _ in execution_records(tenant)) == 40
    assert peak.megabytes < 14  # all 40 at once take 24
