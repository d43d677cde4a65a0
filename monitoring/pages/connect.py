"""Connect Python: the shortest way from a script or a cron job to this page's tenant."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from monitoring.example import python_client
from monitoring.pages.empty import issue_ingest_token, origin_of, who_makes_tokens
from tenants.access import TenantRequest, tenant_member
from tenants.models import Role
from tenants.shown_once import lead_to_secret, take_secret

_NO_TOKEN = "fw_…"  # noqa: S105 - what stands where a token belongs


@never_cache
@tenant_member(Role.VIEWER)
@require_safe
def connect_python(request: TenantRequest, slug: str) -> HttpResponse:
    """Show what to install, to set and to run; with a token in it right after one was made."""
    may_make_token = request.membership.may(Role.ADMIN)
    made = take_secret(request)
    name, token = made or ("", "")
    origin = origin_of(request)
    context = {
        "install": python_client.INSTALL,
        "environment": python_client.environment(origin, token or _NO_TOKEN),
        "file": python_client.FILE,
        "example": python_client.EXAMPLE,
        # Cron knows no variables of a shell.
        "ping": python_client.ping_command(origin, token or f"${python_client.TOKEN_VARIABLE}"),
        "made_token": name,
        "may_make_token": may_make_token,
        "whom_to_ask": [] if may_make_token else who_makes_tokens(),
        "token_url": reverse("monitoring:connect-python-token", args=[slug]),
        "executions_url": reverse("monitoring:executions", args=[slug]),
    }
    return render(request, "monitoring/connect_python.html", context)


@tenant_member(Role.ADMIN)
@require_POST
@never_cache
def make_python_token(request: TenantRequest, slug: str) -> HttpResponse:
    """Make a token that can only send executions in; the page shows it once, in what is to be pasted."""
    made, secret = issue_ingest_token(request, "Python")
    page = reverse("monitoring:connect-python", args=[slug])
    return lead_to_secret(request, page, made.name, secret)
