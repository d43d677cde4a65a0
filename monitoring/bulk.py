"""Does long actions in steps: each at most 1,000 executions, committed with its progress."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec
from django.db import DatabaseError, OperationalError, transaction
from django.utils import timezone

from monitoring import history
from monitoring.deletion import STEP, delete_executions
from monitoring.history import ExecutionQuery
from monitoring.models import BulkJob, Execution
from tenants.models import Tenant, User
from tenants.scoping import across_tenants, tenant_scope

__all__ = ["Preview", "as_json", "cancel", "from_json", "preview", "start_deletion", "work_step"]

logger = logging.getLogger(__name__)

_BROKEN: Final = "A step could not be done. What was done stays done; start again for the rest."


@dataclass(frozen=True, slots=True)
class Preview:
    """What somebody was shown: the executions that match `query` and had been received by `at`."""

    query: ExecutionQuery
    at: dt.datetime


def preview(query: ExecutionQuery) -> Preview:
    """A look at what matches now; take it before counting, so that nothing uncounted is in it."""
    now = timezone.now()
    return Preview(replace(query, end=min(query.end or now, now)), now)


def as_json(shown: Preview) -> Any:
    """A preview as plain values for a signed field."""
    return msgspec.to_builtins(shown)


def from_json(value: Any) -> Preview:
    """The preview that `as_json` wrote. Raises msgspec.ValidationError."""
    return msgspec.convert(value, Preview)


def start_deletion(
    tenant: Tenant, shown: Preview, *, said: str, expected: int | None, by: User
) -> BulkJob:
    """Ask the worker to delete all that the preview showed."""
    return BulkJob.objects.create(
        tenant=tenant,
        action=BulkJob.Action.DELETE,
        query=msgspec.to_builtins(shown.query),
        previewed_at=shown.at,
        said=said,
        expected=expected,
        created_by=by,
    )


def cancel(job: BulkJob) -> bool:
    """Stop an open job after its present step; False when it had ended already."""
    return bool(
        BulkJob.objects.filter(pk=job.pk, state__in=BulkJob.OPEN).update(
            state=BulkJob.State.CANCELED, changed_at=timezone.now()
        )
    )


def work_step() -> bool:
    """Do one step of the job that waited longest; False when there is nothing to do.

    Workers don't meet in one job: its row is locked for the step. A step that fails for a reason
    that passes (deadlock, lost connection) is done again after the other jobs'; any other ends the
    job, so that none stands in the others' way.
    """
    with across_tenants():
        job = BulkJob.objects.filter(state__in=BulkJob.OPEN).order_by("changed_at").first()
    if job is None:
        return False
    try:
        with tenant_scope(job.tenant), transaction.atomic():
            return _locked_step(job.pk)
    except OperationalError:
        logger.warning("a step of bulk job %s is put off", job.pk, exc_info=True)
        with tenant_scope(job.tenant):
            BulkJob.objects.filter(pk=job.pk).update(changed_at=timezone.now())
        return False
    except (DatabaseError, msgspec.ValidationError):  # the latter: a query of another version
        logger.exception("bulk job %s failed", job.pk)
        with tenant_scope(job.tenant):
            BulkJob.objects.filter(pk=job.pk, state__in=BulkJob.OPEN).update(
                state=BulkJob.State.FAILED, problem=_BROKEN, changed_at=timezone.now()
            )
        return True


def _locked_step(job_id: int) -> bool:
    open_jobs = BulkJob.objects.filter(pk=job_id, state__in=BulkJob.OPEN)
    job = open_jobs.select_for_update(skip_locked=True, of=("self",)).first()
    if job is None:
        return False
    query = msgspec.convert(job.query, ExecutionQuery)
    found = history.chunk(query, job.position, STEP, ids_only=True)
    # What came since, also with an older start, was not counted, and nobody said to delete it.
    shown = Execution.objects.filter(
        id__in=[row.id for row in found.rows], received_at__lte=job.previewed_at
    )
    ids = list(shown.values_list("id", flat=True))
    job.done_count += delete_executions(job.tenant_id, ids)
    job.position = found.resume_at
    job.state = BulkJob.State.DONE if found.resume_at is None else BulkJob.State.RUNNING
    job.save(update_fields=["done_count", "position", "state", "changed_at"])
    return True
