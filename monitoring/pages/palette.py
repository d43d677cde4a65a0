"""What the command palette finds: workflows by name, executions by id."""

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
from tenants.ui.icons import status_word

MOST_WORKFLOWS: Final = 7
MOST_EXECUTIONS: Final = 3
LONGEST_QUERY: Final = 255


@tenant_member(Role.VIEWER)
@require_safe
def search(request: TenantRequest, slug: str) -> JsonResponse:
    """Answer with at most ten entries (docs/ui.md, "Search"); none for an empty question."""
    text = request.GET.get("q", "").replace("\x00", "").strip()[:LONGEST_QUERY]
    found = [*_executions(text, slug), *_workflows(text, slug)] if text else []
    return JsonResponse({"data": found})


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
