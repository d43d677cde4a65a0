"""A workflow's latest executions by its nodes: what failed where, at one look."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from monitoring.ids import time_of
from monitoring.models import Execution, NodeExecution, Workflow
from monitoring.prepared import prepared
from monitoring.words import Status

EXECUTIONS: Final = 40
MOST_NODE_EXECUTIONS: Final = 4_000
"""So many are read at most; an execution of thousands of nodes leaves room for few others."""

NODES: Final = 30

# When a node ran several times in an execution, its cell shows the run that matters most.
_WEIGHT: Final = {
    status: weight
    for weight, status in enumerate(
        (
            Status.SKIPPED,
            Status.PENDING,
            Status.SUCCESS,
            Status.CANCELED,
            Status.WAITING,
            Status.RUNNING,
            Status.PARTIAL,
            Status.FAILED,
        )
    )
}


@dataclass(frozen=True, slots=True)
class GridColumn:
    """One execution."""

    id: uuid.UUID
    status: Status
    duration_ms: int | None
    started_at: dt.datetime


@dataclass(slots=True)
class GridRow:
    """One node; a cell for each execution, None: it did not run there."""

    node_id: str
    name: str
    cells: list[Status | None]
    position: int = field(default=0)


@dataclass(frozen=True, slots=True)
class RunGrid:
    """Executions from old to new, nodes as they ran; `hidden_nodes` more had no room."""

    columns: Sequence[GridColumn]
    rows: Sequence[GridRow]
    hidden_nodes: int


def run_grid(workflow: Workflow) -> RunGrid:
    """Read the latest executions of a workflow and their nodes: two statements, bounded."""
    latest = Execution.objects.filter(workflow_id=workflow.pk).newest_first()[:EXECUTIONS]
    with prepared():
        newest = list(latest.values_list("id", "status", "duration_ms", "node_count"))
    columns: list[GridColumn] = []
    room = MOST_NODE_EXECUTIONS
    for execution_id, status, duration_ms, node_count in newest:
        room -= node_count
        if room < 0 and columns:
            break
        columns.append(GridColumn(execution_id, Status(status), duration_ms, time_of(execution_id)))
    columns.reverse()
    rows = _rows(columns)
    return RunGrid(columns, rows[:NODES], max(len(rows) - NODES, 0))


def _rows(columns: Sequence[GridColumn]) -> list[GridRow]:
    place = {column.id: number for number, column in enumerate(columns)}
    found = NodeExecution.objects.filter(execution_id__in=list(place)).values_list(
        "execution_id", "node_id", "name", "status", "position"
    )
    rows: dict[str, GridRow] = {}
    latest: dict[str, int] = {}
    with prepared():
        cells = list(found)
    for execution_id, node_id, name, status, position in cells:
        column = place[execution_id]
        row = rows.setdefault(node_id, GridRow(node_id, node_id, [None] * len(columns)))
        before = row.cells[column]
        if before is None or _WEIGHT[Status(status)] > _WEIGHT[before]:
            row.cells[column] = Status(status)
        if column > latest.get(node_id, -1):
            # The newest execution says the node's name and place; of its runs the first.
            latest[node_id] = column
            row.name, row.position = name or node_id, position or 0
        elif column == latest[node_id]:
            row.position = min(row.position, position or 0)
    return sorted(rows.values(), key=lambda row: (row.position, row.name))
