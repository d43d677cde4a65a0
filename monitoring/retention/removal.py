"""A tenant's past executions go: at most a thousand in a transaction, with all that hangs on them.

A run begins once a day (`scheduling.removal`), walks the past once in the order of time, and may be cut
off after any step. It stands in a row that people see, and can stop until the next day's. What stays of
the past: the tenant's newest executions (`retention_minimum`), and those that have not ended and were heard
of since the horizon.
"""

from __future__ import annotations

import datetime as dt
import logging
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import psycopg
from django.db import transaction
from django.db.models import QuerySet

from monitoring import deletion
from monitoring.database import cursor, database_now
from monitoring.horizon import next_turn, past_of
from monitoring.ids import time_of, uuid_floor
from monitoring.metrics.sealing import seal
from monitoring.models import RetentionRun
from monitoring.retention import preview
from monitoring.retention.keeping import OPEN, first_kept
from monitoring.retention.staying import Week, left_to_drop
from tenants.models import Tenant
from tenants.scoping import current_tenant

logger = logging.getLogger(__name__)

STEP: Final = deletion.STEP
STEP_NODES: Final = 20_000
"""A step takes fewer executions when they have more nodes than this together, but at least one."""

KEPT_LONGER: Final = "More is kept since it began. What is still past goes with the next run."
RUNS_KEPT: Final = 100
"""So many runs of a tenant are remembered."""

_Cursor = psycopg.Cursor[Any]
Span = tuple[uuid.UUID, uuid.UUID]
"""Ids from the first up to, without, the second."""


def remove_step(tenant: Tenant) -> bool:
    """Do one step of the tenant's removal, beginning one if there is none; False: nothing to do today.

    Needs the tenant's scope. Whoever does a step at the same time waits, and goes on from there; so does
    who changes how much is kept. The database's clock says what is past: a host whose clock is wrong
    would remove what is to stay.
    """
    with transaction.atomic():
        now = database_now()
        # As it stands now, and stays until the step is done.
        held = Tenant.objects.select_for_update(no_key=True).filter(pk=tenant.pk).first()
        if held is None:
            return False
        run = _open_run() or _begin(held, now)
        return run is not None and _step(held, run, now)


def rests_until(tenant: Tenant, now: dt.datetime) -> dt.datetime | None:
    """The turn up to which nothing is removed row by row, since a run was stopped; else None."""
    stopped = RetentionRun.objects.filter(state=RetentionRun.State.CANCELED).order_by("-id").first()
    if stopped is None or stopped.ended_at is None:
        return None
    turn = next_turn(tenant.pk, stopped.ended_at)
    return turn if turn > now else None


def _open_run() -> RetentionRun | None:
    return RetentionRun.objects.select_for_update().filter(state=RetentionRun.State.RUNNING).first()


def _begin(tenant: Tenant, now: dt.datetime) -> RetentionRun | None:
    """Begin a run; None where nothing is past that would go, or one was stopped today."""
    if rests_until(tenant, now) is not None:
        return None
    horizon = past_of(tenant, now)
    with cursor() as db:
        end = first_kept(db, tenant, horizon)
        weeks = left_to_drop(db, tenant, now)
        if weeks and end <= weeks[-1].ids[1]:
            horizon = min(horizon, weeks[0].start)
            end = min(end, uuid_floor(horizon))
        spans = _around(weeks, end)
        if not _has_any(db, tenant.pk, spans):
            return None
        expected = preview.count(tenant, [(time_of(first), time_of(last)) for first, last in spans])
        # Before the first row goes: from here on the numbers of these days stand for themselves.
        seal(db, [(tenant.pk, horizon)])
        kept = _count(db, tenant.pk, (end, uuid_floor(horizon)))
    logger.info("removal begins", extra={"tenant": tenant.slug, "expected": expected})
    return RetentionRun.objects.create(
        tenant=tenant,
        horizon=horizon,
        spans=[[str(first), str(last)] for first, last in spans],
        expected=expected,
        kept=kept,
    )


def _around(weeks: Sequence[Week], end: uuid.UUID) -> list[Span]:
    """All ids before `end` but those of the weeks, which follow each other."""
    first = uuid.UUID(int=0)
    if not weeks:
        return [(first, end)]
    around = [(first, weeks[0].ids[0]), (weeks[-1].ids[1], end)]
    return [(start, stop) for start, stop in around if start < stop]


def cancel(run: RetentionRun, by: str) -> bool:
    """Stop a run after its present step; False when it had ended. The next one begins with the next turn.

    `by` is who does, for the list of runs.
    """
    return _end(
        RetentionRun.objects.filter(pk=run.pk), RetentionRun.State.CANCELED, f"Stopped by {by}."
    )


def give_up(problem: str) -> None:
    """End the scope's open run, which can't go on. Needs the tenant's scope."""
    _end(RetentionRun.objects.all(), RetentionRun.State.FAILED, problem)


def _end(runs: QuerySet[RetentionRun], state: RetentionRun.State, problem: str = "") -> bool:
    """End what is open of some runs; whether there was something."""
    now = database_now()
    ended = runs.filter(state=RetentionRun.State.RUNNING).update(
        state=state, problem=problem, ended_at=now, changed_at=now
    )
    if ended:
        logger.info(
            "removal %s", state.value, extra={"tenant": current_tenant().slug, "why": problem}
        )
    return bool(ended)


# --- one step -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Row:
    """A past execution, locked."""

    id: uuid.UUID
    external_id: str | None
    workflow_id: int
    environment_id: int
    status: int
    changed_at: dt.datetime
    heard_at: dt.datetime | None
    bytes: int

    def still_runs(self, horizon: dt.datetime) -> bool:
        """Whether it has not ended and was heard of since the horizon."""
        heard_at = max(self.changed_at, self.heard_at or self.changed_at)
        return self.status in OPEN and heard_at >= horizon


def _step(tenant: Tenant, run: RetentionRun, now: dt.datetime) -> bool:
    """Remove the next executions of a locked run, and write how far it has come.

    What is kept may be more than when it began: then it ends here, or leaves more of the newest.
    """
    if past_of(tenant, now) < run.horizon:
        _end(RetentionRun.objects.filter(pk=run.pk), RetentionRun.State.CANCELED, KEPT_LONGER)
        return False
    with cursor() as db:
        looked_at = _next_ids(db, run, first_kept(db, tenant, run.horizon))
        rows = _lock(db, run.tenant_id, looked_at)
        past = [row for row in rows if not row.still_runs(run.horizon)]
        if past:
            deletion.remove(
                run.tenant_id,
                [
                    deletion.Place(row.id, row.external_id, row.workflow_id, row.environment_id)
                    for row in past
                ],
            )
    run.removed += len(past)
    run.kept += len(rows) - len(past)
    run.bytes += sum(row.bytes for row in past)
    if looked_at:
        run.position = looked_at[-1]
    else:
        run.state, run.ended_at = RetentionRun.State.DONE, now
    run.save(
        update_fields=["removed", "kept", "bytes", "position", "state", "ended_at", "changed_at"]
    )
    if not looked_at:
        logger.info("removal done", extra={"tenant": tenant.slug, "removed": run.removed})
        _forget_old_runs()
    return bool(looked_at)


def _next_ids(db: _Cursor, run: RetentionRun, end: uuid.UUID) -> list[uuid.UUID]:
    """The oldest executions before `end` that were not looked at, as many as a step takes."""
    for first, last in ((uuid.UUID(one), uuid.UUID(two)) for one, two in run.spans):
        start = first if run.position is None else max(first, uuid.UUID(int=run.position.int + 1))
        stop = min(last, end)
        if start >= stop:
            continue
        db.execute(_NEXT, [run.tenant_id, start, stop, STEP])
        if found := db.fetchall():
            return [one for one, nodes_before in found if nodes_before < STEP_NODES]
    return []


_NEXT: Final = """
    SELECT id, sum(node_count) OVER (ORDER BY id) - node_count FROM (
        SELECT id, node_count FROM monitoring_execution
        WHERE tenant_id = %s AND id >= %s AND id < %s ORDER BY id LIMIT %s
    ) e ORDER BY id
"""


def _lock(db: _Cursor, tenant_id: int, ids: list[uuid.UUID]) -> list[_Row]:
    """Lock executions, in the order in which the store does, and read what removing them needs."""
    if not ids:
        return []
    db.execute(_LOCK, [tenant_id, ids, ids[0], ids[-1]])
    return [_Row(*row) for row in db.fetchall()]


# The bounds let the planner leave out partitions.
_LOCK: Final = f"""
    SELECT e.id, e.external_id, e.workflow_id, e.environment_id, e.status, e.changed_at,
        (SELECT s.heard_at FROM monitoring_signoflife s
            WHERE s.tenant_id = e.tenant_id AND s.execution_id = e.id),
        {preview.BYTES_SQL}
    FROM monitoring_execution e
    WHERE e.tenant_id = %s AND e.id = ANY(%s::uuid[]) AND e.id BETWEEN %s AND %s
    ORDER BY e.id FOR UPDATE OF e
"""  # noqa: S608 - a constant of ours


def _has_any(db: _Cursor, tenant_id: int, spans: list[Span]) -> bool:
    """Whether the tenant has executions in some spans."""
    for first, last in spans:
        db.execute(_NEXT, [tenant_id, first, last, 1])
        if db.fetchone() is not None:
            return True
    return False


def _count(db: _Cursor, tenant_id: int, span: Span) -> int:
    """Executions in a span that the minimum keeps: never more than that."""
    db.execute(
        "SELECT count(*) FROM monitoring_execution WHERE tenant_id = %s AND id >= %s AND id < %s",
        [tenant_id, *span],
    )
    row = db.fetchone()
    return 0 if row is None else int(row[0])


def _forget_old_runs() -> None:
    old = RetentionRun.objects.order_by("-id").values_list("pk", flat=True)[RUNS_KEPT:]
    RetentionRun.objects.filter(pk__in=list(old)).delete()
