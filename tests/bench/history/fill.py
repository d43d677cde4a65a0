"""Fills a tenant with a long history, day by day: rows by COPY, numbers as the fold writes them.

A day is one transaction, and a day that the tenant has numbers of is left alone: a fill that was ended
goes on where it was. Days are filled by several processes at a time.
"""

from __future__ import annotations

import bisect
import collections
import concurrent.futures
import dataclasses
import datetime as dt
import itertools
import multiprocessing
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

import psycopg
from django.db import connections, transaction

from monitoring.counting.buckets import BUCKET_MS
from monitoring.counting.nodes import NodeDelta
from monitoring.database import cursor
from monitoring.ids import milliseconds, moment
from monitoring.metrics import rollups
from monitoring.metrics.counters import Counters, NodeKey, RollupKey, WorkflowBucket, add_at
from monitoring.metrics.node_lines import give_lines
from monitoring.models import Level, Rollup, Subject, Workflow
from monitoring.recording import schema
from monitoring.recording.deltas import Delta
from monitoring.recording.environments import default_environment, source_for
from monitoring.recording.merge import Contribution, derive, first_id, new_state
from monitoring.recording.record import ExecutionRecord
from monitoring.recording.store import record_executions
from monitoring.recording.tables import (
    TYPE_OF_EXECUTION_COLUMN,
    TYPE_OF_NODE_COLUMN,
    execution_row,
    node_rows,
)
from monitoring.words import Status
from tenants.models import Tenant
from tenants.scoping import tenant_scope
from tests.bench.history import shapes
from tests.bench.history.rows import COPY_END, COPY_HEAD, EPOCH_SHIFT_MS, RowTemplate

DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
# After the buckets of a level have been added up come those of the next: hours, days, none.
LENGTH_MS: Final = {Level.FIVE_MINUTES: HOUR_MS, Level.HOUR: DAY_MS, Level.DAY: DAY_MS}
# Share of a day's executions by hour (UTC), and of a week's by weekday.
_HOURS: Final = (2, 2, 2, 2, 2, 3, 4, 6, 8, 9, 9, 8, 7, 8, 8, 8, 7, 6, 5, 4, 3, 3, 2, 2)
_WEEKDAYS: Final = (1.0, 1.1, 1.1, 1.05, 1.0, 0.55, 0.5)
# How much longer than its shape an execution takes; a table is quicker than drawing each.
_SLOWNESS: Final = tuple(random.Random(3).lognormvariate(0, 0.5) for _ in range(997))
_SLICE: Final = 5_000  # executions between two COPYs: what memory holds
_KEY_COLUMNS: Final = {
    "tenant_id": "bigint", "workflow_id": "bigint", "environment_id": "bigint",
    "execution_id": "uuid", "external_id": "text",
}  # fmt: skip
_NO_EXTERNAL_ID: Final = "0" * 12
_STAMP: Final = "order_keys+2"
"""Place of the message's time in a row's order key (`recording.order`): after whole and finished."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is to be there: so many executions of so many workflows until `end` (ms since 1970)."""

    tenant: str
    executions: int
    workflows: int
    days: int
    end: int

    @property
    def first(self) -> int:
        """Midnight (UTC) of the first day, in ms since 1970."""
        return (self.end // DAY_MS - self.days + 1) * DAY_MS

    def sizes(self) -> dict[int, int]:
        """Executions of each day, by its number since 1970."""
        first = self.first // DAY_MS
        weights = {day: self._weight(day) for day in range(first, first + self.days)}
        total = sum(weights.values())
        return {day: round(self.executions * weight / total) for day, weight in weights.items()}

    def _weight(self, day: int) -> float:
        passed = min(1.0, (self.end - day * DAY_MS) / DAY_MS)
        return passed * _WEEKDAYS[moment(day * DAY_MS).weekday()]


def fill(plan: Plan, processes: int, tell: Callable[[str], None] = print) -> int:
    """Fill the days that are missing; return how many executions were added."""
    tenant = Tenant.objects.get(slug=plan.tenant)
    _Filler(plan).record_shapes()
    filled = _filled_days(tenant)
    missing = {day: size for day, size in plan.sizes().items() if day not in filled}
    connections.close_all()  # the processes open their own
    begun, done = time.monotonic(), 0
    with concurrent.futures.ProcessPoolExecutor(
        processes, multiprocessing.get_context("fork"), _begin, (plan,)
    ) as pool:
        for added in pool.map(_fill_day, missing, missing.values()):
            done += added
            rate = done / (time.monotonic() - begun)
            tell(f"{done:>12,} of {sum(missing.values()):,} executions, {rate:,.0f}/s")
    return done


def _filled_days(tenant: Tenant) -> set[int]:
    with tenant_scope(tenant):
        of_tenant = Rollup.objects.filter(
            subject_kind=Subject.TENANT, subject_id=tenant.pk, level=Level.DAY
        )
        return {milliseconds(day) // DAY_MS for day in of_tenant.values_list("bucket", flat=True)}


_filler: _Filler


def _begin(plan: Plan) -> None:
    """What each process does once."""
    global _filler
    _filler = _Filler(plan)
    _filler.load_shapes()


def _fill_day(day: int, size: int) -> int:
    _filler.fill_day(day, size)
    return size


@dataclasses.dataclass(frozen=True, slots=True)
class _Node:
    write: Callable[..., bytearray]
    node_id: str
    status: Status
    duration_ms: int


class _Shape:
    """One outcome of one workflow: how to write its rows, and what it contributes to counters."""

    def __init__(self, record: ExecutionRecord, workflow_id: int) -> None:
        state = new_state(record, first_id(record), workflow_id)
        derived = derive(state)
        self.workflow_id = workflow_id
        self.status, self.error_class = state.status, derived.error_class
        execution = RowTemplate(TYPE_OF_EXECUTION_COLUMN, execution_row(state, derived))
        self.write_execution = execution.writer(
            {
                "id": ">QQ", "duration_ms": ">q", "started_at": ">q", "completed_at": ">q",
                "received_at": ">q", "changed_at": ">q", "external_id": "12s", _STAMP: ">Q",
            }
        )  # fmt: skip
        node_format = {
            "execution_id": ">QQ", "duration_ms": ">q", "started_at": ">q", "completed_at": ">q",
            _STAMP: ">Q",
        }  # fmt: skip
        self.nodes = [
            _Node(
                RowTemplate(TYPE_OF_NODE_COLUMN, row).writer(node_format),
                node.node_id,
                node.status,
                node.duration or 0,
            )
            for row, node in zip(node_rows(state), state.nodes.values(), strict=True)
        ]
        key = (state.tenant_id, workflow_id, state.environment_id, state.id, _NO_EXTERNAL_ID)
        self.write_key = RowTemplate(_KEY_COLUMNS, key).writer(
            {"execution_id": ">QQ", "external_id": "12s"}
        )


class _Numbers:
    """What a day's executions add to counters: by (workflow, start of 5 minutes or hour in ms)."""

    def __init__(self) -> None:
        self.executions: collections.defaultdict[tuple[int, int], Delta] = collections.defaultdict(
            Delta
        )
        self.nodes: collections.defaultdict[tuple[int, int], Delta] = collections.defaultdict(Delta)

    def count(self, shape: _Shape, start: int, total: int, lasts: Sequence[int]) -> None:
        """One execution of a shape; durations in ms."""
        delta = self.executions[shape.workflow_id, start - start % BUCKET_MS]
        delta.count(Contribution(shape.status, total, shape.error_class, ()), +1)
        delta.executed_at(moment(start))
        of_hour = self.nodes[shape.workflow_id, start - start % HOUR_MS]
        for node, ms in zip(shape.nodes, lasts, strict=True):
            of_hour.count_node(node.node_id, node.status, ms, +1)

    def write(self, db: psycopg.Cursor[Any], tenant_id: int, environment_id: int) -> None:
        """What the fold would make of the day. Each row is summed up from the next finer ones."""
        workflows = {place: _counters(delta) for place, delta in self.executions.items()}
        rows: dict[RollupKey, Counters] = {}
        for level in Level:
            whole = dict[int, Counters]()
            for (workflow, at), counters in workflows.items():
                rows[_rollup_key(tenant_id, Subject.WORKFLOW, workflow, level, at)] = counters
                add_at(whole, at, counters)
            for at, counters in whole.items():
                rows[_rollup_key(tenant_id, Subject.TENANT, tenant_id, level, at)] = counters
                key = _rollup_key(tenant_id, Subject.ENVIRONMENT, environment_id, level, at)
                rows[key] = counters
            workflows = _coarser(workflows, LENGTH_MS[level])
        rollups.write_rollups(db, rows)
        self._write_nodes(db, tenant_id)
        self._write_workflows(db, tenant_id, environment_id)

    def _write_nodes(self, db: psycopg.Cursor[Any], tenant_id: int) -> None:
        hours = {
            (workflow, node_id, at): _node_counters(node)
            for (workflow, at), delta in self.nodes.items()
            for node_id, node in delta.nodes.items()
        }
        rows: dict[NodeKey, Counters] = {}
        for (workflow, node_id, at), counters in hours.items():
            rows[NodeKey(tenant_id, workflow, int(Level.HOUR), moment(at), node_id)] = counters
            day = moment(at - at % DAY_MS)
            add_at(rows, NodeKey(tenant_id, workflow, int(Level.DAY), day, node_id), counters)
        give_lines(db, rows)
        rollups.write_node_rollups(db, rows)

    def _write_workflows(
        self, db: psycopg.Cursor[Any], tenant_id: int, environment_id: int
    ) -> None:
        changes = [
            rollups.Unfolded(
                WorkflowBucket(tenant_id, environment_id, workflow, moment(at)),
                0, 0, _counters(delta), {}, None, b"", delta.last_executed_at,
            )
            for (workflow, at), delta in self.executions.items()
        ]  # fmt: skip
        rollups.add_to_workflows(db, changes)


class _Slice:
    """The rows of some executions, ready for COPY."""

    def __init__(self, numbers: _Numbers) -> None:
        self.numbers = numbers
        self.executions: list[bytes | bytearray] = [COPY_HEAD]
        self.nodes: list[bytes | bytearray] = [COPY_HEAD]
        self.keys: list[bytes | bytearray] = [COPY_HEAD]

    def add(self, shape: _Shape, start: int, external_id: bytes, rng: random.Random) -> None:
        """One execution that starts then (ms since 1970)."""
        slowness = rng.choice(_SLOWNESS)
        lasts = [max(1, int(node.duration_ms * slowness)) for node in shape.nodes]
        total = sum(lasts)
        bits = rng.getrandbits(74)
        id_ = (start << 16 | 0x7000 | bits >> 62, 1 << 63 | bits & (1 << 62) - 1)
        stamp = ((start + total) * 1_000,)
        at = (start - EPOCH_SHIFT_MS) * 1_000
        end = (at + total * 1_000,)
        self.executions.append(
            shape.write_execution(id_, (total,), (at,), end, end, end, (external_id,), stamp)
        )
        self.keys.append(shape.write_key(id_, (external_id,)))
        for node, ms in zip(shape.nodes, lasts, strict=True):
            after = at + ms * 1_000
            self.nodes.append(node.write(id_, (ms,), (at,), (after,), stamp))
            at = after
        self.numbers.count(shape, start, total, lasts)

    def copy(self, db: psycopg.Cursor[Any]) -> None:
        """Append the rows."""
        for table, types, rows in (
            ("monitoring_execution", TYPE_OF_EXECUTION_COLUMN, self.executions),
            ("monitoring_nodeexecution", TYPE_OF_NODE_COLUMN, self.nodes),
            ("monitoring_executionkey", _KEY_COLUMNS, self.keys),
        ):
            statement = f"COPY {table} ({', '.join(types)}) FROM STDIN (FORMAT BINARY)"
            with db.copy(cast(Any, statement)) as copy:
                copy.write(b"".join([*rows, COPY_END]))


class _Filler:
    """Fills days of one plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.tenant = Tenant.objects.get(slug=plan.tenant)
        default_environment(self.tenant.pk)
        self.workflows = shapes.make_workflows(plan.workflows, plan.first, plan.end)
        self.weights = list(itertools.accumulate(workflow.weight for workflow in self.workflows))

    def records(self) -> Iterator[tuple[shapes.Workflow, ExecutionRecord]]:
        """Every shape as a record, of the evening before the first day."""
        at = moment(self.plan.first) - dt.timedelta(hours=1)
        source = dataclasses.replace(source_for(self.tenant.pk), received_at=at)
        for workflow in self.workflows:
            for outcome in range(workflow.outcomes):
                body = shapes.encoded(workflow.message(outcome, at))
                yield workflow, schema.full_execution(schema.decode(body), body, source)

    def record_shapes(self) -> None:
        """Store every shape once: makes workflows and error groups as messages make them."""
        record_executions([record for _, record in self.records()])
        while rollups.fold_deltas():
            pass

    def load_shapes(self) -> None:
        """Read which workflows the shapes belong to, and make their templates."""
        with tenant_scope(self.tenant):
            ids = dict(Workflow.objects.values_list("external_id", "id"))
        self.shapes: dict[int, list[_Shape]] = {}
        for workflow, record in self.records():
            shape = _Shape(record, ids[workflow.external_id])
            self.shapes.setdefault(workflow.number, []).append(shape)

    def fill_day(self, day: int, size: int) -> None:
        """Add a day's executions and their numbers in one transaction."""
        rng = random.Random(day)
        starts = sorted(itertools.islice(self._starts(day, rng), size))
        numbers = _Numbers()
        external_ids = (b"%05d%07d" % (day, number) for number in itertools.count())
        with transaction.atomic(), cursor() as db:
            for some in _slices(starts):
                rows = _Slice(numbers)
                for start in some:
                    rows.add(self._shape_at(start, rng), start, next(external_ids), rng)
                rows.copy(db)
            db.execute("SELECT pg_advisory_xact_lock(%s)", [rollups.FOLD_LOCK])
            numbers.write(db, self.tenant.pk, default_environment(self.tenant.pk).pk)

    def _starts(self, day: int, rng: random.Random) -> Iterator[int]:
        hours = list(itertools.accumulate(_HOURS))
        while True:
            hour = bisect.bisect(hours, rng.random() * hours[-1])
            start = day * DAY_MS + int((hour + rng.random()) * 3_600_000)
            if start < self.plan.end:
                yield start

    def _shape_at(self, start: int, rng: random.Random) -> _Shape:
        place = bisect.bisect(self.weights, rng.random() * self.weights[-1])
        workflow = self.workflows[place]
        return self.shapes[workflow.number][workflow.outcome_at(start, rng)]


def _slices(starts: Sequence[int]) -> Iterator[Sequence[int]]:
    for first in range(0, len(starts), _SLICE):
        yield starts[first : first + _SLICE]


def _rollup_key(tenant_id: int, kind: Subject, subject: int, level: Level, at: int) -> RollupKey:
    return RollupKey(tenant_id, int(kind), subject, int(level), moment(at))


def _coarser(
    finer: Mapping[tuple[int, int], Counters], length_ms: int
) -> dict[tuple[int, int], Counters]:
    """Counters by (workflow, start), added up over buckets of that length."""
    coarser = dict[tuple[int, int], Counters]()
    for (workflow, at), counters in finer.items():
        add_at(coarser, (workflow, at - at % length_ms), counters)
    return coarser


def _counters(delta: Delta) -> Counters:
    numbers = (*delta.counts, *delta.duration_sums, *delta.duration_counts, *delta.error_classes)
    return Counters(numbers, delta.histogram)


def _node_counters(node: NodeDelta) -> Counters:
    counters = Counters((*node.counts, node.duration_count, node.duration_sum))
    counters.histogram.add_slots(node.slots.items())
    return counters
