"""How the carrier of scans and alerts is doing, for operators of the installation."""

from __future__ import annotations

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from scheduling.status import poison, scheduler_status
from tenants.access import PersonRequest, signed_in
from tenants.models import User


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
    return render(
        request, "scheduling/status.html", {"status": scheduler_status(), "poison": poison()}
    )


def _only_staff(request: HttpRequest) -> None:
    if not (isinstance(request.user, User) and request.user.is_active and request.user.is_staff):
        raise Http404("Only operators of the installation know this")
