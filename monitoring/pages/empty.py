"""What a tenant without executions sees: one command to paste, with a token made on the spot."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from monitoring.example import first_execution
from monitoring.models import Execution
from monitoring.pages.news import UNCHANGED
from tenants.access import TenantRequest, tenant_member
from tenants.models import ApiToken, Membership, Role, Scope
from tenants.shown_once import lead_to_secret, take_secret
from tenants.tokens import issue_token

SHELL_VARIABLE = "FLOWWATCH_TOKEN"
WAITING = "first-steps"
"""Id of the element that asks, every two seconds, whether there is something to show."""


def ingest_command(request: HttpRequest, token: str = f"${SHELL_VARIABLE}") -> str:
    """The curl command that sends one failed execution to this server.

    Without a token the shell puts in its variable.
    """
    return first_execution.ingest_command(origin_of(request), token)


def origin_of(request: HttpRequest) -> str:
    """The address under which this person reaches the server; the configured scheme if it is it."""
    configured = urlsplit(settings.FRONTEND_URL)
    host = request.get_host()
    return f"{configured.scheme if configured.netloc == host else request.scheme}://{host}"


def first_steps(request: TenantRequest) -> dict[str, Any]:
    """Context of `monitoring/execution_first_steps.html`."""
    may_make_token = request.membership.may(Role.ADMIN)
    made = take_secret(request)
    return {
        "command": ingest_command(request, made[1]) if made else ingest_command(request),
        "made_token": made[0] if made else "",
        "may_make_token": may_make_token,
        "whom_to_ask": [] if may_make_token else who_makes_tokens(),
        "token_url": reverse("monitoring:ingest-token", args=[request.tenant.slug]),
        "python_url": reverse("monitoring:connect-python", args=[request.tenant.slug]),
    }


def is_waiting_for_the_first(request: HttpRequest) -> bool:
    """Whether a page with the first steps asks if an execution has come (its HTML names the part)."""
    return request.headers.get("HX-Target") == WAITING


def first_has_come() -> HttpResponse:
    """Load the page anew once something was recorded; until then no content."""
    if not Execution.objects.exists():
        return HttpResponse(status=UNCHANGED)
    return HttpResponse(headers={"HX-Refresh": "true"})


def issue_ingest_token(request: TenantRequest, name: str) -> tuple[ApiToken, str]:
    """Make a token that can only send executions in; return it and its secret."""
    with transaction.atomic():
        return issue_token(
            request.tenant,
            name=name,
            scopes=[Scope.INGEST],
            created_by=request.user,
            request=request,
        )


def who_makes_tokens() -> list[str]:
    """Names of the tenant's owners and admins, at most five."""
    found = Membership.objects.filter(role__in=[Role.OWNER, Role.ADMIN]).select_related("user")
    return [member.user.display_name for member in found.order_by("id")[:5]]


@tenant_member(Role.ADMIN)
@require_POST
@never_cache
def make_ingest_token(request: TenantRequest, slug: str) -> HttpResponse:
    """Make a token that can only send executions in; the next page shows it once, in its command."""
    made, secret = issue_ingest_token(request, "First steps")
    # Where something was recorded meanwhile no steps are shown any more.
    page = "tokens" if Execution.objects.exists() else "monitoring:executions"
    return lead_to_secret(request, reverse(page, args=[slug]), made.name, secret)
