"""What pages cost: statements asked and blocks read, which no busy machine changes."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from monitoring.metrics import reading
from monitoring.metrics.ranges import totals
from monitoring.metrics.rollups import fold_deltas
from monitoring.metrics.subject import of_tenant
from monitoring.metrics.timerange import TimeRange
from monitoring.models import Execution, Workflow
from monitoring.words import Status
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests.monitoring.counted import message, node, record
from tests.monitoring.factories import make_environment, make_workflow

pytestmark = pytest.mark.django_db

WORKFLOWS = 20
EACH = 40

# Page → most statements, most blocks (three times what is usual: plans over tables this small vary).
# Raise a number of statements only for something that people need at once.
BUDGETS = {
    "overview?range=24h": (16, 3_000),
    "overview?range=30d": (17, 6_000),
    "executions?range=30d": (6, 500),
    "executions?range=30d&status=failed": (6, 500),
    "execution": (13, 2_500),
    "workflows?range=7d": (11, 6_000),
    "workflow?range=7d": (14, 3_500),
}


@pytest.fixture
def history(tenant: Tenant) -> Workflow:
    """Twenty workflows over 28 days, a fifth of which fail in each third run; the last of them."""
    environment = make_environment(tenant)
    workflows = [make_workflow(environment, name=f"W{n}") for n in range(WORKFLOWS)]
    now = timezone.now()
    for number, workflow in enumerate(workflows):
        record(
            *(
                message(
                    workflow,
                    now - dt.timedelta(hours=1 + 17 * run),
                    Status.FAILED if number % 5 == 4 and run % 3 == 0 else Status.SUCCESS,
                    nodes=[node("a"), node("b")],
                )
                for run in range(EACH)
            )
        )
    while fold_deltas():
        pass
    with connection.cursor() as cursor:
        cursor.execute(
            "ANALYZE monitoring_rollup, monitoring_noderollup, monitoring_execution,"
            " monitoring_nodeexecution, monitoring_workflow"
        )
        # As in large tables; plans of other tests were made for other ones.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("DISCARD PLANS")
    return workflows[-1]


def blocks_read() -> int:
    """Blocks that this transaction has asked for so far, of tables and indexes."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(pg_stat_get_xact_blocks_fetched(oid)) FROM pg_class"
            " WHERE relname LIKE 'monitoring%' AND relkind IN ('r', 'i')"
        )
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize("page", BUDGETS)
def test_a_page_asks_few_statements_and_reads_few_blocks(
    viewer: Client, tenant: Tenant, history: Workflow, page: str
) -> None:
    with tenant_scope(tenant):
        failed = Execution.objects.filter(status=Status.FAILED).newest_first().first()
    assert failed is not None
    name, _, query = page.partition("?")
    path = {
        "overview": "",
        "executions": "executions/",
        "execution": f"executions/{failed.pk}/",
        "workflows": "workflows/",
        "workflow": f"workflows/{history.pk}/",
    }[name]
    address = f"/t/{tenant.slug}/{path}?{query}"
    viewer.get(address)
    before = blocks_read()
    with CaptureQueriesContext(connection) as asked:
        assert viewer.get(address).status_code == 200
    statements, blocks = BUDGETS[page]
    assert len(asked) <= statements, [query["sql"] for query in asked]
    assert blocks_read() - before <= blocks


def nodes_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for child in plan.get("Plans", ()):
        yield from nodes_of(child)


def test_waiting_deltas_of_another_time_are_not_compared(
    tenant: Tenant, history: Workflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An import of history leaves tens of thousands: each page compared each with each segment."""
    waiting = 3_000
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO monitoring_rollupdelta (tenant_id, environment_id, workflow_id, bucket,"
            " counts, duration_sums, duration_counts, error_classes, histogram, nodes)"
            " SELECT %s, %s, %s, '2020-01-01'::timestamptz + n * interval '5 min',"
            " array_fill(0::bigint, ARRAY[8]), array_fill(0::bigint, ARRAY[8]),"
            " array_fill(0::bigint, ARRAY[8]), array_fill(0::bigint, ARRAY[20]), '', ''"
            " FROM generate_series(1, %s) n",
            [tenant.pk, history.environment_id, history.pk, waiting],
        )
    plans: list[Any] = []

    def explained(statement: str, params: Any) -> list[Any]:
        with connection.cursor() as cursor:
            explain = f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) {statement}"
            cursor.execute(explain, params)
            [[text]] = cursor.fetchall()
        plans.extend(json.loads(text) if isinstance(text, str) else text)
        return []

    monkeypatch.setattr(reading, "fetch_all", explained)
    range_ = TimeRange.of_preset("30d", now=timezone.now())
    with tenant_scope(tenant):
        totals(of_tenant(tenant), range_)
    compared = sum(
        node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Join Filter", 0)
        for node in nodes_of(plans[0]["Plan"])
    )
    assert compared < waiting
