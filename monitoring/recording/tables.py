"""SQL of the store: a few statements for a chunk, whatever its size.

New rows go by COPY, everything else as arrays (`unnest`) in one fixed order of rows.
All functions run in the caller's transaction on Django's connection and raise Django's database errors.
"""

from __future__ import annotations

import datetime as dt
import functools
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, LiteralString

import msgspec
import psycopg
from django.db import DataError
from psycopg.types.json import Jsonb

from monitoring.database import columns, cursor
from monitoring.recording import old_weeks
from monitoring.recording.deltas import Delta
from monitoring.recording.merge import (
    Derived,
    ExecutionState,
    NodeState,
    contribution,
    told_execution_columns,
    told_node_duration,
)
from monitoring.recording.merge import derive as derive_state
from monitoring.words import Status

KeyRow = tuple[int, str, int, int, uuid.UUID]
"""(tenant, external id, workflow, environment, execution)."""

DeltaPlace = tuple[int, int, int, dt.datetime]
"""(tenant, environment, workflow, bucket)."""

EXECUTION_CHANGED = "execution.changed"
PARTITIONS_AHEAD = dt.timedelta(days=60)


class Vanished(Exception):
    """Executions are not there though keys lead to them: try again, without the keys (`forget_gone`).

    Mostly they were deleted between finding the key and locking them, and so was the key.
    """

    def __init__(self, gone: Collection[tuple[int, uuid.UUID]] = ()) -> None:
        self.gone = gone


def ensure_partitions() -> None:
    """Make the partitions for executions up to 60 days ahead (a function of the owner's)."""
    with cursor() as db:
        db.execute("SELECT flowwatch_ensure_partitions(now() + %s)", [PARTITIONS_AHEAD])


# --- workflows and keys -------------------------------------------------------------------------

_MAKE_WORKFLOWS = """
    INSERT INTO monitoring_workflow (tenant_id, environment_id, external_id, name, name_key, created_at,
        execution_count, success_count, failure_count, partial_count, duration_sum_ms, duration_count)
    SELECT w.*, now(), 0, 0, 0, 0, 0, 0
    FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %b::bytea[]) AS w
    ON CONFLICT (environment_id, external_id) DO NOTHING
    RETURNING environment_id, external_id, id, name_key
"""
_FIND_WORKFLOWS = """
    SELECT w.environment_id, w.external_id, w.id, w.name_key
    FROM unnest(%s::bigint[], %s::text[]) AS wanted (environment_id, external_id)
    JOIN monitoring_workflow w USING (environment_id, external_id)
"""


def find_or_make_workflows(
    rows: Sequence[tuple[int, int, str, str, bytes]],
) -> dict[tuple[int, str], tuple[int, bytes]]:
    """(tenant, environment, external id, name, name key) → (environment, external id): (id, name key).

    `rows` are sorted by (environment, external id).
    """
    found: dict[tuple[int, str], tuple[int, bytes]] = {}

    def take(db: psycopg.Cursor[Any]) -> None:
        for environment_id, external_id, workflow_id, name_key in db.fetchall():
            found[environment_id, external_id] = (workflow_id, bytes(name_key))

    with cursor() as db:
        db.execute(_FIND_WORKFLOWS, columns([row[1:3] for row in rows]))
        take(db)
        missing = [row for row in rows if row[1:3] not in found]
        if missing:
            db.execute(_MAKE_WORKFLOWS, columns(missing))
            take(db)
        raced = [row for row in missing if row[1:3] not in found]
        if raced:
            db.execute(_FIND_WORKFLOWS, columns([row[1:3] for row in raced]))
            take(db)
    return found


_CLAIM_KEYS = """
    INSERT INTO monitoring_executionkey (tenant_id, external_id, workflow_id, environment_id, execution_id)
    SELECT * FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::uuid[])
    ON CONFLICT DO NOTHING
    RETURNING workflow_id, external_id, execution_id
"""
_FIND_KEYS = """
    SELECT k.workflow_id, k.external_id, k.execution_id
    FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bigint[])
        AS wanted (tenant_id, external_id, workflow_id, environment_id)
    JOIN monitoring_executionkey k USING (tenant_id, external_id, workflow_id, environment_id)
"""


def claim_external_ids(rows: Sequence[KeyRow]) -> dict[tuple[int, str], uuid.UUID]:
    """Claim senders' ids for new executions; (workflow, external id) → whose it is now."""
    if not rows:
        return {}
    ordered = sorted(rows)
    owners: dict[tuple[int, str], uuid.UUID] = {}
    with cursor() as db:
        db.execute(_CLAIM_KEYS, columns(ordered))
        owners.update({(workflow, external): owner for workflow, external, owner in db})
        known = [row for row in ordered if (row[2], row[1]) not in owners]
        if known:
            db.execute(_FIND_KEYS, columns([row[:4] for row in known]))
            owners.update({(workflow, external): owner for workflow, external, owner in db})
    if len(owners) < len(rows):
        raise Vanished
    return owners


def release_external_ids(rows: Sequence[KeyRow]) -> None:
    """Delete keys that this transaction claimed."""
    if not rows:
        return
    with cursor() as db:
        db.execute(
            "DELETE FROM monitoring_executionkey k USING unnest(%s::bigint[], %s::text[], %s::bigint[],"
            " %s::bigint[], %s::uuid[])"
            " AS r (tenant_id, external_id, workflow_id, environment_id, execution_id)"
            " WHERE (k.tenant_id, k.external_id, k.workflow_id, k.environment_id, k.execution_id)"
            " = (r.tenant_id, r.external_id, r.workflow_id, r.environment_id, r.execution_id)",
            columns(rows),
        )


# A key is committed with its execution and never before: one that is seen without it leads to nothing.
_NOBODYS = """
    NOT EXISTS (SELECT FROM monitoring_execution e
        WHERE e.tenant_id = k.tenant_id AND e.id = k.execution_id)
"""
_FORGET_GONE = f"""
    DELETE FROM monitoring_executionkey k
    USING unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::uuid[])
        AS gone (tenant_id, external_id, workflow_id, environment_id, execution_id)
    WHERE (k.tenant_id, k.external_id, k.workflow_id, k.environment_id, k.execution_id)
        = (gone.tenant_id, gone.external_id, gone.workflow_id, gone.environment_id, gone.execution_id)
        AND {_NOBODYS}
"""  # noqa: S608 - a constant of this module
_FORGET_GONE_IDEMPOTENCY = f"""
    DELETE FROM monitoring_idempotencykey k
    USING unnest(%s::bigint[], %s::uuid[]) AS gone (tenant_id, execution_id)
    WHERE (k.tenant_id, k.execution_id) = (gone.tenant_id, gone.execution_id) AND {_NOBODYS}
"""  # noqa: S608 - a constant of this module


def forget_gone(gone: Collection[tuple[int, uuid.UUID]], keys: Sequence[KeyRow]) -> None:
    """Delete the keys of executions (tenant, id) that are gone; `keys` are the senders' ids among them.

    Whatever left them: without it nothing could ever be stored under them again.
    """
    # A week that moves to the archive at this moment would look like one that is gone.
    old_weeks.hold_old()
    with cursor() as db:
        if keys:
            db.execute(_FORGET_GONE, columns(sorted(keys)))
        db.execute(_FORGET_GONE_IDEMPOTENCY, columns(sorted(gone)))


_CLAIM_IDEMPOTENCY = """
    INSERT INTO monitoring_idempotencykey (tenant_id, digest, body_digest, execution_id)
    SELECT * FROM unnest(%s::bigint[], %b::bytea[], %b::bytea[], %s::uuid[])
    ON CONFLICT DO NOTHING
    RETURNING tenant_id, digest, body_digest, execution_id
"""
_FIND_IDEMPOTENCY = """
    SELECT k.tenant_id, k.digest, k.body_digest, k.execution_id
    FROM unnest(%s::bigint[], %b::bytea[]) AS wanted (tenant_id, digest)
    JOIN monitoring_idempotencykey k USING (tenant_id, digest)
"""


def claim_idempotency_keys(
    rows: Sequence[tuple[int, bytes, bytes, uuid.UUID]],
) -> dict[tuple[int, bytes], tuple[bytes, uuid.UUID]]:
    """(tenant, digest, body digest, execution) → (tenant, digest): (body digest, execution) of the owner."""
    ordered = sorted(rows)
    owners: dict[tuple[int, bytes], tuple[bytes, uuid.UUID]] = {}

    def take(db: psycopg.Cursor[Any]) -> None:
        for tenant_id, digest, body_digest, owner in db:
            owners[tenant_id, bytes(digest)] = (bytes(body_digest), owner)

    with cursor() as db:
        db.execute(_CLAIM_IDEMPOTENCY, columns(ordered))
        take(db)
        known = [row[:2] for row in ordered if row[:2] not in owners]
        if known:
            db.execute(_FIND_IDEMPOTENCY, columns(known))
            take(db)
    if len(owners) < len(rows):
        raise Vanished
    return owners


# --- reading what exists ------------------------------------------------------------------------

_STATE_COLUMNS = (
    "tenant_id", "id", "environment_id", "workflow_id", "external_id", "status", "order_keys",
    "received_at", "changed_at", "started_at", "completed_at", "updated_at", "duration_ms",
    "trigger_type", "attempt", "retry_of", "parent_execution_id", "parent_node_id", "version",
    "tags", "keys", "error_message", "error_node_id", "heartbeat_seconds", "lost_contact_at",
)  # fmt: skip
_NODE_STATE_COLUMNS = (
    "node_id", "run_index", "status", "order_keys", "position", "name", "type", "started_at",
    "completed_at", "duration_ms", "attempt", "error_message", "input_bytes", "output_bytes",
    "input_items", "output_items",
)  # fmt: skip


_LOCK_STATES = f"""
    SELECT {", ".join(_STATE_COLUMNS)} FROM monitoring_execution
    WHERE tenant_id = ANY(%s::bigint[]) AND id = ANY(%s::uuid[])
    ORDER BY id FOR UPDATE
"""  # noqa: S608 - column names from this module
_READ_NODES = f"""
    SELECT execution_id, {", ".join(_NODE_STATE_COLUMNS)} FROM monitoring_nodeexecution
    WHERE tenant_id = ANY(%s::bigint[]) AND execution_id = ANY(%s::uuid[])
"""  # noqa: S608 - column names from this module


def lock_states(wanted: Collection[tuple[int, uuid.UUID]]) -> dict[uuid.UUID, ExecutionState]:
    """Lock executions and read them with their nodes. Raises Vanished when one is gone."""
    tenants = sorted({tenant_id for tenant_id, _ in wanted})
    ids = sorted({execution_id for _, execution_id in wanted})
    states = _lock(tenants, ids)
    if len(states) < len(ids):
        raise Vanished([place for place in wanted if place[1] not in states])
    return states


def lock_existing(tenant_id: int, ids: Collection[uuid.UUID]) -> list[ExecutionState]:
    """Lock those of a tenant's executions that are there and read them with their nodes."""
    return list(_lock([tenant_id], sorted(ids)).values())


def _lock(tenants: list[int], ids: list[uuid.UUID]) -> dict[uuid.UUID, ExecutionState]:
    """Payloads stay where they are until one is asked for: a chunk's together could fill memory."""
    with cursor() as db:
        db.execute(_LOCK_STATES, [tenants, ids])
        states = {state.id: state for state in map(_state_of_row, db.fetchall())}
        db.execute(_READ_NODES, [tenants, list(states)])
        for execution_id, *row in db:
            node = _node_of_row(row)
            states[execution_id].nodes[node.node_id, node.run_index] = node
    for state in states.values():
        state.before = contribution(state, derive_state(state))
    return states


def _state_of_row(row: Sequence[Any]) -> ExecutionState:
    """A stored execution as what was told; derived columns are forgotten."""
    values = dict(zip(_STATE_COLUMNS, row, strict=True))
    values["read_payload"] = functools.partial(_read_payload, values["tenant_id"], values["id"])
    values["order_keys"] = bytes(values["order_keys"])
    values["status"] = Status(values["status"])
    told = told_execution_columns(values["order_keys"])
    for name in ("duration_ms", "error_message", "error_node_id"):
        if name not in told:
            values[name] = None
    for name in ("tags", "keys"):
        if isinstance(values[name], str):
            values[name] = msgspec.json.decode(values[name])
    return ExecutionState(**values, nodes={}, is_new=False)


def _read_payload(tenant_id: int, execution_id: uuid.UUID) -> bytes | None:
    with cursor() as db:
        db.execute(
            "SELECT payload FROM monitoring_execution WHERE tenant_id = %s AND id = %s",
            [tenant_id, execution_id],
        )
        row = db.fetchone()
        return None if row is None else row[0]


def _node_of_row(row: Sequence[Any]) -> NodeState:
    values = dict(zip(_NODE_STATE_COLUMNS, row, strict=True))
    values["order_keys"] = bytes(values["order_keys"])
    values["status"] = Status(values["status"])
    if not told_node_duration(values["order_keys"]):
        values["duration_ms"] = None
    return NodeState(**values, is_new=False, is_changed=False)


# --- writing ------------------------------------------------------------------------------------

TYPE_OF_EXECUTION_COLUMN = {
    "tenant_id": "bigint", "id": "uuid", "environment_id": "bigint", "workflow_id": "bigint",
    "duration_ms": "bigint", "started_at": "timestamptz", "completed_at": "timestamptz",
    "updated_at": "timestamptz", "received_at": "timestamptz", "changed_at": "timestamptz",
    "status": "smallint", "error_class": "smallint", "severity": "smallint", "attempt": "integer",
    "node_count": "integer", "node_done_count": "integer", "heartbeat_seconds": "integer",
    "external_id": "text", "trigger_type": "text", "retry_of": "text", "parent_execution_id": "text",
    "parent_node_id": "text", "version": "text", "error_message": "text", "error_node_id": "text",
    "error_node_name": "text", "fingerprint": "bytea", "tags": "jsonb", "keys": "jsonb",
    "order_keys": "bytea", "payload": "bytea",
}  # fmt: skip
TYPE_OF_NODE_COLUMN = {
    "tenant_id": "bigint", "execution_id": "uuid", "node_id": "text", "run_index": "integer",
    "duration_ms": "bigint", "started_at": "timestamptz", "completed_at": "timestamptz",
    "position": "integer", "attempt": "integer", "input_bytes": "integer", "output_bytes": "integer",
    "input_items": "integer", "output_items": "integer", "status": "smallint", "name": "text",
    "type": "text", "error_message": "text", "order_keys": "bytea",
}  # fmt: skip


def _unnest(types: Mapping[str, str]) -> str:
    """`unnest(…)` over one array parameter for each column; bytes travel in binary."""
    arrays = (f"{'%b' if kind == 'bytea' else '%s'}::{kind}[]" for kind in types.values())
    return f"unnest({', '.join(arrays)})"


def _copy(db: psycopg.Cursor[Any], statement: LiteralString, rows: Iterable[Sequence[Any]]) -> None:
    """Append rows: COPY is cheaper than INSERT for one row as for thousands."""
    with db.copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _copy_binary(
    db: psycopg.Cursor[Any],
    table: LiteralString,
    types: Mapping[LiteralString, str],
    rows: Iterable[Sequence[Any]],
) -> None:
    """Append rows of known types in PostgreSQL's own form: a quarter of the work of text."""
    with db.copy(_into(table, types) + " (FORMAT BINARY)") as copy:
        copy.set_types([*types.values()])
        for row in rows:
            copy.write_row(row)


def _into(table: LiteralString, names: Iterable[LiteralString]) -> LiteralString:
    return f"COPY {table} ({', '.join(names)}) FROM STDIN"


_COPY_DELTAS = _into(
    "monitoring_rollupdelta",
    (
        "tenant_id", "environment_id", "workflow_id", "bucket", "counts", "duration_sums",
        "duration_counts", "error_classes", "histogram", "nodes", "workflow_name",
        "workflow_name_key", "last_executed_at",
    ),
)  # fmt: skip
_COPY_EVENTS = _into("monitoring_event", ("tenant_id", "created_at", "kind", "body"))


# The bounds let the planner leave out partitions.
def _update(types: Mapping[str, str]) -> str:
    changes = ", ".join(f"{name} = n.{name}" for name in types if name not in ("tenant_id", "id"))
    return f"""
        UPDATE monitoring_execution e SET {changes} FROM {_unnest(types)} AS n ({", ".join(types)})
        WHERE e.tenant_id = n.tenant_id AND e.id = n.id AND e.id BETWEEN %s AND %s
    """  # noqa: S608 - column names from this module


_UPDATE_EXECUTIONS = _update(TYPE_OF_EXECUTION_COLUMN)
_UPDATE_WITHOUT_PAYLOAD = _update(
    {name: kind for name, kind in TYPE_OF_EXECUTION_COLUMN.items() if name != "payload"}
)
_NODE_KEY = ("tenant_id", "execution_id", "node_id", "run_index")
_UPSERT_NODES = f"""
    INSERT INTO monitoring_nodeexecution ({", ".join(TYPE_OF_NODE_COLUMN)})
    SELECT * FROM {_unnest(TYPE_OF_NODE_COLUMN)}
    ON CONFLICT ({", ".join(_NODE_KEY)}) DO UPDATE SET {
    ", ".join(f"{name} = EXCLUDED.{name}" for name in TYPE_OF_NODE_COLUMN if name not in _NODE_KEY)
}"""  # noqa: S608
_INSERT_GROUPS = """
    INSERT INTO monitoring_errorgroup (tenant_id, fingerprint, title, sample, error_class, created_at)
    SELECT g.*, now() FROM unnest(%s::bigint[], %b::bytea[], %s::text[], %s::text[], %s::smallint[]) AS g
    ON CONFLICT (tenant_id, fingerprint) DO NOTHING
"""


def write(
    executions: Sequence[tuple[ExecutionState, Derived]],
    deltas: Mapping[DeltaPlace, Delta],
    events: Sequence[tuple[int, dt.datetime, str]],
    titles: Mapping[tuple[int, bytes], tuple[str, str, int]],
) -> None:
    """Write a chunk: executions, nodes, counters' changes, outbox and new error groups."""
    inserted = [execution_row(*item) for item in executions if item[0].is_new]
    new_nodes = [row for state, _ in executions if state.is_new for row in node_rows(state)]
    changed_nodes = [row for state, _ in executions if not state.is_new for row in node_rows(state)]
    known = [item for item in executions if not item[0].is_new]
    with cursor() as db:
        if inserted:
            _copy_binary(db, "monitoring_execution", TYPE_OF_EXECUTION_COLUMN, inserted)
        _update_executions(db, [item for item in known if item[0].payload is not None])
        _update_without_payload(db, [item for item in known if item[0].payload is None])
        if new_nodes:
            _copy_binary(db, "monitoring_nodeexecution", TYPE_OF_NODE_COLUMN, new_nodes)
        if changed_nodes:
            db.execute(_UPSERT_NODES, columns(sorted(changed_nodes, key=_node_place)))
        if titles:
            db.execute(
                _INSERT_GROUPS,
                columns([(*place, *title) for place, title in sorted(titles.items())]),
            )
        write_deltas(db, deltas)
        if events:
            rows = [(tenant, at, EXECUTION_CHANGED, body) for tenant, at, body in events]
            _copy(db, _COPY_EVENTS, rows)


def _update_executions(
    db: psycopg.Cursor[Any], executions: Sequence[tuple[ExecutionState, Derived]]
) -> None:
    if executions:
        ids = [state.id for state, _ in executions]
        rows = [execution_row(*item) for item in executions]
        db.execute(_UPDATE_EXECUTIONS, [*columns(rows), min(ids), max(ids)])


def _update_without_payload(
    db: psycopg.Cursor[Any], executions: Sequence[tuple[ExecutionState, Derived]]
) -> None:
    if executions:
        ids = [state.id for state, _ in executions]
        rows = [execution_row(*item)[:-1] for item in executions]
        db.execute(_UPDATE_WITHOUT_PAYLOAD, [*columns(rows), min(ids), max(ids)])


def write_deltas(db: psycopg.Cursor[Any], deltas: Mapping[DeltaPlace, Delta]) -> None:
    """Append changes of counters; (tenant, environment, workflow, bucket) → delta."""
    if deltas:
        _copy(db, _COPY_DELTAS, [_delta_row(place, delta) for place, delta in deltas.items()])


def _delta_row(place: DeltaPlace, delta: Delta) -> tuple[Any, ...]:
    return (
        *place,
        _array(delta.counts),
        _array(delta.duration_sums),
        _array(delta.duration_counts),
        _array(delta.error_classes),
        delta.histogram.pack(),
        delta.pack_nodes(),
        delta.name,
        delta.name_key or None,
        delta.last_executed_at,
    )


def _array(numbers: Sequence[int]) -> str:
    """A PostgreSQL array literal: arrays of arrays can't be unnested row by row."""
    return "{" + ",".join(map(str, numbers)) + "}"


def _json(value: Any) -> Jsonb | None:
    return None if value is None else Jsonb(value)


_INTEGERS = range(-(2**31), 2**31)


def _demand_integers(*numbers: int | None) -> None:
    """Raise DataError for what no integer column holds: a binary COPY would cut it off unsaid."""
    for number in numbers:
        if number is not None and number not in _INTEGERS:
            raise DataError("integer out of range")


def execution_row(state: ExecutionState, derived: Derived) -> tuple[Any, ...]:
    """Values in the order of `TYPE_OF_EXECUTION_COLUMN`."""
    _demand_integers(state.attempt, state.heartbeat_seconds)
    return (
        state.tenant_id,
        state.id,
        state.environment_id,
        state.workflow_id,
        derived.duration_ms,
        state.started_at,
        state.completed_at,
        state.updated_at,
        state.received_at,
        state.changed_at,
        int(state.status),
        None if derived.error_class is None else int(derived.error_class),
        None if derived.severity is None else int(derived.severity),
        state.attempt,
        derived.node_count,
        derived.node_done_count,
        state.heartbeat_seconds,
        state.external_id,
        state.trigger_type,
        state.retry_of,
        state.parent_execution_id,
        state.parent_node_id,
        state.version,
        derived.error_message,
        derived.error_node_id,
        derived.error_node_name,
        derived.fingerprint,
        _json(state.tags),
        _json(state.keys),
        state.order_keys,
        state.pack_payload(),
    )


def _node_place(row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(row[:4])


def node_rows(state: ExecutionState) -> Iterator[tuple[Any, ...]]:
    """Changed nodes' values in the order of `TYPE_OF_NODE_COLUMN`."""
    for node in state.nodes.values():
        if node.is_changed:
            _demand_integers(
                node.run_index, node.position, node.attempt, node.input_items, node.output_items
            )
            yield (
                state.tenant_id,
                state.id,
                node.node_id,
                node.run_index,
                node.duration,
                node.started_at,
                node.completed_at,
                node.position,
                node.attempt,
                node.input_bytes,
                node.output_bytes,
                node.input_items,
                node.output_items,
                int(node.status),
                node.name,
                node.type,
                node.error_message,
                node.order_keys,
            )
