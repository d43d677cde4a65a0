"""Recomputes rollups from the raw rows and compares, day by day.

In every state that the database can show, rollups and deltas that are not folded yet add up to the
raw rows. Each day is therefore read in one REPEATABLE READ snapshot, and ingest goes on beside it.
"""
# ruff: noqa: S608 - statements are put together from constants of this module only

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from django.db import connection, transaction

from monitoring.counting.buckets import BUCKET_MS
from monitoring.counting.histogram import Histogram
from monitoring.database import cursor
from monitoring.ids import milliseconds_of, uuid_floor
from monitoring.metrics.counters import (
    ROLLUP_ARRAYS,
    Counters,
    NodeKey,
    RollupKey,
    WorkflowBucket,
    add_at,
    node_keys,
    rollup_keys,
)
from monitoring.metrics.node_lines import give_lines, read_lines
from monitoring.metrics.nodes import RAW_NODES
from monitoring.metrics.reading import raw_columns, raw_histogram
from monitoring.metrics.rollups import (
    FOLD_LOCK,
    NODE_COLUMNS,
    ROLLUP_COLUMNS,
    Unfolded,
    node_rollup_of_row,
    read_deltas,
    rollup_of_row,
    workflow_statistics_of,
    write_node_rollups,
    write_rollups,
)
from monitoring.metrics.sealing import sealed_until
from monitoring.metrics.timerange import floor_to
from monitoring.models import Level, Subject
from monitoring.words import ErrorClass, Status
from tenants.models import Tenant

_Cursor = psycopg.Cursor[Any]
_DAY: Final = Level.DAY.length


@dataclass(frozen=True, slots=True)
class Difference:
    """One number that is not what the raw rows (or, for all time, the days) say."""

    what: str
    number: str
    expected: object
    found: object

    def __str__(self) -> str:
        return f"{self.what}: {self.number} is {self.found}, should be {self.expected}"


@dataclass(slots=True)
class Report:
    """What a verification saw of one tenant: days compared, and sealed ones that could not be."""

    days: int = 0
    compared: int = 0
    sealed: int = 0
    differences: int = 0


def verify(
    tenant: Tenant, *, repair: bool = False, tell: Callable[[Difference], object] = str
) -> Report:
    """Compare every rollup and every workflow's statistics of a tenant; with `repair`, rewrite.

    Each difference is told when it is found; memory is bounded by what one day holds. Days before
    the tenant's seal have lost raw rows: they are counted and skipped. Must not be called in a
    transaction. Repairing waits for the folder and keeps it away until it is done.
    """
    report = Report()
    with _fold_lock() if repair else _nothing():
        days = _days_of(tenant)
        while (day := next(days, None)) is not None:
            _Day(tenant, day, repair, report, tell).verify()
        _verify_workflows(tenant, repair, report, tell)
    return report


@contextmanager
def _snapshot() -> Iterator[_Cursor]:
    with transaction.atomic(durable=True), cursor() as db:
        db.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        yield db


@contextmanager
def _fold_lock() -> Iterator[None]:
    """Keep the folder away for as long as a session lock is held.

    The lock is taken before any snapshot: a snapshot taken while waiting for the lock would miss
    the folder's last work.
    """
    with connection.cursor() as db:
        db.execute("SELECT pg_advisory_lock(%s)", [FOLD_LOCK])
    try:
        yield
    finally:
        with connection.cursor() as db:
            db.execute("SELECT pg_advisory_unlock(%s)", [FOLD_LOCK])


@contextmanager
def _nothing() -> Iterator[None]:
    yield


# --- which days there are -----------------------------------------------------------------------


def _days_of(tenant: Tenant) -> Iterator[dt.datetime]:
    """Days (UTC) with anything to compare, in order."""
    with _snapshot() as db:
        db.execute(_DAYS_OF_COUNTERS, [tenant.pk] * 3)
        days = {day for (day,) in db.fetchall()}
        days.update(_days_of_executions(db, tenant))
    yield from sorted(days)


_DAYS_OF_COUNTERS: Final = """
    SELECT date_trunc('day', bucket AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' FROM (
        SELECT bucket FROM monitoring_rollup WHERE tenant_id = %s
        UNION ALL SELECT bucket FROM monitoring_noderollup WHERE tenant_id = %s
        UNION ALL SELECT bucket FROM monitoring_rollupdelta WHERE tenant_id = %s
    ) AS buckets GROUP BY 1
"""


def _days_of_executions(db: _Cursor, tenant: Tenant) -> Iterator[dt.datetime]:
    """Leap along the primary key from one day's first execution to the next day's."""
    after = uuid_floor(dt.datetime(1970, 1, 1, tzinfo=dt.UTC))
    while True:
        db.execute(
            "SELECT id FROM monitoring_execution WHERE tenant_id = %s AND id >= %s"
            " ORDER BY id LIMIT 1",
            [tenant.pk, after],
        )
        row = db.fetchone()
        if row is None:
            return
        milliseconds = dt.timedelta(milliseconds=milliseconds_of(row[0]))
        day = floor_to(dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + milliseconds, _DAY)
        yield day
        after = uuid_floor(day + _DAY)


# --- one day ------------------------------------------------------------------------------------


def _bucket_sql(id_column: str) -> str:
    """Start of an execution's 5-minute bucket, from the time in its id."""
    milliseconds = f"('x' || translate(left({id_column}::text, 13), '-', ''))::bit(48)::bigint"
    return f"to_timestamp({milliseconds} / {BUCKET_MS} * {BUCKET_MS // 1000})"


_RAW_EXECUTIONS: Final = (
    """
    SELECT e.environment_id, e.workflow_id, {bucket},
        {counts} || {duration_sums} || {duration_counts} || {error_classes}, {histogram}
    FROM monitoring_execution e
    WHERE e.tenant_id = %s AND e.id >= %s AND e.id < %s
    GROUP BY 1, 2, 3
"""
).format(bucket=_bucket_sql("e.id"), histogram=raw_histogram(), **raw_columns())
_RAW_NODES: Final = f"""
    SELECT x.environment_id, x.workflow_id, {_bucket_sql("x.id")}, e.node_id, {RAW_NODES}
    FROM monitoring_execution x
    JOIN monitoring_nodeexecution e ON e.tenant_id = x.tenant_id AND e.execution_id = x.id
    WHERE x.tenant_id = %s AND x.id >= %s AND x.id < %s
        AND e.tenant_id = %s AND e.execution_id >= %s AND e.execution_id < %s
    GROUP BY 1, 2, 3, 4
"""
# Leap over the subjects, then look each up: the key has the subject before level and time.
_STORED_ROLLUPS: Final = f"""
    WITH RECURSIVE subject AS (
        (SELECT subject_kind, subject_id FROM monitoring_rollup WHERE tenant_id = %(tenant)s
        ORDER BY subject_kind, subject_id LIMIT 1)
        UNION ALL
        SELECT n.* FROM subject s CROSS JOIN LATERAL (
            SELECT subject_kind, subject_id FROM monitoring_rollup
            WHERE tenant_id = %(tenant)s
                AND (subject_kind, subject_id) > (s.subject_kind, s.subject_id)
            ORDER BY subject_kind, subject_id LIMIT 1) n
    )
    SELECT r.* FROM subject s CROSS JOIN unnest(ARRAY[0, 1, 2]) AS l (level) CROSS JOIN LATERAL (
        SELECT {ROLLUP_COLUMNS} FROM monitoring_rollup
        WHERE tenant_id = %(tenant)s AND subject_kind = s.subject_kind
            AND subject_id = s.subject_id AND level = l.level
            AND bucket >= %(start)s AND bucket < %(end)s
        OFFSET 0) r
"""
_STORED_NODES: Final = f"""
    WITH RECURSIVE workflow AS (
        (SELECT workflow_id FROM monitoring_noderollup WHERE tenant_id = %(tenant)s
        ORDER BY workflow_id LIMIT 1)
        UNION ALL
        SELECT n.* FROM workflow w CROSS JOIN LATERAL (
            SELECT workflow_id FROM monitoring_noderollup
            WHERE tenant_id = %(tenant)s AND workflow_id > w.workflow_id
            ORDER BY workflow_id LIMIT 1) n
    )
    SELECT r.* FROM workflow w CROSS JOIN unnest(ARRAY[1, 2]) AS l (level) CROSS JOIN LATERAL (
        SELECT {NODE_COLUMNS} FROM monitoring_noderollup
        WHERE tenant_id = %(tenant)s AND workflow_id = w.workflow_id AND level = l.level
            AND bucket >= %(start)s AND bucket < %(end)s
        OFFSET 0) r
"""

_EXECUTION_NUMBERS: Final = [
    f"{name}[{word.slug}]"
    for name, length in ROLLUP_ARRAYS
    for word in (ErrorClass if length == len(ErrorClass) else Status)
]
_NODE_NUMBERS: Final = [
    *(f"counts[{status.slug}]" for status in Status),
    "duration_count",
    "duration_sum",
]


class _Day:
    """Comparison of one day of one tenant."""

    def __init__(
        self,
        tenant: Tenant,
        day: dt.datetime,
        repair: bool,
        report: Report,
        tell: Callable[[Difference], object],
    ) -> None:
        self.tenant = tenant
        self.start, self.end = day, day + _DAY
        self.repair = repair
        self.report = report
        self.tell = tell

    def verify(self) -> None:
        with _snapshot() as db:
            if self.start < sealed_until(db, self.tenant.pk):
                self.report.sealed += 1
                return
            self.report.days += 1
            unfolded = read_deltas(db, self.tenant.pk, self.start, self.end)
            self._compare(
                self._raw_rollups(db),
                self._stored(db, _STORED_ROLLUPS, rollup_of_row),
                _spread_rollups(unfolded),
                _EXECUTION_NUMBERS,
                _name_of_rollup,
                lambda rows: write_rollups(db, rows),
            )
            raw_nodes, unfolded_nodes = self._raw_nodes(db), _spread_nodes(unfolded)
            lines_of = give_lines if self.repair else read_lines
            lines = lines_of(db, {**raw_nodes, **unfolded_nodes})
            self._compare(
                lines.merged(raw_nodes),
                self._stored(db, _STORED_NODES, node_rollup_of_row),
                lines.merged(unfolded_nodes),
                _NODE_NUMBERS,
                _name_of_node,
                lambda rows: write_node_rollups(db, rows),
            )

    @property
    def _id_range(self) -> list[Any]:
        return [self.tenant.pk, uuid_floor(self.start), uuid_floor(self.end)]

    def _raw_rollups(self, db: _Cursor) -> dict[RollupKey, Counters]:
        rows: dict[RollupKey, Counters] = {}
        db.execute(_RAW_EXECUTIONS, self._id_range)
        for environment_id, workflow_id, bucket, numbers, histogram in db:
            place = WorkflowBucket(self.tenant.pk, environment_id, workflow_id, bucket)
            counters = Counters(numbers, Histogram.unpack_sum(histogram))
            for key in rollup_keys(place):
                add_at(rows, key, counters)
        return rows

    def _raw_nodes(self, db: _Cursor) -> dict[NodeKey, Counters]:
        rows: dict[NodeKey, Counters] = {}
        db.execute(_RAW_NODES, self._id_range * 2)
        for environment_id, workflow_id, bucket, node_id, counts, spent, known, histogram in db:
            place = WorkflowBucket(self.tenant.pk, environment_id, workflow_id, bucket)
            counters = Counters([*counts, known, int(spent)], Histogram.unpack_sum(histogram))
            for key in node_keys(place, node_id):
                add_at(rows, key, counters)
        return rows

    def _stored(
        self, db: _Cursor, statement: str, of_row: Callable[[Any], tuple[Any, Counters]]
    ) -> dict[Any, Counters]:
        db.execute(statement, {"tenant": self.tenant.pk, "start": self.start, "end": self.end})
        return dict(of_row(row) for row in db)

    def _compare(
        self,
        expected: Mapping[Any, Counters],
        stored: Mapping[Any, Counters],
        unfolded: Mapping[Any, Counters],
        numbers: list[str],
        name: Callable[[Any], str],
        write: Callable[[dict[Any, Counters]], None],
    ) -> None:
        """`expected` must be `stored` + `unfolded`; what is stored otherwise is rewritten."""
        right: dict[Any, Counters] = {}
        zero = Counters([0] * len(numbers))
        for key in sorted({*expected, *stored, *unfolded}):
            row = stored.get(key, zero)
            self.report.compared += 1
            should_be = Counters.sum([expected.get(key, zero)])
            should_be.subtract(unfolded.get(key, zero))
            if should_be != row:
                right[key] = should_be
                found = Counters.sum([row, unfolded.get(key, zero)])
                for difference in _differences(name(key), numbers, expected.get(key, zero), found):
                    self.report.differences += 1
                    self.tell(difference)
        if right and self.repair:
            write(right)


def _spread_rollups(changes: Iterable[Unfolded]) -> dict[RollupKey, Counters]:
    rows: dict[RollupKey, Counters] = {}
    for change in changes:
        for key in rollup_keys(change.place):
            add_at(rows, key, change.counters)
    return rows


def _spread_nodes(changes: Iterable[Unfolded]) -> dict[NodeKey, Counters]:
    rows: dict[NodeKey, Counters] = {}
    for change in changes:
        for node_id, counters in change.nodes.items():
            for key in node_keys(change.place, node_id):
                add_at(rows, key, counters)
    return rows


def _differences(
    what: str, names: list[str], expected: Counters, found: Counters
) -> list[Difference]:
    differences = [
        Difference(what, name, should_be, is_now)
        for name, should_be, is_now in zip(names, expected.numbers, found.numbers, strict=True)
        if should_be != is_now
    ]
    if expected.histogram != found.histogram:
        differences.append(
            Difference(what, "histogram", expected.histogram.nonzero(), found.histogram.nonzero())
        )
    return differences


def _name_of_rollup(key: RollupKey) -> str:
    subject = Subject(key.subject_kind).name.lower()
    return f"{subject} {key.subject_id}, {_name_of_bucket(key.level, key.bucket)}"


def _name_of_node(key: NodeKey) -> str:
    bucket = _name_of_bucket(key.level, key.bucket)
    return f"workflow {key.workflow_id} node {key.node_id!r}, {bucket}"


def _name_of_bucket(level: int, bucket: dt.datetime) -> str:
    return f"{Level(level).name.lower().replace('_', ' ')} {bucket:%Y-%m-%dT%H:%MZ}"


# --- statistics of workflows --------------------------------------------------------------------

_STATISTICS: Final = (
    "execution_count",
    "success_count",
    "failure_count",
    "partial_count",
    "duration_sum_ms",
    "duration_count",
)
# Days are never thrown away: folded statistics are the sum of the folded days, sealed or not.
_SUMS_OF_DAYS: Final = ", ".join(
    f"coalesce(sum(({name})[{place}]), 0)"
    for name, length in ROLLUP_ARRAYS
    for place in range(1, length + 1)
)
_WORKFLOWS: Final = f"""
    SELECT w.id, ARRAY[{", ".join(f"w.{name}" for name in _STATISTICS)}]::numeric[], d.numbers
    FROM monitoring_workflow w CROSS JOIN LATERAL (
        SELECT ARRAY[{_SUMS_OF_DAYS}] AS numbers FROM monitoring_rollup
        WHERE tenant_id = w.tenant_id AND subject_kind = {Subject.WORKFLOW:d}
            AND subject_id = w.id AND level = {Level.DAY:d}
        OFFSET 0) d
    WHERE w.tenant_id = %s ORDER BY w.id
"""
_WRITE_STATISTICS: Final = f"""
    UPDATE monitoring_workflow SET {", ".join(f"{name} = %s" for name in _STATISTICS)}
    WHERE id = %s
"""


def _verify_workflows(
    tenant: Tenant, repair: bool, report: Report, tell: Callable[[Difference], object]
) -> None:
    with _snapshot() as db:
        db.execute(_WORKFLOWS, [tenant.pk])
        for workflow_id, found, of_days in db.fetchall():
            report.compared += 1
            expected = workflow_statistics_of(Counters([int(number) for number in of_days]))
            for name, should_be, is_now in zip(_STATISTICS, expected, found, strict=True):
                if should_be != is_now:
                    what = f"workflow {workflow_id}, all time"
                    report.differences += 1
                    tell(Difference(what, name, should_be, int(is_now)))
            if repair and expected != [int(number) for number in found]:
                db.execute(_WRITE_STATISTICS, [*expected, workflow_id])
