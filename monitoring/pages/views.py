"""Saved views of the list of executions: to open, to save, to delete."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from monitoring.models import SavedView
from monitoring.pages.filters import TIMES, ExecutionFilter
from monitoring.query_text import query_text
from tenants import audit
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role
from tenants.parts import render_part
from tenants.ui.times import TIME_PRESETS

KEPT: Final = (*TIMES, *ExecutionFilter.base_fields)
"""Parameters of the list's address that a view keeps; not the place in the list."""


_TIMES: Final = {preset.key: preset.label.lower() for preset in TIME_PRESETS}


@dataclass(frozen=True, slots=True)
class ViewRow:
    """A saved view: what it is called, what it asks for and where it leads."""

    id: int
    name: str
    said: str
    url: str
    is_current: bool


class ViewForm(forms.Form):
    """A name for the filters of an address."""

    name = forms.CharField(max_length=80)
    query = forms.CharField(max_length=SavedView.LONGEST_QUERY, required=False)

    def clean_query(self) -> str:
        """Keep what the list of executions knows, in one order, as long as it is when written."""
        query = kept_query(QueryDict(self.cleaned_data["query"].removeprefix("?")))
        if len(query) > SavedView.LONGEST_QUERY:
            raise forms.ValidationError("These filters are too long to be kept.")
        return query


def kept_query(given: QueryDict) -> str:
    """The parameters that a view keeps, so that the same question is always the same text."""
    kept = QueryDict(mutable=True)
    for name in KEPT:
        values = [value for value in given.getlist(name) if value]
        if values:
            kept.setlist(name, sorted(values))
    return kept.urlencode()


@tenant_member(Role.VIEWER)
@require_safe
def saved_views(request: TenantRequest, slug: str) -> HttpResponse:
    """The views of the tenant, and a form that saves the address' filters as another."""
    query = kept_query(request.GET)
    context = {
        "views": [_row(view, slug, query) for view in SavedView.objects.all()],
        "query": query,
        "said": _said(query),
        "manage_url": reverse("monitoring:views", args=[slug]) + (f"?{query}" if query else ""),
        "list_url": reverse("monitoring:executions", args=[slug]) + (f"?{query}" if query else ""),
    }
    return render_part(request, "monitoring/views.html", context, {"views-menu": "menu_part"})


@tenant_member(Role.OPERATOR)
@require_POST
def save_view(request: TenantRequest, slug: str) -> HttpResponse:
    """Keep the filters under a name; one that is taken gets these filters."""
    form = ViewForm(request.POST)
    if not form.is_valid():
        messages.error(
            request, "A view needs a name of at most 80 letters and filters that are not too long."
        )
        return redirect("monitoring:executions", slug)
    name, query = form.cleaned_data["name"], form.cleaned_data["query"]
    back = redirect(f"{reverse('monitoring:executions', args=[slug])}?{query}")
    others = SavedView.objects.exclude(name=name)
    if others.count() >= SavedView.MOST:
        messages.error(request, f"There are {SavedView.MOST} views already. Delete one first.")
        return back
    with transaction.atomic():
        SavedView.objects.update_or_create(
            tenant=request.tenant, name=name, defaults={"query": query, "created_by": request.user}
        )
        audit.record("view.put", tenant=request.tenant, request=request, subject=name)
    messages.success(request, f"Saved as “{name}”. All members find it under Views.")
    return back


@tenant_member(Role.OPERATOR)
@require_POST
def delete_view(request: TenantRequest, slug: str, view_id: int) -> HttpResponse:
    """Forget one view; what it showed stays."""
    view = get_object_or_404(SavedView.objects.all(), pk=view_id)
    with transaction.atomic():
        view.delete()
        audit.record("view.delete", tenant=request.tenant, request=request, subject=view.name)
    messages.success(request, f"The view “{view.name}” is deleted.")
    return redirect("monitoring:views", slug)


def _row(view: SavedView, slug: str, query: str) -> ViewRow:
    return ViewRow(
        id=view.pk,
        name=view.name,
        said=_said(view.query),
        url=f"{reverse('monitoring:executions', args=[slug])}?{view.query}",
        is_current=view.query == query,
    )


def _said(query: str) -> str:
    """What a view asks for, as one writes it into the query bar."""
    params = QueryDict(query)
    values = {name: params.getlist(name) for name in ExecutionFilter.base_fields}
    chosen = "a time of its own" if "start" in params else ""
    time = _TIMES.get(params.get("range", ""), chosen)
    return " · ".join(filter(None, [query_text(values), time])) or "everything"
