"""What a step of emptying a tenant costs: its own rows, however many the others have."""

from __future__ import annotations

import pytest
from django.db import connection

from monitoring import deletion
from tenants.models import Tenant
from tests.monitoring.factories import make_tenant

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
