"""What the command palette finds: workflows and settings by name, executions by id."""

from __future__ import annotations

from typing import Final

from django.db.models import Case, Value, When
from django.http import JsonResponse
from django.urls import reverse
from django.views.decorators.http import require_safe

from monitoring.history import find_by_any_id
from monitoring.models import Workflow
from monitoring.pages.figures import title_of
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role
from tenants.settings_menu import setting_pages_for
from tenants.ui.icons import status_word

MOST: Final = 10
MOST_WORKFLOWS: Final = 7
MOST_EXECUTIONS: Final = 3
LONGEST_QUERY: Final = 255


@tenant_member(Role.VIEWER)
@require_safe
def search(request: TenantRequest, slug: str) -> JsonResponse:
    """Answer with at most ten entries (docs/ui.md, "Search"); none for an empty question."""
    text = request.GET.get("q", "").replace("\x00", "").strip()[:LONGEST_QUERY]
    if not text:
        return JsonResponse({"data": []})
    found = [*_executions(text, slug), *_settings(text, request), *_workflows(text, slug)]
    return JsonResponse({"data": found[:MOST]})


def _workflows(text: str, slug: str) -> list[dict[str, str]]:
    """Names that begin with the text come first."""
    begins = Case(When(name__istartswith=text, then=Value(0)), default=Value(1))
    found = (
        Workflow.objects.named_like(text)
        .select_related("environment")
        .order_by(begins, "name", "pk")[:MOST_WORKFLOWS]
    )
    return [
        {
            "label": title_of(workflow),
            "url": reverse("monitoring:workflow", args=[slug, workflow.pk]),
            "kind": "workflow",
            "hint": workflow.environment.name,
        }
        for workflow in found
    ]


def _settings(text: str, request: TenantRequest) -> list[dict[str, str]]:
    """The settings that this member may see, by words of their names ("token", "settings audit")."""
    words = text.casefold().split()
    return [
        {"label": page.label, "url": page.url, "kind": "page", "hint": "settings"}
        for page in setting_pages_for(request.membership, request.path)
        if all(word in f"{page.label} settings".casefold() for word in words)
    ]


def _executions(text: str, slug: str) -> list[dict[str, str]]:
    return [
        {
            "label": f"{title_of(execution.workflow)} {execution.external_id or ''}".strip(),
            "url": reverse("monitoring:execution", args=[slug, execution.id]),
            "kind": "execution",
            "hint": status_word(execution.state.slug),
        }
        for execution in find_by_any_id(text)[:MOST_EXECUTIONS]
    ]
