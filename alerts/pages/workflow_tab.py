"""The tab of a workflow's page: its incidents, and what is different for it."""

from __future__ import annotations

from django.contrib import messages
from django.db.models import Count, Q
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from alerts import preferences
from alerts.models import Incident, WorkflowPreference
from alerts.models.incident import FINDINGS
from alerts.pages.forms import PreferenceForm
from alerts.pages.labels import row_of
from alerts.policy import settings_of
from monitoring.models import Workflow
from monitoring.panels import Part
from tenants import audit
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role, Tenant

MOST_SHOWN = 20
_IN_OVERVIEW = 5


def tab(request: TenantRequest, workflow: Workflow) -> Part:
    """The workflow's incidents and its preferences."""
    slug = request.tenant.slug
    found = Incident.objects.filter(workflow=workflow).select_related("workflow__environment")
    preference = WorkflowPreference.objects.filter(workflow=workflow).first()
    return Part(
        "alerts/workflow_tab.html",
        {
            "rows": [row_of(each, slug) for each in found.order_by("-id")[:MOST_SHOWN]],
            "all_url": f"{reverse('alerts:inbox', args=[slug])}?workflow={workflow.pk}&status=all",
            "settings": settings_of(request.tenant),
            "preference": preference,
            "form": PreferenceForm(preference=preference),
            "action": reverse("alerts:workflow", args=[slug, workflow.pk]),
        },
    )


def open_incidents(request: TenantRequest, tenant: Tenant) -> Part | None:
    """The overview's card of open incidents; none where there is none.

    Of what scans found only the number, so that it hides nothing that fails now.
    """
    unresolved = Incident.objects.unresolved()
    is_found = Count("pk", filter=Q(rule=FINDINGS))
    count, from_scans = unresolved.aggregate(all=Count("pk"), found=is_found).values()
    if not count:  # as mostly: rows with all that they show cost more to ask for
        return None
    failing = unresolved.exclude(rule=FINDINGS).open_first()
    found = failing.select_related("workflow__environment")[:_IN_OVERVIEW]
    slug = tenant.slug
    return Part(
        "alerts/overview_panel.html",
        {
            "rows": [row_of(each, slug) for each in found],
            "count": count,
            "from_scans": from_scans,
            "all_url": reverse("alerts:inbox", args=[slug]),
            "scans_url": f"{reverse('alerts:inbox', args=[slug])}?rule={FINDINGS}",
        },
    )


@tenant_member(Role.ADMIN)
@require_http_methods(["GET", "HEAD", "POST"])
def preference_page(request: TenantRequest, slug: str, workflow_id: int) -> HttpResponse:
    """What is different for one workflow, as a page of its own; by POST, change it."""
    workflow = get_object_or_404(Workflow.objects.all(), pk=workflow_id)
    preference = WorkflowPreference.objects.filter(workflow=workflow).first()
    form = PreferenceForm(request.POST or None, preference=preference)
    tab_url = f"{reverse('monitoring:workflow', args=[slug, workflow.pk])}?tab=alerts"
    # A form that was sent empty is still one that was sent: everything as for all.
    if request.method == "POST":
        form = PreferenceForm(request.POST, preference=preference)
        if form.is_valid():
            with preferences.changing(request.tenant):
                preferences.save_preference(workflow, form.changed)
                audit.record(
                    "alerts.workflow", tenant=request.tenant, request=request, subject=workflow.name
                )
            messages.success(request, "Saved.")
            return redirect(tab_url)
    context = {"form": form, "workflow": workflow, "cancel_url": tab_url}
    status = 422 if form.errors else 200
    return render(request, "alerts/workflow_preference.html", context, status=status)
