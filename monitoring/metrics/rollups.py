"""Folds the deltas that the store appends into rollups of every level and into workflows.

Only one process folds at a time (an advisory lock), so that rows can be read, changed in Python and
written back. Deltas are found by state and not by position: one that commits late is folded later.
"""
# ruff: noqa: S608 - statements are put together from constants of this module only

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from django.db import transaction

from monitoring.counting.histogram import Histogram
from monitoring.counting.nodes import unpack_node_deltas
from monitoring.database import columns, cursor
from monitoring.metrics.counters import (
    ROLLUP_ARRAYS,
    Counters,
    NodeKey,
    RollupKey,
    WorkflowBucket,
    add_at,
    array_literal,
    node_keys,
    rollup_keys,
)
from monitoring.metrics.node_lines import give_lines
from monitoring.words import RATED, Status

FOLD_LOCK: Final = 0x666F_6C64  # "fold"
FOLD_LIMIT: Final = 5_000
FOLD_BYTES: Final = 1024 * 1024
"""What the deltas of one fold may say about nodes: some 20,000 nodes, whoever sends how many."""

_STATUSES: Final = len(Status)
_Cursor = psycopg.Cursor[Any]


def fold_deltas(limit: int = FOLD_LIMIT) -> int:
    """Fold up to `limit` deltas in one transaction, fewer when they hold many nodes; return how many.

    Returns 0 when there are none or another process is folding. Looks across tenants.
    """
    return sum(unfolded.deltas for unfolded in _fold(limit))


def fold_step() -> bool:
    """Fold what one transaction may; return whether that was as much as it may."""
    taken = _fold(FOLD_LIMIT)
    deltas = sum(unfolded.deltas for unfolded in taken)
    return deltas >= FOLD_LIMIT or sum(unfolded.node_bytes for unfolded in taken) >= FOLD_BYTES


def _fold(limit: int) -> list[Unfolded]:
    with transaction.atomic(), cursor() as db:
        db.execute("SELECT pg_try_advisory_xact_lock(%s)", [FOLD_LOCK])
        if db.fetchone() != (True,):
            return []
        taken = take_deltas(db, limit)
        if taken:
            add_to_rollups(db, taken)
            add_to_node_rollups(db, taken)
            add_to_workflows(db, taken)
        return taken


# --- deltas -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Unfolded:
    """The sum of the deltas of one workflow in one 5-minute bucket."""

    place: WorkflowBucket
    deltas: int
    node_bytes: int
    counters: Counters
    nodes: dict[str, Counters]
    name: str | None
    name_key: bytes
    last_executed_at: dt.datetime | None


def _summed(arrays: Iterable[tuple[str, int]]) -> str:
    """Sums of arrays place by place, as one numeric array."""
    places = [f"sum({name}[{place}])" for name, length in arrays for place in range(1, length + 1)]
    return f"ARRAY[{', '.join(places)}]"


_SUM_DELTAS: Final = f"""
    SELECT tenant_id, environment_id, workflow_id, bucket, count(*), sum(length(nodes)),
        {_summed(ROLLUP_ARRAYS)},
        string_agg(histogram, ''::bytea), array_agg(nodes) FILTER (WHERE nodes <> '{{}}'),
        (array_agg(workflow_name ORDER BY workflow_name_key DESC)
            FILTER (WHERE workflow_name_key IS NOT NULL))[1],
        (array_agg(workflow_name_key ORDER BY workflow_name_key DESC)
            FILTER (WHERE workflow_name_key IS NOT NULL))[1],
        max(last_executed_at)
    FROM delta GROUP BY tenant_id, environment_id, workflow_id, bucket
    ORDER BY tenant_id, environment_id, workflow_id, bucket
"""
_TAKE_DELTAS: Final = f"""
    WITH oldest AS (
        SELECT id, length(nodes) AS size FROM monitoring_rollupdelta
        ORDER BY id LIMIT %s FOR UPDATE SKIP LOCKED
    ), sized AS (
        SELECT id, sum(size) OVER (ORDER BY id) - size AS size_before FROM oldest
    ), delta AS (
        DELETE FROM monitoring_rollupdelta
        WHERE id = ANY(ARRAY(SELECT id FROM sized WHERE size_before < {FOLD_BYTES}))
        RETURNING *
    ) {_SUM_DELTAS}
"""
_READ_DELTAS: Final = f"""
    WITH delta AS (
        SELECT * FROM monitoring_rollupdelta WHERE tenant_id = %s AND bucket >= %s AND bucket < %s
    ) {_SUM_DELTAS}
"""


def take_deltas(db: _Cursor, limit: int) -> list[Unfolded]:
    """Delete the oldest deltas, at least one, and return their sums."""
    db.execute(_TAKE_DELTAS, [limit])
    return [_unfolded(row) for row in db.fetchall()]


def read_deltas(
    db: _Cursor, tenant_id: int, start: dt.datetime, end: dt.datetime
) -> list[Unfolded]:
    """Sums of a tenant's deltas with buckets in [start, end), which stay."""
    db.execute(_READ_DELTAS, [tenant_id, start, end])
    return [_unfolded(row) for row in db.fetchall()]


def _unfolded(row: Sequence[Any]) -> Unfolded:
    (*place, deltas, size, numbers, histogram, nodes, name, name_key, last_executed_at) = row
    return Unfolded(
        WorkflowBucket(*place),
        deltas,
        int(size),
        Counters([int(number) for number in numbers], Histogram.unpack_sum(histogram)),
        _sum_of_nodes(nodes or []),
        name,
        bytes(name_key or b""),
        last_executed_at,
    )


def _sum_of_nodes(packed: Iterable[bytes]) -> dict[str, Counters]:
    nodes: dict[str, Counters] = {}
    for text in packed:
        for node_id, delta in unpack_node_deltas(text).items():
            counters = nodes.get(node_id)
            if counters is None:
                counters = nodes[node_id] = Counters([0] * (_STATUSES + 2))
            counters.numbers = [
                a + b
                for a, b in zip(
                    counters.numbers,
                    (*delta.counts, delta.duration_count, delta.duration_sum),
                    strict=True,
                )
            ]
            counters.histogram.add_slots(delta.slots.items())
    return nodes


# --- rollups ------------------------------------------------------------------------------------


def add_to_rollups(db: _Cursor, changes: Iterable[Unfolded]) -> None:
    """Add changes to the rollups of tenants, environments and workflows at every level."""
    rows: dict[RollupKey, Counters] = {}
    for change in changes:
        for key in rollup_keys(change.place):
            add_at(rows, key, change.counters)
    _add_stored(rows, read_rollups(db, rows))
    write_rollups(db, rows)


def _add_stored(rows: dict[Any, Counters], stored: Mapping[Any, Counters]) -> None:
    for key, counters in stored.items():
        rows[key].add(counters)


_KEYS_OF_ROLLUPS: Final = """unnest(%s::bigint[], %s::smallint[], %s::bigint[], %s::smallint[],
    %s::timestamptz[]) AS k (tenant_id, subject_kind, subject_id, level, bucket)"""
ROLLUP_COLUMNS: Final = """tenant_id, subject_kind, subject_id, level, bucket,
    counts || duration_sums || duration_counts || error_classes, histogram"""
_READ_ROLLUPS: Final = f"""
    SELECT {ROLLUP_COLUMNS} FROM {_KEYS_OF_ROLLUPS}
    JOIN monitoring_rollup USING (tenant_id, subject_kind, subject_id, level, bucket)
"""
_WRITE_ROLLUPS: Final = """
    INSERT INTO monitoring_rollup (tenant_id, subject_kind, subject_id, level, bucket, counts,
        duration_sums, duration_counts, error_classes, histogram)
    SELECT tenant_id, subject_kind, subject_id, level, bucket, counts::bigint[],
        duration_sums::bigint[], duration_counts::bigint[], error_classes::bigint[], histogram
    FROM unnest(%s::bigint[], %s::smallint[], %s::bigint[], %s::smallint[], %s::timestamptz[],
        %s::text[], %s::text[], %s::text[], %s::text[], %b::bytea[])
        AS r (tenant_id, subject_kind, subject_id, level, bucket, counts, duration_sums,
        duration_counts, error_classes, histogram)
    ON CONFLICT (tenant_id, subject_kind, subject_id, level, bucket) DO UPDATE SET
        counts = EXCLUDED.counts, duration_sums = EXCLUDED.duration_sums,
        duration_counts = EXCLUDED.duration_counts, error_classes = EXCLUDED.error_classes,
        histogram = EXCLUDED.histogram
"""
_DELETE_ROLLUPS: Final = f"""
    DELETE FROM monitoring_rollup r USING {_KEYS_OF_ROLLUPS}
    WHERE r.tenant_id = k.tenant_id AND r.subject_kind = k.subject_kind
        AND r.subject_id = k.subject_id AND r.level = k.level AND r.bucket = k.bucket
"""


def read_rollups(db: _Cursor, keys: Iterable[RollupKey]) -> dict[RollupKey, Counters]:
    """Stored rollups by key."""
    db.execute(_READ_ROLLUPS, columns(sorted(keys)))
    return dict(rollup_of_row(row) for row in db.fetchall())


def rollup_of_row(row: Sequence[Any]) -> tuple[RollupKey, Counters]:
    """Key and counters of a row with `ROLLUP_COLUMNS`."""
    *key, numbers, histogram = row
    return RollupKey(*key), Counters(numbers, Histogram.unpack_sum(histogram))


def write_rollups(db: _Cursor, rows: Mapping[RollupKey, Counters]) -> None:
    """Store rollups as they are given; those that are zero are deleted."""
    written = [
        (*key, *rows[key].arrays(), rows[key].histogram.pack())
        for key in sorted(rows)
        if not rows[key].is_zero
    ]
    emptied = [key for key in sorted(rows) if rows[key].is_zero]
    if written:
        db.execute(_WRITE_ROLLUPS, columns(written))
    if emptied:
        db.execute(_DELETE_ROLLUPS, columns(emptied))


# --- node rollups -------------------------------------------------------------------------------


def add_to_node_rollups(db: _Cursor, changes: Iterable[Unfolded]) -> None:
    """Add changes to the hours and days of nodes; needs the folder's lock."""
    rows: dict[NodeKey, Counters] = {}
    for change in changes:
        for node_id, counters in change.nodes.items():
            for key in node_keys(change.place, node_id):
                add_at(rows, key, counters)
    if rows:
        rows = give_lines(db, rows).merged(rows)
        _add_stored(rows, read_node_rollups(db, rows))
        write_node_rollups(db, rows)


_KEYS_OF_NODES: Final = """unnest(%s::bigint[], %s::bigint[], %s::smallint[], %s::timestamptz[],
    %s::text[]) AS k (tenant_id, workflow_id, level, bucket, node_id)"""
NODE_COLUMNS: Final = """tenant_id, workflow_id, level, bucket, node_id,
    counts || duration_count, duration_sum, histogram"""
_READ_NODES: Final = f"""
    SELECT {NODE_COLUMNS} FROM {_KEYS_OF_NODES}
    JOIN monitoring_noderollup USING (tenant_id, workflow_id, level, bucket, node_id)
"""
_WRITE_NODES: Final = """
    INSERT INTO monitoring_noderollup (tenant_id, workflow_id, level, bucket, node_id, counts,
        duration_count, duration_sum, histogram)
    SELECT tenant_id, workflow_id, level, bucket, node_id, counts::bigint[], duration_count,
        duration_sum, histogram
    FROM unnest(%s::bigint[], %s::bigint[], %s::smallint[], %s::timestamptz[], %s::text[],
        %s::text[], %s::bigint[], %s::numeric[], %b::bytea[])
        AS r (tenant_id, workflow_id, level, bucket, node_id, counts, duration_count, duration_sum,
        histogram)
    ON CONFLICT (tenant_id, workflow_id, level, bucket, node_id) DO UPDATE SET
        counts = EXCLUDED.counts, duration_count = EXCLUDED.duration_count,
        duration_sum = EXCLUDED.duration_sum, histogram = EXCLUDED.histogram
"""
_DELETE_NODES: Final = f"""
    DELETE FROM monitoring_noderollup r USING {_KEYS_OF_NODES}
    WHERE r.tenant_id = k.tenant_id AND r.workflow_id = k.workflow_id AND r.level = k.level
        AND r.bucket = k.bucket AND r.node_id = k.node_id
"""


def read_node_rollups(db: _Cursor, keys: Iterable[NodeKey]) -> dict[NodeKey, Counters]:
    """Stored node rollups by key."""
    db.execute(_READ_NODES, columns(sorted(keys)))
    return dict(node_rollup_of_row(row) for row in db.fetchall())


def node_rollup_of_row(row: Sequence[Any]) -> tuple[NodeKey, Counters]:
    """Key and counters of a row with `NODE_COLUMNS`."""
    *key, numbers, duration_sum, histogram = row
    return NodeKey(*key), Counters([*numbers, int(duration_sum)], Histogram.unpack_sum(histogram))


def write_node_rollups(db: _Cursor, rows: Mapping[NodeKey, Counters]) -> None:
    """Store node rollups as they are given; those that are zero are deleted."""
    written = []
    for key in sorted(rows):
        *counts, duration_count, duration_sum = rows[key].numbers
        if not rows[key].is_zero:
            packed = rows[key].histogram.pack()
            written.append((*key, array_literal(counts), duration_count, duration_sum, packed))
    emptied = [key for key in sorted(rows) if rows[key].is_zero]
    if written:
        db.execute(_WRITE_NODES, columns(written))
    if emptied:
        db.execute(_DELETE_NODES, columns(emptied))


# --- workflows ----------------------------------------------------------------------------------

_ADD_TO_WORKFLOWS: Final = """
    UPDATE monitoring_workflow w SET
        execution_count = w.execution_count + d.executions,
        success_count = w.success_count + d.success,
        failure_count = w.failure_count + d.failed,
        partial_count = w.partial_count + d.partial,
        duration_sum_ms = w.duration_sum_ms + d.spent,
        duration_count = w.duration_count + d.known,
        last_executed_at = greatest(w.last_executed_at, d.last_executed_at),
        -- A name that the column can't hold must not keep all tenants' deltas from being folded.
        name = CASE WHEN d.name_key > w.name_key THEN left(d.name, 255) ELSE w.name END,
        name_key = greatest(w.name_key, d.name_key)
    FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
        %s::numeric[], %s::bigint[], %s::timestamptz[], %s::text[], %b::bytea[])
        AS d (id, executions, success, failed, partial, spent, known, last_executed_at, name,
        name_key)
    WHERE w.id = d.id
"""


@dataclass(slots=True)
class _WorkflowChange:
    statistics: list[int]
    last_executed_at: dt.datetime | None = None
    name: str | None = None
    name_key: bytes = b""

    def add(self, change: Unfolded) -> None:
        added = workflow_statistics_of(change.counters)
        self.statistics = [a + b for a, b in zip(self.statistics, added, strict=True)]
        if change.name_key > self.name_key:
            self.name, self.name_key = change.name, change.name_key
        known = [at for at in (self.last_executed_at, change.last_executed_at) if at is not None]
        self.last_executed_at = max(known, default=None)


def workflow_statistics_of(counters: Counters) -> list[int]:
    """Executions, success, failed, partial, duration sum and count, as a workflow keeps them."""
    counts = counters.numbers[:_STATUSES]
    sums = counters.numbers[_STATUSES : 2 * _STATUSES]
    known = counters.numbers[2 * _STATUSES : 3 * _STATUSES]
    return [
        sum(counts),
        counts[Status.SUCCESS],
        counts[Status.FAILED],
        counts[Status.PARTIAL],
        sum(sums[status] for status in RATED),
        sum(known[status] for status in RATED),
    ]


def add_to_workflows(db: _Cursor, changes: Iterable[Unfolded]) -> None:
    """Add changes to the workflows' statistics; the newest name wins."""
    rows: dict[int, _WorkflowChange] = {}
    for change in changes:
        row = rows.setdefault(change.place.workflow_id, _WorkflowChange([0] * 6))
        row.add(change)
    db.execute(
        _ADD_TO_WORKFLOWS,
        columns(
            [
                (workflow_id, *row.statistics, row.last_executed_at, row.name, row.name_key)
                for workflow_id, row in sorted(rows.items())
            ]
        ),
    )
