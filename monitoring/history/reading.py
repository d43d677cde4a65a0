"""Reads what a plan says: the next matches in one direction, by index or by bounded scans."""

from __future__ import annotations

import time
import uuid
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from django.db.models import Q

from monitoring.history.plan import Plan
from monitoring.models import Execution
from monitoring.models.execution import ExecutionQuerySet
from monitoring.named import NAMES, workflows_by_id
from monitoring.prepared import prepared

SCAN_ROWS: Final = 50_000
"""Rows that one page compares at most when no index answers its filter."""

SCAN_SECONDS: Final = 0.1
"""After this time a scan stops at the end of its slice."""

FIRST_SLICE: Final = 1_000

LARGEST_SLICE: Final = 10_000

LIST_FIELDS: Final = (
    *("tenant", "environment", "workflow", "external_id", "status", "started_at", "duration_ms"),
    *("trigger_type", "attempt", "version", "error_node_id", "error_node_name"),
    *("node_count", "node_done_count", "lost_contact_at"),
)
"""What a line about an execution shows; reading all columns of 50 costs twice as much."""

Columns: TypeAlias = Literal["ids", "light", "whole"]
"""What is read of a row: its id, what a list shows, or all but the payload."""


@dataclass(frozen=True, slots=True)
class _Found:
    rows: list[Execution]
    stopped_at: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class _Skipped:
    """The last match that was skipped; None: there are not so many, or the search stopped."""

    last: uuid.UUID | None
    stopped_at: uuid.UUID | None


def find(
    plan: Plan, position: uuid.UUID | None, ascending: bool, *, need: int, columns: Columns
) -> _Found:
    """The next `need` matches beyond `position` in one direction, and where the search stopped.

    `stopped_at` is None when it came to the end or found enough.
    """
    if not plan.branches:
        return _Found([], None)
    if plan.rest is None:
        branches = _beyond(plan.branches, position, ascending)
        with prepared() if plan.keeps_plan else nullcontext():
            return _Found(_first(branches, ascending, need, columns), None)
    return _scan(plan, plan.rest, position, ascending, need, columns)


def skip(plan: Plan, position: uuid.UUID | None, ascending: bool, offset: int) -> _Skipped:
    """Go `offset` matches beyond `position` without reading rows into memory."""
    if not plan.branches:
        return _Skipped(None, None)
    if plan.rest is None:
        branches = _beyond(plan.branches, position, ascending)
        return _Skipped(edge_of(branches, ascending, offset), None)
    for _ in range(SCAN_ROWS // LARGEST_SLICE):
        branches = _beyond(plan.branches, position, ascending)
        edge = edge_of(branches, ascending, LARGEST_SLICE)
        matches = [branch.filter(plan.rest) for branch in _up_to(branches, edge, ascending)]
        number = count_ids(matches, LARGEST_SLICE)
        if number >= offset:
            return _Skipped(edge_of(matches, ascending, offset), None)
        if edge is None:
            return _Skipped(None, None)
        offset, position = offset - number, edge
    return _Skipped(None, position)


def _scan(
    plan: Plan,
    rest: Q,
    position: uuid.UUID | None,
    ascending: bool,
    need: int,
    columns: Columns,
) -> _Found:
    """Compare slices of growing size until enough is found, or rows or time are used up."""
    rows: list[Execution] = []
    scanned, size = 0, FIRST_SLICE
    give_up_at = time.monotonic() + SCAN_SECONDS
    while True:
        branches = _beyond(plan.branches, position, ascending)
        edge = edge_of(branches, ascending, size)
        slices = [branch.filter(rest) for branch in _up_to(branches, edge, ascending)]
        rows += _first(slices, ascending, need - len(rows), columns)
        if edge is None or len(rows) >= need:
            return _Found(rows, None)
        scanned, position = scanned + size, edge
        if scanned >= SCAN_ROWS or time.monotonic() >= give_up_at:
            return _Found(rows, edge)
        size = min(size * 2, LARGEST_SLICE, SCAN_ROWS - scanned)


def _beyond(
    branches: list[ExecutionQuerySet], position: uuid.UUID | None, ascending: bool
) -> list[ExecutionQuerySet]:
    if position is None:
        return branches
    side = Q(id__gt=position) if ascending else Q(id__lt=position)
    return [branch.filter(side) for branch in branches]


def _up_to(
    branches: list[ExecutionQuerySet], edge: uuid.UUID | None, ascending: bool
) -> list[ExecutionQuerySet]:
    if edge is None:
        return branches
    side = Q(id__lte=edge) if ascending else Q(id__gte=edge)
    return [branch.filter(side) for branch in branches]


def edge_of(branches: list[ExecutionQuerySet], ascending: bool, size: int) -> uuid.UUID | None:
    """The id of the `size`-th row; None when there are fewer. Read from the index alone."""
    order = "id" if ascending else "-id"
    ids = [branch.order_by(order).values("id")[:size] for branch in branches]
    if len(ids) == 1:
        ordered = branches[0].order_by(order).values("id")
    else:
        ordered = ids[0].union(*ids[1:], all=True).order_by(order)
    found = list(ordered[size - 1 : size])
    return found[0]["id"] if found else None


def _first(
    branches: list[ExecutionQuerySet], ascending: bool, need: int, columns: Columns
) -> list[Execution]:
    """The first `need` rows of all branches together, in one statement."""
    order = "id" if ascending else "-id"
    parts = [light(branch, columns).order_by(order)[:need] for branch in branches]
    if len(parts) == 1:
        return list(parts[0])
    return list(parts[0].union(*parts[1:], all=True).order_by(order)[:need])


def light(executions: ExecutionQuerySet, columns: Columns = "whole") -> ExecutionQuerySet:
    """Without payload, which lists never show, with the beginning of the message as `reason`."""
    if columns == "ids":
        return executions.only("id")
    is_light = columns == "light"
    read = executions.only(*LIST_FIELDS) if is_light else executions.without_payload()
    return read.with_reason()


def count_ids(branches: list[ExecutionQuerySet], most: int) -> int:
    ids = [branch.order_by().values("id")[:most] for branch in branches]
    if len(ids) == 1:
        return ids[0].count()
    return ids[0].union(*ids[1:], all=True)[:most].count()


def attach_names(rows: list[Execution]) -> None:
    """Give each row its workflow and environment by one narrow query instead of a join."""
    workflows = workflows_by_id({row.workflow_id for row in rows}, NAMES)
    environments = {each.environment_id: each.environment for each in workflows.values()}
    for row in rows:
        if row.workflow_id in workflows:
            row.workflow = workflows[row.workflow_id]
        if row.environment_id in environments:  # the one of its workflow
            row.environment = environments[row.environment_id]
