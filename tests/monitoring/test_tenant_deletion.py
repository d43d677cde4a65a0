"""Emptying a tenant: what a step costs, and that nothing is stored behind it."""

from __future__ import annotations

import datetime as dt

import pytest
from django.db import connection
from django.test import Client

from monitoring import deletion
from monitoring.recording import environments, workflows, writer
from tenants import tokens
from tenants.deletion import PAUSE, delete_marked_tenants_step, request_deletion
from tenants.models import Tenant
from tests.monitoring.factories import make_tenant
from tests.tenants.factories import make_token, mark_long_ago

pytestmark = [pytest.mark.django_db, pytest.mark.store]

MANY = 10_000
SOME = deletion.STEP + 500
"""A whole step and the last one, which has fewer."""

# Over all partitions: one execution in every five minutes, back from now.
UUID = """(lpad(to_hex((extract(epoch FROM now()) * 1000)::bigint - n::bigint * 300000), 12, '0')
    || '7000' || lpad(to_hex(n), 16, '0'))::uuid"""
ROWS = {
    "monitoring_nodeexecution": (
        "execution_id, node_id, run_index, status, order_keys",
        f"{UUID}, 'n', 0, 3, ''",
    ),
    "monitoring_executionkey": (
        "environment_id, workflow_id, external_id, execution_id",
        "1, 1, n::text, gen_random_uuid()",
    ),
    "monitoring_errorgroup": (
        "fingerprint, title, sample, error_class, created_at",
        "sha256(n::text::bytea), '', '', 0, now()",
    ),
}


def add_rows(table: str, tenant: Tenant, number: int) -> None:
    columns, values = ROWS[table]
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (tenant_id, {columns})"
            f" SELECT %s, {values} FROM generate_series(1, %s) AS n",
            [tenant.pk, number],
        )


def rows_read() -> int:
    """Rows that this transaction has read so far, in every way."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_xact_user_tables"
        )
        return int(cursor.fetchone()[0])


def rows_left(table: str, tenant: Tenant) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table} WHERE tenant_id = %s", [tenant.pk])
        return int(cursor.fetchone()[0])


@pytest.mark.parametrize("table", ROWS)
def test_a_step_reads_what_it_deletes_and_not_what_others_have(table: str) -> None:
    other, tenant = make_tenant(), make_tenant()
    add_rows(table, other, MANY)
    add_rows(table, tenant, SOME)
    for left in (SOME - deletion.STEP, 0):
        before = rows_read()
        assert deletion.delete_tenant_step(tenant)
        assert rows_read() - before < 3 * deletion.STEP
        assert rows_left(table, tenant) == left
    assert rows_left(table, other) == MANY


def post(secret: str, number: int) -> int:
    """The answer's status to one execution."""
    told = {"id": str(number), "workflowId": "w", "status": "success"}
    answer = Client().post(
        "/api/executions",
        told,
        content_type="application/json",
        headers={"Authorization": f"Bearer {secret}"},
    )
    return answer.status_code


def test_what_comes_under_a_token_that_is_still_believed_goes_too() -> None:
    tenant = make_tenant()
    _, secret = make_token(tenant)
    assert post(secret, 1) == 201
    request_deletion(
        tenant
    )  # commits nothing here: so this process believes the token as others do
    assert not delete_marked_tenants_step()
    assert post(secret, 2) == 201
    tokens.forget_cached_tokens()
    assert post(secret, 3) == 401
    mark_long_ago(tenant)
    while delete_marked_tenants_step():
        pass
    assert {
        table: rows_left(table, tenant) for table in deletion.TABLES_OF_TENANT
    } == dict.fromkeys(deletion.TABLES_OF_TENANT, 0)


def test_a_mark_outlasts_all_that_is_remembered_and_waited_for() -> None:
    remembered = tokens.CACHE_SECONDS + environments.CACHE_SECONDS + workflows.CACHE_SECONDS
    assert (
        dt.timedelta(seconds=remembered + writer.WAIT_SECONDS) < PAUSE / 2
    )  # the other half is for large batches
