"""Settings → Quota: how many executions may be sent, and what was refused."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from monitoring.recording.quota import use_of
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role


@never_cache
@tenant_member(Role.ADMIN)
@require_safe
def quota(request: TenantRequest, slug: str) -> HttpResponse:
    """Show the tenant's quota and its use; it is set by operators."""
    return render(request, "monitoring/quota.html", {"use": use_of(request.tenant, timezone.now())})
