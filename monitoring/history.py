"""The history of executions: filters, pages by position, neighbours, finding by id.

Every question is answered from an index, or by scanning a bounded slice: a filter is split into
branches (ranges of one index each, walked in the order of ids) and a rest that is compared row by
row. Without a rest a page is exact and costs the same wherever it lies; with one it may come short
and says how far it has searched. All of this runs in a tenant's scope.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import itertools
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, TypeAlias

from django.db.models import F, Q
from django.db.models.functions import Left
from django.db.models.lookups import IContains

from monitoring.error_search import LOOKED_AT, error_match
from monitoring.ids import time_of
from monitoring.models import Environment, Execution, ExecutionKey, Workflow
from monitoring.models.execution import ExecutionQuerySet
from monitoring.prepared import prepared
from monitoring.words import Status

SCAN_ROWS: Final = 50_000
"""Rows that one page compares at most when no index answers its filter."""

SCAN_SECONDS: Final = 0.1
"""After this time a scan stops at the end of its slice."""

FIRST_SLICE: Final = 1_000
LARGEST_SLICE: Final = 10_000
ITERATED: Final = 200
"""Rows of one step through many: error messages come whole, up to 64 KB each."""

MOST_BRANCHES: Final = 12
MOST_CANDIDATES: Final = 20
LIST_FIELDS: Final = (
    *("tenant", "environment", "workflow", "external_id", "status", "started_at", "duration_ms"),
    *("trigger_type", "attempt", "version", "error_node_id", "error_node_name"),
    *("node_count", "node_done_count", "lost_contact_at"),
)
"""What a line about an execution shows; reading all columns of 50 costs twice as much."""

PROBLEMS: Final = frozenset({Status.FAILED, Status.PARTIAL})


class BrokenCursor(ValueError):
    """A cursor that this program never gave out."""


@dataclass(frozen=True, slots=True)
class ExecutionQuery:
    """Which executions are asked for; everything that is set must hold.

    `start` and `end` are [start, end) on the time of the id. `error_text` is searched whatever the
    case. `trigger` and `version` are compared whole. Durations are milliseconds, both included.
    """

    workflow_ids: tuple[int, ...] = ()
    environment_id: int | None = None
    statuses: frozenset[Status] = frozenset()
    trigger: str = ""
    start: dt.datetime | None = None
    end: dt.datetime | None = None
    error_text: str = ""
    fingerprint: bytes | None = None
    min_duration_ms: int | None = None
    max_duration_ms: int | None = None
    version: str = ""

    @property
    def is_answered_by_rollups(self) -> bool:
        """Whether counts by workflow, environment, status and time say how many match."""
        return replace(self, start=None, end=None) == ExecutionQuery(
            workflow_ids=self.workflow_ids,
            environment_id=self.environment_id,
            statuses=self.statuses,
        )


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Executions, newest first, and the cursors to go on with (None: nothing there).

    `searched_to` is set when the search stopped before the page was full: how far it came. Going on
    from there is what the cursor in that direction does.
    """

    rows: list[Execution]
    older: str | None
    newer: str | None
    searched_to: dt.datetime | None


@dataclass(frozen=True, slots=True)
class Count:
    """How many match; not exact: at least that many."""

    number: int
    is_exact: bool


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The executions beside one within a filter."""

    newer: uuid.UUID | None
    older: uuid.UUID | None


def page(
    query: ExecutionQuery,
    *,
    after: str | None = None,
    before: str | None = None,
    offset: int = 0,
    limit: int = 50,
    whole_messages: bool = True,
) -> HistoryPage:
    """One page of matching executions, newest first.

    `after` and `before` are a page's `older` and `newer`; rows that arrive meanwhile move nothing.
    `offset` skips so many matches beyond. Rows have their workflow and environment, no payload, and
    `reason`, the beginning of the error's message; without `whole_messages` only what a list shows
    (`LIST_FIELDS`). Raises BrokenCursor.
    """
    ascending = before is not None
    position = _position(before if before is not None else after)
    plan, start = _plan(query), position
    if offset:
        skipped = _skip(plan, position, ascending, offset)
        if skipped.last is None:
            return _paged([], position, ascending, False, skipped.stopped_at)
        start = skipped.last
    columns: _Columns = "whole" if whole_messages else "light"
    found = _find(plan, start, ascending, need=limit + 1, columns=columns)
    rows = found.rows[:limit]
    has_more = len(found.rows) > limit
    if ascending:
        rows.reverse()
    _attach_names(rows)
    return _paged(rows, position, ascending, has_more, None if has_more else found.stopped_at)


def _paged(
    rows: list[Execution],
    position: uuid.UUID | None,
    ascending: bool,
    has_more: bool,
    stopped_at: uuid.UUID | None,
) -> HistoryPage:
    """Put cursors at the ends: onwards where there may be more, back to where one came from."""
    first, last = (rows[0].id, rows[-1].id) if rows else (position, position)
    edge = first if ascending else last
    onwards = stopped_at or (edge if has_more else None)
    back = (last if ascending else first) if position is not None else None
    older, newer = (back, onwards) if ascending else (onwards, back)
    return HistoryPage(
        rows,
        older=cursor_of(older) if older else None,
        newer=cursor_of(newer) if newer else None,
        searched_to=time_of(stopped_at) if stopped_at else None,
    )


def count(query: ExecutionQuery, at_most: int = 10_000) -> Count | None:
    """How many match, counted up to `at_most`; None where only a long scan could tell."""
    plan = _plan(query)
    branches = plan.branches
    if not branches:
        return Count(0, is_exact=True)
    if plan.rest is not None:
        if _edge(branches, False, at_most + 1) is not None:
            return None
        branches = [branch.filter(plan.rest) for branch in branches]
    number = _count_ids(branches, at_most + 1)
    return Count(min(number, at_most), is_exact=number <= at_most)


def count_newer(query: ExecutionQuery, cursor: str, at_most: int) -> int:
    """How many matches stand before a cursor, counted up to `at_most`; raises BrokenCursor.

    Where rows must be compared, those that one page compares at most are counted.
    """
    found = _find(_plan(query), _position(cursor), True, need=at_most, columns="ids")
    return len(found.rows)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of all that match; `resume_at` is where the next one begins (None: that was all)."""

    rows: list[Execution]
    resume_at: uuid.UUID | None


def chunk(
    query: ExecutionQuery, after: uuid.UUID | None, size: int, *, ids_only: bool = False
) -> Chunk:
    """The next matching executions after that id, newest first, without their names.

    It may be empty although more follow, where a filter finds nothing for a while.
    """
    columns: _Columns = "ids" if ids_only else "whole"
    found = _find(_plan(query), after, False, need=size, columns=columns)
    last = found.rows[-1].id if len(found.rows) == size else None
    return Chunk(found.rows, last or found.stopped_at)


def iterate(query: ExecutionQuery, *, size: int = ITERATED) -> Iterator[list[Execution]]:
    """Every matching execution, newest first, in lists of at most `size`, each read by itself.

    Lists may be empty (see `chunk`). Executions that arrive later than the first are not met.
    """
    position: uuid.UUID | None = None
    while True:
        found = chunk(query, position, size)
        _attach_names(found.rows)
        yield found.rows
        position = found.resume_at
        if position is None:
            return


def last_success_before(execution: Execution, within: int = 2_000) -> Execution | None:
    """The newest success of the same workflow before this one, among its last `within` runs."""
    earlier = Execution.objects.filter(workflow_id=execution.workflow_id, id__lt=execution.id)
    with prepared():  # successes have no index of their own that a plan could miss
        edge = _edge([earlier], False, within)
        if edge is not None:
            earlier = earlier.filter(id__gte=edge)
        return _light(earlier.with_status([Status.SUCCESS]), "light").order_by("-id").first()


@dataclass(frozen=True, slots=True)
class SameError:
    """How often an error was seen of late; `is_exact` False: at least."""

    number: int
    workflows: int
    is_exact: bool


def same_error_since(fingerprint: bytes, since: dt.datetime, at_most: int = 1_000) -> SameError:
    """Count the executions with this fingerprint since then, at most that many."""
    found = Execution.objects.filter(fingerprint=fingerprint).started_between(since, None)
    with prepared():
        workflows = list(found.order_by("-id").values_list("workflow_id", flat=True)[: at_most + 1])
    return SameError(min(len(workflows), at_most), len(set(workflows)), len(workflows) <= at_most)


def attempts_of(execution: Execution, at_most: int = 50) -> list[Execution]:
    """All attempts that belong together by `retry_of`, this one included, the first one first."""
    names = {name for name in (execution.retry_of, execution.external_id) if name is not None}
    if not names:
        return [execution]
    of_workflow = Execution.objects.filter(workflow_id=execution.workflow_id)
    retries = _light(of_workflow.filter(retry_of__in=names), "light").order_by("id")[:at_most]
    with prepared():
        found = {one.id: one for one in retries}
    if execution.retry_of is not None:
        first = _ids_of_sender(
            execution.retry_of, [execution.workflow_id], execution.environment_id
        )
        found |= {one.id: one for one in _light(of_workflow.filter(id__in=first), "light")}
    found[execution.id] = execution
    return sorted(found.values(), key=lambda one: one.id)


def children_of(execution: Execution, at_most: int = 20) -> list[Execution]:
    """Executions that this one started, the oldest first.

    They name it by our id, or by the sender's, which means another execution in other environments.
    """
    ours = str(execution.id)
    names = [ours, *([execution.external_id] if execution.external_id else [])]
    children = Execution.objects.filter(
        Q(parent_execution_id=ours) | Q(environment_id=execution.environment_id),
        parent_execution_id__in=names,
    ).exclude(id=execution.id)
    with prepared():
        found = list(_light(children, "light").order_by("id")[:at_most])
    _attach_names(found)
    return found


def neighbours(execution_id: uuid.UUID, query: ExecutionQuery) -> Neighbours:
    """The next newer and older executions that match; None also where a bounded search saw none."""
    plan = _plan(query)
    newer, older = (
        _find(plan, execution_id, ascending, need=1, columns="ids").rows
        for ascending in (True, False)
    )
    return Neighbours(newer[0].id if newer else None, older[0].id if older else None)


def get(execution_id: uuid.UUID) -> Execution | None:
    """The execution of that id with its workflow, environment and payload."""
    found = Execution.objects.select_related("workflow", "environment").filter(id=execution_id)
    return found.first()


def of_ids(ids: Sequence[uuid.UUID]) -> list[Execution]:
    """The executions of these ids that exist, newest first, without payload."""
    found = list(_light(Execution.objects.filter(id__in=ids)).order_by("-id"))
    _attach_names(found)
    return found


def find_by_any_id(
    text: str, *, workflow_ids: Sequence[int] = (), environment_id: int | None = None
) -> list[Execution]:
    """The executions that `text` may mean: ours is tried first, then the sender's id.

    Several mean that workflow or environment must decide; at most 20 are returned, newest first,
    without payload.
    """
    if "\0" in text:  # which PostgreSQL can't hold, so nothing can have it
        return []
    try:
        ours = list(_light(Execution.objects.filter(id=uuid.UUID(text))))
    except ValueError:
        ours = []
    found = [
        row
        for row in ours
        if (not workflow_ids or row.workflow_id in workflow_ids)
        and environment_id in (None, row.environment_id)
    ]
    if not found:
        ids = _ids_of_sender(text, workflow_ids, environment_id)
        found = list(_light(Execution.objects.filter(id__in=ids)).order_by("-id"))
    _attach_names(found)
    return found


def _ids_of_sender(
    text: str, workflow_ids: Sequence[int], environment_id: int | None
) -> list[uuid.UUID]:
    keys = ExecutionKey.objects.filter(external_id=text)
    if workflow_ids:
        keys = keys.filter(workflow_id__in=list(workflow_ids))
    if environment_id is not None:
        keys = keys.filter(environment_id=environment_id)
    return list(keys.values_list("execution_id", flat=True)[:MOST_CANDIDATES])


# --- cursors --------------------------------------------------------------------------------------
def cursor_of(execution_id: uuid.UUID) -> str:
    """The position of an execution in every list, as text for an address."""
    return base64.urlsafe_b64encode(execution_id.bytes).decode().rstrip("=")


def _position(cursor: str | None) -> uuid.UUID | None:
    if cursor is None:
        return None
    try:
        return uuid.UUID(bytes=base64.b64decode(cursor + "==", altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise BrokenCursor("This cursor was not made here; begin without one.") from error


# --- how a filter is answered ---------------------------------------------------------------------
_Branch: TypeAlias = dict[str, Any]
_Columns: TypeAlias = Literal["ids", "light", "whole"]
"""What is read of a row: its id, what a list shows, or all but the payload."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """Disjoint ranges of an index, and what else must hold (None: nothing, so it is exact)."""

    branches: list[ExecutionQuerySet]
    rest: Q | None
    keeps_plan: bool
    """Whether no status leads to an index, so that its statements may be prepared."""


@dataclass(frozen=True, slots=True)
class _Found:
    rows: list[Execution]
    stopped_at: uuid.UUID | None


@dataclass(frozen=True, slots=True)
class _Skipped:
    """The last match that was skipped; None: there are not so many, or the search stopped."""

    last: uuid.UUID | None
    stopped_at: uuid.UUID | None


def _plan(query: ExecutionQuery) -> _Plan:
    branches, rest = _branches(query)
    rest &= _never_indexed(query)
    ranged = [
        Execution.objects.filter(**branch).started_between(query.start, query.end)
        for branch in branches
    ]
    by_status = any("status" in branch for branch in branches)
    return _Plan(ranged, rest if rest else None, keeps_plan=not by_status)


def _branches(query: ExecutionQuery) -> tuple[list[_Branch], Q]:
    """Choose the narrowest index; return its ranges and what remains of the filters it knows."""
    workflow_ids = query.workflow_ids
    if workflow_ids and query.environment_id is not None:
        workflow_ids = _within_environment(workflow_ids, query.environment_id)
        if not workflow_ids:
            return [], Q()
    subject = _subject(workflow_ids, query.environment_id)
    status = Q(status__in=query.statuses) if query.statuses else Q()
    if query.fingerprint is not None:
        return [{"fingerprint": query.fingerprint}], subject & status & _says(query.error_text)
    if not query.error_text:
        return _by_index(workflow_ids, query.environment_id, query.statuses, status)
    match = error_match(query.error_text)
    says = Q() if match.is_exact else _says(query.error_text)
    if match.fingerprints is not None:
        return [{"fingerprint": one} for one in match.fingerprints], subject & status & says
    failures = query.statuses or PROBLEMS
    branches, rest = _by_index(workflow_ids, query.environment_id, failures, Q(status__in=failures))
    return branches, rest & says


def _by_index(
    workflow_ids: tuple[int, ...],
    environment_id: int | None,
    statuses: frozenset[Status],
    status: Q,
) -> tuple[list[_Branch], Q]:
    """Ranges of the indexes over workflow, environment and status, and what they leave to compare.

    Successes are nearly all rows and have no index over status: they are compared.
    """
    indexed = sorted(statuses) if Status.SUCCESS not in statuses else []
    if workflow_ids and len(workflow_ids) * len(indexed) <= MOST_BRANCHES and indexed:
        pairs = itertools.product(workflow_ids, indexed)
        return [{"workflow_id": workflow, "status": one} for workflow, one in pairs], Q()
    if workflow_ids and len(workflow_ids) <= MOST_BRANCHES:
        return [{"workflow_id": workflow} for workflow in workflow_ids], status
    if indexed:
        return [{"status": one} for one in indexed], _subject(workflow_ids, environment_id)
    if environment_id is not None:
        return [{"environment_id": environment_id}], status & _subject(workflow_ids, None)
    return [{}], status & _subject(workflow_ids, None)


def _subject(workflow_ids: tuple[int, ...], environment_id: int | None) -> Q:
    """Workflows decide alone: each belongs to one environment."""
    if workflow_ids:
        return Q(workflow_id__in=workflow_ids)
    return Q() if environment_id is None else Q(environment_id=environment_id)


def _within_environment(workflow_ids: tuple[int, ...], environment_id: int) -> tuple[int, ...]:
    inside = Workflow.objects.filter(id__in=workflow_ids, environment_id=environment_id)
    return tuple(inside.order_by("id").values_list("id", flat=True))


def _says(text: str) -> Q:
    """Compare the beginning of the message; a long one is not unpacked whole."""
    if not text:
        return Q()
    return Q(IContains(Left(F("error_message"), LOOKED_AT), text.strip()))


def _never_indexed(query: ExecutionQuery) -> Q:
    rest = Q()
    if query.trigger:
        rest &= Q(trigger_type=query.trigger)
    if query.version:
        rest &= Q(version=query.version)
    if query.min_duration_ms is not None:
        rest &= Q(duration_ms__gte=query.min_duration_ms)
    if query.max_duration_ms is not None:
        rest &= Q(duration_ms__lte=query.max_duration_ms)
    return rest


# --- reading --------------------------------------------------------------------------------------
def _find(
    plan: _Plan, position: uuid.UUID | None, ascending: bool, *, need: int, columns: _Columns
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


def _skip(plan: _Plan, position: uuid.UUID | None, ascending: bool, offset: int) -> _Skipped:
    """Go `offset` matches beyond `position` without reading rows into memory."""
    if not plan.branches:
        return _Skipped(None, None)
    if plan.rest is None:
        branches = _beyond(plan.branches, position, ascending)
        return _Skipped(_edge(branches, ascending, offset), None)
    for _ in range(SCAN_ROWS // LARGEST_SLICE):
        branches = _beyond(plan.branches, position, ascending)
        edge = _edge(branches, ascending, LARGEST_SLICE)
        matches = [branch.filter(plan.rest) for branch in _up_to(branches, edge, ascending)]
        number = _count_ids(matches, LARGEST_SLICE)
        if number >= offset:
            return _Skipped(_edge(matches, ascending, offset), None)
        if edge is None:
            return _Skipped(None, None)
        offset, position = offset - number, edge
    return _Skipped(None, position)


def _scan(
    plan: _Plan,
    rest: Q,
    position: uuid.UUID | None,
    ascending: bool,
    need: int,
    columns: _Columns,
) -> _Found:
    """Compare slices of growing size until enough is found, or rows or time are used up."""
    rows: list[Execution] = []
    scanned, size = 0, FIRST_SLICE
    give_up_at = time.monotonic() + SCAN_SECONDS
    while True:
        branches = _beyond(plan.branches, position, ascending)
        edge = _edge(branches, ascending, size)
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


def _edge(branches: list[ExecutionQuerySet], ascending: bool, size: int) -> uuid.UUID | None:
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
    branches: list[ExecutionQuerySet], ascending: bool, need: int, columns: _Columns
) -> list[Execution]:
    """The first `need` rows of all branches together, in one statement."""
    order = "id" if ascending else "-id"
    parts = [_light(branch, columns).order_by(order)[:need] for branch in branches]
    if len(parts) == 1:
        return list(parts[0])
    return list(parts[0].union(*parts[1:], all=True).order_by(order)[:need])


def _light(executions: ExecutionQuerySet, columns: _Columns = "whole") -> ExecutionQuerySet:
    """Without payload, which lists never show, with the beginning of the message as `reason`."""
    if columns == "ids":
        return executions.only("id")
    is_light = columns == "light"
    read = executions.only(*LIST_FIELDS) if is_light else executions.without_payload()
    return read.with_reason()


def _count_ids(branches: list[ExecutionQuerySet], most: int) -> int:
    ids = [branch.order_by().values("id")[:most] for branch in branches]
    if len(ids) == 1:
        return ids[0].count()
    return ids[0].union(*ids[1:], all=True)[:most].count()


def _attach_names(rows: list[Execution]) -> None:
    """Give each row its workflow and environment by two narrow queries instead of a join."""
    if not rows:
        return
    named = Workflow.objects.only("tenant", "environment", "external_id", "name")
    workflows = named.in_bulk({row.workflow_id for row in rows})
    environments = Environment.objects.in_bulk({row.environment_id for row in rows})
    for row in rows:
        if row.workflow_id in workflows:
            row.workflow = workflows[row.workflow_id]
        if row.environment_id in environments:
            row.environment = environments[row.environment_id]
