"""Numbers of the nodes of one workflow. Needs a tenant's scope."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from monitoring.counting.histogram import Histogram
from monitoring.counting.nodes import unpack_node_deltas
from monitoring.database import cursor
from monitoring.ids import uuid_floor
from monitoring.metrics import node_lines
from monitoring.metrics.node_lines import OTHER_NODES
from monitoring.metrics.ranges import totals_of_spans
from monitoring.metrics.rates import rate
from monitoring.metrics.reading import raw_histogram
from monitoring.metrics.sealing import sealed_until
from monitoring.metrics.spans import Span, whole_buckets
from monitoring.metrics.subject import of_workflow
from monitoring.metrics.timerange import TimeRange, ceil_to, floor_to
from monitoring.models import Level, Workflow
from monitoring.prepared import fetch_all
from monitoring.words import FINISHED, Status
from tenants.scoping import current_tenant

MOST_RAW_EXECUTIONS: Final = 2_000
"""Nodes are kept by hours; an hour that the range cuts is read raw up to this many executions."""

_NEWEST_EXECUTIONS: Final = 50
_HOUR: Final = Level.HOUR.length


@dataclass(slots=True)
class NodeTotals:
    """Numbers of one node: counts by Status, durations (ms) of its finished runs.

    Of a workflow with very many nodes, one of them is all that have no numbers of their own.
    """

    node_id: str
    name: str
    type: str | None = None
    position: int | None = None
    counts: list[int] = field(default_factory=lambda: [0] * len(Status))
    duration_sum: int = 0
    duration_count: int = 0
    histogram: Histogram = field(default_factory=Histogram)

    @property
    def is_others(self) -> bool:
        """Whether these are the numbers of all nodes together that have none of their own."""
        return self.node_id == OTHER_NODES

    @property
    def total(self) -> int:
        return sum(self.counts)

    @property
    def failed(self) -> int:
        return self.counts[Status.FAILED]

    @property
    def failure_rate(self) -> float | None:
        """failed / (success + failed + partial)."""
        return rate(Status.FAILED, self.counts)

    @property
    def average_ms(self) -> float | None:
        return self.duration_sum / self.duration_count if self.duration_count else None

    def percentile(self, percent: float) -> float | None:
        """The duration (ms) that `percent` (0–100) of runs did not exceed, within 1 %."""
        return self.histogram.percentile(percent / 100)


@dataclass(frozen=True, slots=True)
class NodesOfWorkflow:
    """Numbers of every node that ran in [start, end).

    The span is the range asked for, unless it cuts a very busy hour or one whose raw rows are gone:
    then it is snapped outwards to that hour, and `exact` is False.
    """

    start: dt.datetime
    end: dt.datetime
    exact: bool
    nodes: list[NodeTotals]


def node_totals(workflow: Workflow, range_: TimeRange) -> NodesOfWorkflow:
    """Numbers of a workflow's nodes in a range, in the order in which they usually run."""
    start, end = _span_to_read(workflow, range_)
    return NodesOfWorkflow(
        start,
        end,
        (start, end) == (range_.start, range_.end),
        _read(workflow, (start, end)),
    )


def _span_to_read(workflow: Workflow, range_: TimeRange) -> Span:
    """The range, with edges in busy hours, and in those before the seal, moved out to the hour."""
    start, end = range_.start, range_.end
    pieces = _cut_hours((start, end))
    if not pieces:
        return start, end
    with cursor() as db:
        seal = sealed_until(db, current_tenant().pk)
    numbers = totals_of_spans(of_workflow(workflow), pieces, percentiles=False)
    for (first, last), found in zip(pieces, numbers, strict=True):
        if found.total > MOST_RAW_EXECUTIONS or first < seal:
            if first == range_.start:
                start = floor_to(first, _HOUR)
            if last == range_.end:
                end = ceil_to(last, _HOUR)
    return start, end


def _cut_hours(span: Span) -> list[Span]:
    """The parts of a span that do not fill an hour."""
    start, end = span
    first, last = ceil_to(start, _HOUR), floor_to(end, _HOUR)
    if first > last:
        return [span]
    return [piece for piece in ((start, first), (last, end)) if piece[0] < piece[1]]


def _read(workflow: Workflow, span: Span) -> list[NodeTotals]:
    start, end = span
    first, last = ceil_to(start, _HOUR), floor_to(end, _HOUR)
    segments = list(whole_buckets(0, first, last, Level.HOUR)) if first < last else []
    tenant_id = current_tenant().pk
    place = [tenant_id, workflow.pk]
    parts = [_LINES, _FOLDED, _UNFOLDED]
    params: list[Any] = [
        [int(segment.level) for segment in segments],
        [segment.start for segment in segments],
        [segment.end for segment in segments],
        *place,
        *place,
        *place,
    ]
    for piece_start, piece_end in _cut_hours(span):
        parts.append(_RAW)
        params += [*place, uuid_floor(piece_start), uuid_floor(piece_end)]
    found = _Found()
    for node_id, counts, spent, known, histogram, unfolded in fetch_all(
        _FRAME + "\nUNION ALL\n".join(parts), params
    ):
        if unfolded is not None:
            found.add_unfolded(unfolded)
        elif counts is not None:
            found.add(node_id, counts, int(spent), known, Histogram.unpack_sum(histogram))
        else:
            found.own.add(node_id)
    nodes = found.by_line()
    _describe(workflow, nodes)
    return sorted(nodes, key=lambda node: (node.position is None, node.position or 0, node.node_id))


class _Found:
    """What one statement told of nodes, rollups, deltas and raw rows alike, and which have a line."""

    def __init__(self) -> None:
        self.own: set[str] = set()
        self._nodes: dict[str, NodeTotals] = {}

    def add(
        self, node_id: str, counts: Sequence[int], spent: int, known: int, histogram: Histogram
    ) -> None:
        node = self._nodes.setdefault(node_id, NodeTotals(node_id, node_id))
        node.counts = [a + b for a, b in zip(node.counts, counts, strict=True)]
        node.duration_sum += spent
        node.duration_count += known
        node.histogram.merge(histogram)

    def add_unfolded(self, packed: bytes) -> None:
        for node_id, delta in unpack_node_deltas(packed).items():
            durations = (delta.duration_sum, delta.duration_count)
            self.add(node_id, delta.counts, *durations, Histogram(delta.slots))

    def by_line(self) -> list[NodeTotals]:
        """Those that ran; what has no line of its own is one."""
        if len(self.own) >= node_lines.NODES_WITH_NUMBERS:
            for node_id in self._nodes.keys() - self.own - {OTHER_NODES}:
                node = self._nodes.pop(node_id)
                durations = (node.duration_sum, node.duration_count)
                self.add(OTHER_NODES, node.counts, *durations, node.histogram)
        return [node for node in self._nodes.values() if any(node.counts)]


def _describe(workflow: Workflow, nodes: Iterable[NodeTotals]) -> None:
    """Give nodes the names, types and positions of the newest executions that ran them."""
    place = [current_tenant().pk, workflow.pk]
    described = fetch_all(_DESCRIPTIONS, [*place, _NEWEST_EXECUTIONS, place[0]])
    known = {node_id: rest for node_id, *rest in described}
    for node in nodes:
        if node.node_id in known:
            name, node.type, node.position = known[node.node_id]
            node.name = name or node.node_id
        if node.is_others:
            node.name, node.type, node.position = "Other nodes", None, None


_FINISHED_SQL: Final = ", ".join(str(int(status)) for status in sorted(FINISHED))
_RAW_COUNTS: Final = ", ".join(
    f"count(*) FILTER (WHERE e.status = {status:d})" for status in Status
)
_FRAME: Final = """
WITH segment (level, start, stop) AS MATERIALIZED (
    SELECT * FROM unnest(%s::smallint[], %s::timestamptz[], %s::timestamptz[])
)"""
_LINES: Final = """
SELECT node_id, NULL::bigint[], NULL::numeric, NULL::bigint, NULL::bytea, NULL::bytea
FROM monitoring_nodeline WHERE tenant_id = %s AND workflow_id = %s"""
_FOLDED: Final = """
SELECT r.*, NULL::bytea AS unfolded FROM segment CROSS JOIN LATERAL (
    SELECT node_id, counts, duration_sum, duration_count, histogram FROM monitoring_noderollup
    WHERE tenant_id = %s AND workflow_id = %s AND level = segment.level
        AND bucket >= segment.start AND bucket < segment.stop
    OFFSET 0
) r"""
_UNFOLDED: Final = """
SELECT NULL, NULL, NULL, NULL, NULL, d.nodes FROM monitoring_rollupdelta d
JOIN segment ON d.bucket >= segment.start AND d.bucket < segment.stop
WHERE d.tenant_id = %s AND d.workflow_id = %s AND d.nodes <> '{}'"""
# Alias e is the node execution.
RAW_NODES: Final = f"""
    ARRAY[{_RAW_COUNTS}]::bigint[],
    coalesce(sum(e.duration_ms) FILTER (WHERE e.status IN ({_FINISHED_SQL})), 0),
    count(e.duration_ms) FILTER (WHERE e.status IN ({_FINISHED_SQL})),
    {raw_histogram(statuses=FINISHED)}"""
_RAW: Final = f"""
SELECT e.node_id, {RAW_NODES}, NULL
FROM monitoring_execution x
JOIN monitoring_nodeexecution e ON e.tenant_id = x.tenant_id AND e.execution_id = x.id
WHERE x.tenant_id = %s AND x.workflow_id = %s AND x.id >= %s AND x.id < %s
GROUP BY e.node_id"""  # noqa: S608 - column names and numbers of statuses
_DESCRIPTIONS: Final = """
SELECT DISTINCT ON (n.node_id) n.node_id, n.name, n.type, n.position
FROM (
    SELECT id FROM monitoring_execution WHERE tenant_id = %s AND workflow_id = %s
    ORDER BY id DESC LIMIT %s
) x JOIN monitoring_nodeexecution n ON n.tenant_id = %s AND n.execution_id = x.id
ORDER BY n.node_id, n.execution_id DESC"""
