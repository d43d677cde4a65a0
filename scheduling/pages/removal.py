"""Settings → Retention: a tenant's removal begins now, not with its next turn."""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from monitoring.database import database_now
from monitoring.retention.removal import rests_until
from scheduling.removal import make_due
from tenants import audit
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role


@tenant_member(Role.ADMIN)
@require_POST
def run_now(request: TenantRequest, slug: str) -> HttpResponse:
    """Have the removal begin at once, unless one was stopped since its last turn."""
    if rests_until(request.tenant, database_now()) is not None:
        messages.warning(request, "It was stopped: the next run begins at its time.")
        return redirect("monitoring:retention", slug)
    with transaction.atomic():
        make_due(request.tenant)
        audit.record(
            "retention.run", tenant=request.tenant, request=request, subject=request.tenant.slug
        )
    messages.success(request, "The removal begins within a minute.")
    return redirect("monitoring:retention", slug)
