"""How long it is kept what scans found; a little is deleted at a time."""

from __future__ import annotations

import datetime as dt
from typing import Final

from django.conf import settings
from django.db.models import Exists, F, Model, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils import timezone

from monitoring.worker import periodic
from scheduling.models import Finding, Scan, ScannedWorkflow
from tenants.scoping import across_tenants

NEWEST_KEPT: Final = 20
"""So many completed scans of a tenant stay however old they are: those that pages offer to compare."""

ALIKE_KEPT: Final = 2
"""So many completed scans of a schedule and scope stay: the newest one and what it is compared with."""

STEP: Final = 1_000
_SCANS_AT_ONCE: Final = 100


@periodic("forget scans", every=dt.timedelta(hours=1))
def forget_step() -> bool:
    """Delete some rows of scans that are old enough to go, or those scans; say whether more is left."""
    with across_tenants():
        ids = list(_expired().order_by("created_at").values_list("pk", flat=True)[:_SCANS_AT_ONCE])
        if not ids:
            return False
        if not _delete_some(Finding, ids) and not _delete_some(ScannedWorkflow, ids):
            Scan.objects.filter(pk__in=ids).delete()
        return True


def _expired() -> QuerySet[Scan]:
    """Scans that ended, are older than they are kept, and are not needed for comparison."""
    later = Scan.objects.filter(
        tenant=OuterRef("tenant"), id__gt=OuterRef("id"), status=Scan.Status.COMPLETED
    )
    alike = later.annotate(of=_schedule(F("schedule_id"))).filter(
        scope=OuterRef("scope"), of=_schedule(OuterRef("schedule_id"))
    )
    is_dispensable = Exists(later[NEWEST_KEPT - 1 : NEWEST_KEPT]) & Exists(
        alike[ALIKE_KEPT - 1 : ALIKE_KEPT]
    )
    return (
        Scan.objects.filter(created_at__lt=timezone.now() - settings.SCANS_ARE_KEPT)
        .exclude(status__in=Scan.OPEN)
        .filter(~Q(status=Scan.Status.COMPLETED) | is_dispensable)
    )


def _schedule(column: F | OuterRef) -> Coalesce:
    """The schedule, 0 for none: those are alike, too."""
    return Coalesce(column, 0)


def _delete_some(model: type[Model], scan_ids: list[int]) -> int:
    rows = model._default_manager.filter(scan_id__in=scan_ids)
    some = list(rows.values_list("pk", flat=True)[:STEP])
    model._default_manager.filter(pk__in=some).delete()
    return len(some)
