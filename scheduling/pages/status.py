"""How the carrier of scans and alerts is doing, for operators of the installation."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from monitoring.disk import database_disk
from monitoring.recording.quota import refused_lately
from scheduling.database_status import database_figures
from scheduling.due import CannotReviveError, revive
from scheduling.models.due import DueRow
from scheduling.status import poison, scheduler_status
from tenants import audit
from tenants.access import PersonRequest, signed_in
from tenants.models import User

_TENANTS_SHOWN = 20


@never_cache
@require_safe
def scheduler_status_json(request: HttpRequest) -> JsonResponse:
    """Answer operators' sessions; for others there is nothing here."""
    _only_staff(request)
    return JsonResponse(scheduler_status().as_json())


@require_safe
@signed_in
def status(request: PersonRequest) -> HttpResponse:
    """The same as a page that keeps itself current."""
    _only_staff(request)
    context = {
        "status": scheduler_status(),
        "poison": poison(),
        "database": database_figures(),
        "disk": database_disk(),
        "over_quota": refused_lately(timezone.now(), _TENANTS_SHOWN),
        "may_revive": request.user.is_superuser,
    }
    return render(request, "scheduling/status.html", context)


@require_POST
@signed_in
def try_again(request: PersonRequest) -> HttpResponse:
    """Have a row that was given up worked on again; for operators with all rights."""
    _only_staff(request)
    if not request.user.is_superuser:
        raise PermissionDenied("Only operators with all rights may do this")
    kind, row_id = request.POST.get("kind", ""), request.POST.get("row", "")
    try:
        row = _revive(request, kind, row_id)
    except CannotReviveError as error:
        messages.warning(request, str(error))
    else:
        if row is None:
            messages.warning(request, "It is not given up any more.")
        else:
            messages.success(request, f"“{kind}” {row.pk} is tried again.")
    return redirect("scheduling:status")


def _revive(request: PersonRequest, kind: str, row_id: str) -> DueRow | None:
    if not (row_id.isascii() and row_id.isdigit() and len(row_id) < 19):
        return None
    with transaction.atomic():
        row = revive(kind, int(row_id))
        if row is not None:
            audit.record(
                "row.revived",
                tenant=row.tenant,
                request=request,
                subject=f"{kind} {row.pk}",
                error=row.last_error,
            )
    return row


def _only_staff(request: HttpRequest) -> None:
    if not (isinstance(request.user, User) and request.user.is_active and request.user.is_staff):
        raise Http404("Only operators of the installation know this")
