"""The operator's admin: for staff, across all tenants, behind the same rate-limited sign-in."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, resolve_url
from django.template.response import SimpleTemplateResponse
from django.urls import reverse

from tenants.access import denied
from tenants.models import User
from tenants.scoping import across_tenants


class OperatorAdminSite(AdminSite):
    """Django's admin without tenant scope; the only pages that look across tenants."""

    site_header = "Flowwatch operations"
    site_title = "Flowwatch operations"
    index_title = "All tenants"
    site_url = "/"

    def admin_view(  # type: ignore[override]
        self, view: Callable[..., Any], cacheable: bool = False
    ) -> Callable[..., HttpResponseBase]:
        """Wrap `view`: after Django's check for staff it runs, and renders, across tenants."""

        @wraps(view)
        def across(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            with across_tenants():
                response: HttpResponseBase = view(request, *args, **kwargs)
                if isinstance(response, SimpleTemplateResponse) and not response.is_rendered:
                    response.render()
                return response

        return super().admin_view(across, cacheable)

    def has_permission(self, request: HttpRequest) -> bool:
        """Let in active staff only."""
        user = request.user
        return isinstance(user, User) and user.is_active and user.is_staff

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Send people to the one sign-in page, so that its limits hold here too."""
        if self.has_permission(request):
            return redirect("admin:index")
        if request.user.is_authenticated:
            return denied(request, "staff")
        back = request.GET.get("next") or reverse("admin:index")
        return redirect(f"{resolve_url(settings.LOGIN_URL)}?{urlencode({'next': back})}")

    def logout(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponseBase:
        """End the session the one way that there is."""
        from tenants.pages.sign_in import sign_out

        return sign_out(request)

    def password_change(  # type: ignore[override]
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Send people to the page where everybody changes the password."""
        return redirect("password-change")
