"""Settings → Retention: how long executions are kept, what would go, what went."""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from monitoring.horizon import next_turn
from monitoring.models import RetentionRun
from monitoring.retention import preview, removal
from monitoring.retention.weeks import going_of
from tenants import audit
from tenants.access import TenantRequest, tenant_member
from tenants.forms import save_changed
from tenants.models import Role, Tenant
from tenants.parts import render_part

if TYPE_CHECKING:
    _TenantModelForm = forms.ModelForm[Tenant]
else:
    _TenantModelForm = forms.ModelForm

_RUNS_SHOWN = 30


class RetentionForm(_TenantModelForm):
    """How long, and how many at least. `confirm` says that what would go was seen."""

    confirm = forms.CharField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = Tenant
        fields = ("retention_days", "retention_minimum")
        labels = {
            "retention_days": "Days",
            "retention_minimum": "Keep at least",
        }
        help_texts = {
            "retention_days": "1 to 3,650 whole days (UTC). Older executions are removed, once a day;"
            " large weeks go as a whole, up to seven days later.",
            "retention_minimum": "So many of the newest executions stay, however old they are.",
        }

    @property
    def choice(self) -> tuple[int, int]:
        """What was chosen, in words of a preview that was seen."""
        return self.cleaned_data["retention_days"], self.cleaned_data["retention_minimum"]

    @property
    def seen(self) -> str:
        """What `confirm` says when the preview of this choice was seen."""
        return " ".join(map(str, self.choice))


@tenant_member(Role.ADMIN)
@require_http_methods(["GET", "HEAD", "POST"])
def retention_settings(request: TenantRequest, slug: str) -> HttpResponse:
    """Show what is kept and what went; changes that would remove more are asked about first."""
    tenant = request.tenant
    # A copy, so that what is only asked about does not show as if it were so.
    form = RetentionForm(request.POST or None, instance=copy(tenant))
    now = preview.of(tenant, tenant.retention_days, tenant.retention_minimum)
    asked = None
    if request.method == "POST" and form.is_valid():
        asked = preview.of(tenant, *form.choice)
        if asked.removed <= now.removed or form.cleaned_data["confirm"] == form.seen:
            _save(request, form)
            return redirect("monitoring:retention", slug)
    runs = list(RetentionRun.objects.all()[:_RUNS_SHOWN])
    context = {
        "form": form,
        "now": now,
        "asked": asked,
        "going": going_of(tenant),
        "next_turn": next_turn(tenant.pk, timezone.now()),
        "runs": runs,
        "has_open": any(run.is_open for run in runs),
    }
    status = 422 if form.errors else 200
    return render_part(
        request, "monitoring/retention.html", context, {"runs": "runs_part"}, status=status
    )


def _save(request: TenantRequest, form: RetentionForm) -> None:
    with transaction.atomic():
        before = Tenant.objects.select_for_update(no_key=True).get(pk=request.tenant.pk)
        save_changed(form)
        audit.record(
            "retention.change",
            tenant=request.tenant,
            request=request,
            subject=request.tenant.slug,
            days=form.choice[0],
            days_before=before.retention_days,
            minimum=form.choice[1],
            minimum_before=before.retention_minimum,
        )
    messages.success(request, "Saved.")


@tenant_member(Role.ADMIN)
@require_POST
def cancel_run(request: TenantRequest, slug: str, run_id: int) -> HttpResponse:
    """Stop a removal after its present step."""
    run = get_object_or_404(RetentionRun.objects, pk=run_id)
    with transaction.atomic():
        if removal.cancel(run, request.user.email):
            audit.record(
                "retention.cancel",
                tenant=request.tenant,
                request=request,
                subject=f"removal of {run.started_at:%Y-%m-%d}",
            )
    return redirect("monitoring:retention", slug)
