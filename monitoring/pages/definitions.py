"""Definitions in the pages: uploading them, and the versions of one workflow."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods

from monitoring.definition_upload import MOST_WORKFLOWS, Outcome, count, store_files
from monitoring.models import Environment, Workflow, WorkflowVersion
from monitoring.pages.figures import title_of
from monitoring.pages.time_range import page_range
from monitoring.pages.versions_run import versions_that_ran
from monitoring.panels import Part, Place, Tab, panels_at, register_tab
from monitoring.recording.environments import default_environment
from tenants import audit
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role

_SHOWN: Final = 100
_FILES_NAMED: Final = 20
_TONES: Final = {Outcome.NEW: "success", Outcome.UNCHANGED: "skipped", Outcome.REFUSED: "failed"}


class _Files(forms.ClearableFileInput):
    """A field for several files at once."""

    allow_multiple_selected = True


class _FilesField(forms.FileField):
    """The chosen files as a list; none is an error."""

    widget = _Files(attrs={"accept": ".json,.zip,application/json,application/zip"})

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile[Any]]:
        """Check each file as one."""
        files = data if isinstance(data, list | tuple) else [data]
        return [super(_FilesField, self).clean(each, initial) for each in files or [None]]


class UploadForm(forms.Form):
    """The files, and where their workflows run."""

    definitions = _FilesField(
        label="Files",
        allow_empty_file=True,
        help_text=f"One or many .json files as n8n downloads them, or a zip of them; up to {MOST_WORKFLOWS:,}"
        " workflows at once, 5 MB each.",
    )
    environment = forms.ModelChoiceField(
        Environment.objects.none(),
        empty_label=None,
        help_text="Where these workflows run. A workflow with the same id there gets a new version.",
    )

    def __init__(self, *args: Any, default: Environment, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choice = self.fields["environment"]
        assert isinstance(choice, forms.ModelChoiceField)
        choice.queryset = Environment.objects.all()
        choice.initial = default.pk


@tenant_member(Role.OPERATOR)
@require_http_methods(["GET", "HEAD", "POST"])
def definition_upload(request: TenantRequest, slug: str) -> HttpResponse:
    """Take files with definitions, and say of each workflow in them what became of it."""
    default = default_environment(request.tenant.pk)
    is_sent = request.method == "POST"
    form = UploadForm(
        request.POST if is_sent else None, request.FILES if is_sent else None, default=default
    )
    context: dict[str, Any] = {"form": form}
    if is_sent and form.is_valid():
        context |= _stored(request, form)
    status = 422 if form.errors else 200
    return render(request, "monitoring/definition_upload.html", context, status=status)


def _stored(request: TenantRequest, form: UploadForm) -> dict[str, Any]:
    environment: Environment = form.cleaned_data["environment"]
    files = form.cleaned_data["definitions"]
    # Told before: each workflow is stored for itself, and one that stays must have its audit row.
    audit.record(
        "definition.upload",
        tenant=request.tenant,
        request=request,
        subject=environment.slug,
        files=[file.name for file in files[:_FILES_NAMED]],
        file_count=len(files),
    )
    results = store_files(files, environment, by=request.user)
    counts = count(results)
    return {
        "environment": environment,
        "panels": panels_at(Place.UPLOAD, request, request.tenant),
        "summary": [
            (_said(outcome, number), number) for outcome, number in counts.items() if number
        ],
        "rows": [
            {
                "label": result.label,
                "status": _TONES[result.outcome],
                "word": result.outcome.value,
                "version": result.version,
                "reason": result.reason,
                "title": title_of(result.workflow) if result.workflow else "",
                "url": _versions_url(request, result.workflow) if result.workflow else "",
            }
            for result in sorted(results, key=lambda each: each.outcome is not Outcome.REFUSED)
        ],
    }


def _said(outcome: Outcome, number: int) -> str:
    return f"{outcome.value}{'s' if outcome is Outcome.NEW and number > 1 else ''}"


def _versions_url(request: TenantRequest, workflow: Workflow) -> str:
    return f"{reverse('monitoring:workflow', args=[request.tenant.slug, workflow.pk])}?tab=versions"


# --- tab Versions of a workflow -------------------------------------------------------------------


def register_tabs() -> None:
    """Add the versions to a workflow's page; called when the app starts."""
    register_tab(Place.WORKFLOW, Tab("versions", "Versions", _versions, rank=50))


def _versions(request: TenantRequest, workflow: Workflow) -> Part:
    shown = page_range(request)
    found = WorkflowVersion.objects.filter(workflow=workflow).select_related("created_by")
    versions = list(found.defer("body")[: _SHOWN + 1])
    context = {
        "versions": versions[:_SHOWN],
        "has_more": len(versions) > _SHOWN,
        "shown": _SHOWN,
        "may_upload": request.membership.may(Role.OPERATOR),
        "upload_url": reverse("monitoring:definition-upload", args=[request.tenant.slug]),
        "command": _put_command(request, workflow),
        "ran": versions_that_ran(workflow, shown, request.tenant.slug),
        "range_label": shown.label,
    }
    return Part("monitoring/workflow_versions.html", context)


def _put_command(request: TenantRequest, workflow: Workflow) -> str:
    """The curl command that stores this workflow's definition.

    Senders choose the id, and a shell will read it: every sign of it is percent-encoded.
    """
    path = f"/api/workflows/{quote(workflow.external_id, safe='')}/definition"
    origin = f"{request.scheme}://{request.get_host()}"
    return (
        'curl -X PUT -H "Authorization: Bearer $FLOWWATCH_TOKEN" \\\n'
        "  -H 'Content-Type: application/json' \\\n"
        "  --data @workflow.json \\\n"
        f"  '{origin}{path}?environment_id={workflow.environment_id}'"
    )
