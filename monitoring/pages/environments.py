"""Settings → Environments: where workflows run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.db import models, transaction
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods

from monitoring.environments import create_environment
from monitoring.models import Environment
from tenants import audit
from tenants.access import TenantRequest, tenant_member
from tenants.forms import save_changed
from tenants.models import Role

if TYPE_CHECKING:
    _EnvironmentModelForm = forms.ModelForm[Environment]
else:
    _EnvironmentModelForm = forms.ModelForm

_OWN = Environment.Provider.FLOWWATCH
"""The provider of the product's own automations, which no person makes."""


class EnvironmentForm(_EnvironmentModelForm):
    """What people say about an environment."""

    base_url = forms.URLField(
        label="Address",
        max_length=500,
        required=False,
        assume_scheme="https",
        help_text="Where a browser opens it. Calls of error workflows are matched by host.",
    )

    class Meta:
        model = Environment
        fields = ("name", "provider", "base_url")
        help_texts = {"name": "As it shall stand beside its workflows, for example “n8n EU”."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        provider = self.fields["provider"]
        assert isinstance(provider, forms.ChoiceField)
        provider.choices = [
            (choice.value, choice.label)
            for choice in Environment.Provider
            if choice is not _OWN or self.instance.provider == _OWN
        ]

    def clean_name(self) -> str:
        """Refuse a name that another environment has: lists tell them apart by it alone."""
        name: str = self.cleaned_data["name"].strip()
        others = Environment.objects.exclude(pk=self.instance.pk)
        if others.filter(name__iexact=name).exists():
            raise forms.ValidationError("Another environment has this name.")
        return name


@tenant_member(Role.ADMIN)
@require_http_methods(["GET", "HEAD", "POST"])
def environment_list(request: TenantRequest, slug: str) -> HttpResponse:
    """List environments with their workflows, and make more."""
    form = EnvironmentForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            made = create_environment(request.tenant, **form.cleaned_data)
            audit.record(
                "environment.create", tenant=request.tenant, request=request, subject=made.slug
            )
        messages.success(request, f"“{made.name}” is made.")
        return redirect("monitoring:environments", slug)
    found = Environment.objects.annotate(workflow_count=models.Count("workflows"))
    context = {"form": form, "environments": found}
    return render(request, "monitoring/environments.html", context, status=_status(form))


@tenant_member(Role.ADMIN)
@require_http_methods(["GET", "HEAD", "POST"])
def environment_change(request: TenantRequest, slug: str, environment_id: int) -> HttpResponse:
    """Rename one environment, or say where it is; its short name in the API stays."""
    environment = get_object_or_404(Environment.objects.all(), pk=environment_id)
    form = EnvironmentForm(request.POST or None, instance=environment)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            save_changed(form)
            audit.record(
                "environment.change",
                tenant=request.tenant,
                request=request,
                subject=environment.slug,
                changed=form.changed_data,
            )
        messages.success(request, "Saved.")
        return redirect("monitoring:environments", slug)
    context = {"form": form, "environment": environment}
    return render(request, "monitoring/environment.html", context, status=_status(form))


def _status(form: forms.BaseForm) -> int:
    return 422 if form.errors else 200
