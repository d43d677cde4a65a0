"""Deletes executions with everything about them, subtracting them from the numbers.

Retention (`monitoring.retention`) takes them with everything about them, but leaves the numbers.

Small steps: each call deletes at most 1,000 executions in one transaction, so that a large deletion
can be cut off and go on later.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from typing import NamedTuple

from django.db import connection, transaction
from django.db.backends.utils import CursorWrapper

from monitoring.counting.buckets import bucket_of
from monitoring.database import columns, cursor
from monitoring.models import Workflow
from monitoring.recording import contact, tables
from monitoring.recording.deltas import Delta
from monitoring.recording.merge import ExecutionState
from tenants.models import Tenant

STEP = 1_000


class Place(NamedTuple):
    """A locked execution, as far as finding what hangs on it takes."""

    id: uuid.UUID
    external_id: str | None
    workflow_id: int
    environment_id: int


_DELETE = (
    "DELETE FROM monitoring_nodeexecution WHERE tenant_id = %s AND execution_id = ANY(%s::uuid[])",
    "DELETE FROM monitoring_execution WHERE tenant_id = %s AND id = ANY(%s::uuid[])",
)
_DELETE_IDEMPOTENCY_KEYS = (
    "DELETE FROM monitoring_idempotencykey WHERE tenant_id = %s AND execution_id = ANY(%s::uuid[])"
)
_DELETE_KEYS = """
    DELETE FROM monitoring_executionkey k
    USING unnest(%s::text[], %s::bigint[], %s::bigint[], %s::uuid[])
        AS gone (external_id, workflow_id, environment_id, execution_id)
    WHERE k.tenant_id = %s AND k.external_id = gone.external_id AND k.workflow_id = gone.workflow_id
        AND k.environment_id = gone.environment_id AND k.execution_id = gone.execution_id
"""
# Locked, so that none of them goes while its key is made.
_MAKE_KEYS = """
    INSERT INTO monitoring_executionkey (tenant_id, external_id, workflow_id, environment_id, execution_id)
    SELECT tenant_id, external_id, workflow_id, environment_id, id FROM monitoring_execution
    WHERE tenant_id = %s AND id = ANY(%s::uuid[]) AND id BETWEEN %s AND %s AND external_id IS NOT NULL
    ORDER BY id FOR KEY SHARE
    ON CONFLICT DO NOTHING
"""
# Deltas that are not folded yet would bring a deleted execution's time back.
_FORGET_LAST = """
    UPDATE monitoring_rollupdelta SET last_executed_at = NULL WHERE id IN (
        SELECT id FROM monitoring_rollupdelta
        WHERE tenant_id = %s AND workflow_id = ANY(%s::bigint[]) AND last_executed_at IS NOT NULL
        ORDER BY id FOR UPDATE)
"""
_FIND_LAST = """
    UPDATE monitoring_workflow w SET last_executed_at = (
        SELECT to_timestamp(('x' || left(replace(e.id::text, '-', ''), 12))::bit(48)::bigint / 1000.0)
        FROM monitoring_execution e
        WHERE e.tenant_id = w.tenant_id AND e.workflow_id = w.id
        ORDER BY e.id DESC LIMIT 1)
    WHERE w.tenant_id = %s AND w.id = ANY(%s::bigint[])
"""


def delete_executions(tenant_id: int, ids: Collection[uuid.UUID]) -> int:
    """Delete at most 1,000 executions of a tenant; return how many there were to delete.

    Ids that are unknown or another tenant's are passed over. Raises ValueError for more than 1,000.
    """
    if len(ids) > STEP:
        raise ValueError(f"delete at most {STEP} executions at once")
    with transaction.atomic():
        states = tables.lock_existing(tenant_id, ids)
        if states:
            _delete(tenant_id, states)
    return len(states)


def clear_workflow_step(workflow: Workflow, limit: int = STEP) -> int:
    """Delete a workflow's newest executions, at most `limit`; 0 when none is left."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id FROM monitoring_execution WHERE tenant_id = %s AND workflow_id = %s"
            " ORDER BY id DESC LIMIT %s",
            [workflow.tenant_id, workflow.pk, min(limit, STEP)],
        )
        ids = [row[0] for row in cursor.fetchall()]
    return delete_executions(workflow.tenant_id, ids)


def _delete(tenant_id: int, states: Collection[ExecutionState]) -> None:
    deltas: dict[tables.DeltaPlace, Delta] = {}
    for state in states:
        place = (tenant_id, state.environment_id, state.workflow_id, bucket_of(state.id))
        if state.before is not None:
            deltas.setdefault(place, Delta()).count(state.before, -1)
    workflow_ids = sorted({state.workflow_id for state in states})
    remove(
        tenant_id,
        [
            Place(state.id, state.external_id, state.workflow_id, state.environment_id)
            for state in states
        ],
    )
    with cursor() as db:
        tables.write_deltas(db, deltas)
        db.execute(_FORGET_LAST, [tenant_id, workflow_ids])
        db.execute(_FIND_LAST, [tenant_id, workflow_ids])


def remove(tenant_id: int, executions: Sequence[Place]) -> None:
    """Delete locked executions with all that hangs on them; their numbers stay as they are."""
    forget_keys(tenant_id, executions)
    ids = [one.id for one in executions]
    with cursor() as db:
        for statement in _DELETE:
            db.execute(statement, [tenant_id, ids])


def forget_keys(tenant_id: int, executions: Sequence[Place]) -> None:
    """Delete what finds executions by their senders' keys, and the signs of life."""
    ids = [one.id for one in executions]
    keyed = [
        (one.external_id, one.workflow_id, one.environment_id, one.id)
        for one in executions
        if one.external_id is not None
    ]
    with cursor() as db:
        if keyed:
            db.execute(_DELETE_KEYS, [*columns(keyed), tenant_id])
        db.execute(_DELETE_IDEMPOTENCY_KEYS, [tenant_id, ids])
    contact.forget(tenant_id, ids)


def make_keys(tenant_id: int, ids: Sequence[uuid.UUID]) -> None:
    """Make the senders' keys of executions (ids in order) that lack them and still exist."""
    with cursor() as db:
        db.execute(_MAKE_KEYS, [tenant_id, ids, ids[0], ids[-1]])


# In the order in which a tenant's rows go: what others point at comes last. Tables whose primary key
# begins with the tenant stand with the rest of that key, the others with none.
TABLES_OF_TENANT: dict[str, tuple[str, ...]] = {
    "monitoring_nodeexecution": ("execution_id", "node_id", "run_index"),
    "monitoring_execution": ("id",),
    "monitoring_signoflife": ("execution_id",),
    "monitoring_idempotencykey": ("digest",),
    "monitoring_executionkey": ("external_id", "workflow_id", "environment_id"),
    "monitoring_rollupdelta": (),
    "monitoring_event": (),
    "monitoring_rollup": ("subject_kind", "subject_id", "level", "bucket"),
    "monitoring_noderollup": ("workflow_id", "level", "bucket", "node_id"),
    "monitoring_nodeline": ("workflow_id", "node_id"),
    "monitoring_errorgroup": (),
    "monitoring_workflowversion": (),
    "monitoring_workflow": (),
    "monitoring_environment": (),
}


def delete_tenant_step(tenant: Tenant) -> bool:
    """Delete a bounded part of a tenant's data; return whether there was something to delete.

    It reads about as many rows as it deletes, however many other tenants have.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        # With statistics that are old, or of a tenant that has most rows, reading all looks cheap.
        cursor.execute("SET LOCAL enable_seqscan = off")
        for table, key in TABLES_OF_TENANT.items():
            delete = _delete_by_key if key else _delete_by_id
            if delete(cursor, table, key, tenant.pk):
                return True
    return False


def _delete_by_key(cursor: CursorWrapper, table: str, key: Sequence[str], tenant_id: int) -> int:
    """Delete a tenant's first rows in the order of the primary key; return how many."""
    columns = ", ".join(key)
    cursor.execute(
        f"SELECT {columns} FROM {table} WHERE tenant_id = %s"  # noqa: S608 - names from this module
        f" ORDER BY {columns} OFFSET %s LIMIT 1",
        [tenant_id, STEP - 1],
    )
    last = cursor.fetchone()
    delete = f"DELETE FROM {table} WHERE tenant_id = %s"  # noqa: S608
    if last is None:  # fewer are left than a step takes
        cursor.execute(delete, [tenant_id])
    else:
        places = ", ".join(["%s"] * len(key))
        cursor.execute(f"{delete} AND ({columns}) <= ({places})", [tenant_id, *last])
    return int(cursor.rowcount)


def _delete_by_id(cursor: CursorWrapper, table: str, _: Sequence[str], tenant_id: int) -> int:
    """Delete some of a tenant's rows by their ids; return how many."""
    cursor.execute(
        f"SELECT id FROM {table} WHERE tenant_id = %s LIMIT %s",  # noqa: S608 - as above
        [tenant_id, STEP],
    )
    ids = [row[0] for row in cursor.fetchall()]
    if not ids:
        return 0
    cursor.execute(
        f"DELETE FROM {table} WHERE tenant_id = %s AND id = ANY(%s)",  # noqa: S608
        [tenant_id, ids],
    )
    return int(cursor.rowcount)
