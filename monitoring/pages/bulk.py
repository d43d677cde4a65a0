"""Deleting executions: one, those ticked, or all that match; preview first, progress after."""

from __future__ import annotations

import uuid
from typing import Any, Final

import msgspec
from django.contrib import messages
from django.core import signing
from django.core.exceptions import BadRequest
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from monitoring import bulk, history
from monitoring.deletion import delete_executions
from monitoring.models import BulkJob
from monitoring.pages.export import chosen_ids
from monitoring.pages.filters import Filters
from monitoring.pages.histogram import shape_of
from tenants import audit
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role
from tenants.parts import render_part
from tenants.ui.numbers import thousands
from tenants.ui.times import exact

_SALT: Final = "monitoring.bulk"


@tenant_member(Role.ADMIN)
@require_POST
def delete_chosen(request: TenantRequest, slug: str) -> HttpResponse:
    """Show what deleting the ticked rows, or all that match, would do; with `confirm`, do it."""
    if "frozen" in request.POST:
        return _start(request, _unsigned(request.POST["frozen"]))
    ids = chosen_ids(request)
    if not ids and not request.POST.get("all_matching"):
        messages.warning(request, "Nothing was selected.")
        return redirect(_list_url(request))
    if ids and request.POST.get("confirm"):
        return _delete_now(request, ids)
    filters = Filters(request)
    if not ids and filters.trouble:
        return redirect(_list_url(request))  # which says what was not understood
    return _preview(request, ids, filters)


def _preview(request: TenantRequest, ids: list[uuid.UUID], filters: Filters) -> HttpResponse:
    context: dict[str, Any] = {
        "ids": ids,
        "back_url": _list_url(request),
        "action": request.get_full_path(),
    }
    if ids:
        context |= {"number": thousands(len(ids)), "said": _selected_in_words(len(ids))}
    else:
        shown = bulk.preview(filters.query)
        shape = shape_of(shown.query, filters.time_range.range)
        said = _said(filters)
        context |= {"number": shape.total, "said": said}
        context["frozen"] = signing.dumps(
            [request.tenant.pk, bulk.as_json(shown), said, shape.total_number], salt=_SALT
        )
    return render(request, "monitoring/execution_delete.html", context)


def _selected_in_words(number: int) -> str:
    return "the selected one" if number == 1 else "the selected ones"


def _said(filters: Filters) -> str:
    """The filter in words, with its time range fixed."""
    span = f"started between {exact(filters.time_range.start)} and {exact(filters.time_range.end)}"
    return "; ".join([span, *(one.label for one in filters.active)])


def _unsigned(text: str) -> tuple[bulk.Preview, str, int | None, int]:
    try:
        tenant_id, shown, said, expected = signing.loads(text, salt=_SALT, max_age=86_400)
        return bulk.from_json(shown), said, expected, tenant_id
    except (signing.BadSignature, msgspec.ValidationError, ValueError) as error:
        raise BadRequest("This confirmation is not valid any more; choose again.") from error


def _start(
    request: TenantRequest, confirmed: tuple[bulk.Preview, str, int | None, int]
) -> HttpResponse:
    shown, said, expected, tenant_id = confirmed
    if tenant_id != request.tenant.pk:
        raise Http404("Another tenant's confirmation")
    with transaction.atomic():
        job = bulk.start_deletion(
            request.tenant, shown, said=said, expected=expected, by=request.user
        )
        audit.record(
            "executions.delete",
            tenant=request.tenant,
            request=request,
            subject=said,
            expected=expected,
        )
    return redirect("monitoring:bulk-job", request.tenant.slug, job.pk)


def _delete_now(request: TenantRequest, ids: list[uuid.UUID]) -> HttpResponse:
    with transaction.atomic():
        deleted = delete_executions(request.tenant.pk, ids)
        audit.record(
            "executions.delete",
            tenant=request.tenant,
            request=request,
            subject=f"{deleted} selected",
            ids=[str(one) for one in ids],
        )
    messages.success(request, f"Deleted {deleted} execution{'' if deleted == 1 else 's'}.")
    return redirect(_list_url(request))


@tenant_member(Role.ADMIN)
@require_http_methods(["GET", "HEAD", "POST"])
def delete_one(request: TenantRequest, slug: str, execution_id: uuid.UUID) -> HttpResponse:
    """Show what deleting one execution would do; by POST, do it."""
    found = history.of_ids([execution_id])
    if not found:
        raise Http404("No such execution")
    if request.method == "POST":
        return _delete_now(request, [execution_id])
    one = reverse("monitoring:execution", args=[slug, execution_id])
    context = {
        "number": "1",
        "said": f"{found[0].workflow.name}, {exact(found[0].started)}",
        "ids": [],
        "back_url": f"{one}?{request.GET.urlencode()}" if request.GET else one,
        "action": request.get_full_path(),
    }
    return render(request, "monitoring/execution_delete.html", context)


@tenant_member(Role.ADMIN)
@require_safe
def job_page(request: TenantRequest, slug: str, job_id: int) -> HttpResponse:
    """How far a bulk action has come; looks again by itself while it goes on."""
    job = get_object_or_404(BulkJob.objects.select_related("created_by"), pk=job_id)
    context = {"job": job, "list_url": reverse("monitoring:executions", args=[slug])}
    return render_part(
        request, "monitoring/execution_bulk_job.html", context, {"job": "progress_part"}
    )


@tenant_member(Role.ADMIN)
@require_POST
def cancel(request: TenantRequest, slug: str, job_id: int) -> HttpResponse:
    """Stop a bulk action after its present step."""
    job = get_object_or_404(BulkJob.objects, pk=job_id)
    with transaction.atomic():
        if bulk.cancel(job):
            audit.record(
                "executions.delete.cancel", tenant=request.tenant, request=request, subject=job.said
            )
    return redirect("monitoring:bulk-job", slug, job_id)


def _list_url(request: TenantRequest) -> str:
    address = reverse("monitoring:executions", args=[request.tenant.slug])
    return f"{address}?{request.GET.urlencode()}" if request.GET else address
