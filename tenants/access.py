"""Lets people into pages: signed in, member of the tenant, with role enough."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import render, resolve_url
from django.utils import timezone

from tenants.memberships import membership_in
from tenants.models import Role, User
from tenants.navigation import LAST_TENANT
from tenants.requests import PersonRequest, TenantRequest
from tenants.scoping import scoped_response, tenant_scope
from tenants.streams import name_owner

__all__ = ["PersonRequest", "TenantRequest", "sign_in_redirect", "signed_in", "tenant_member"]

_View = Callable[..., HttpResponseBase]


def signed_in(view: _View) -> _View:
    """Let any signed-in person see `view(request: PersonRequest, …)`; send others to sign-in.

    The view runs in the person's time zone.
    """

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if not isinstance(request.user, User):
            return sign_in_redirect(request)
        with timezone.override(request.user.zone):
            return view(cast(PersonRequest, request), *args, **kwargs)

    return guarded


def tenant_member(role: Role) -> Callable[[_View], _View]:
    """Let `view(request: TenantRequest, slug: str, …)` be seen by members with `role` or more.

    Nobody signed in: to sign-in and back. Unknown slug or no member: 404, not told apart. Role too
    low, or tenant suspended: a 403 page that says so. The view runs in the tenant's scope and the
    person's time zone, with `request.tenant` and `request.membership`; parts that it streams are
    computed in the scope too.
    """

    def decorate(view: _View) -> _View:
        @wraps(view)
        def guarded(request: HttpRequest, slug: str, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if not isinstance(request.user, User):
                return sign_in_redirect(request)
            membership = membership_in(request.user, slug)
            if membership is None:
                raise Http404("No such tenant for this person")
            inside = cast(TenantRequest, request)
            inside.tenant, inside.membership = membership.tenant, membership
            name_owner(request.META, f"person {request.user.pk}", membership.tenant.pk)
            with timezone.override(request.user.zone), tenant_scope(membership.tenant):
                if membership.tenant.is_suspended:
                    return denied(request, "suspended")
                if not membership.may(role):
                    return denied(request, "role", needed=role, held=Role(membership.role))
                _remember_tenant(inside)
                return scoped_response(membership.tenant, view(inside, slug, *args, **kwargs))

        guarded.needs_role = role  # type: ignore[attr-defined]
        return guarded

    return decorate


def _remember_tenant(request: TenantRequest) -> None:
    """Let the start page lead here next time."""
    if request.session.get(LAST_TENANT) != request.tenant.pk:
        request.session[LAST_TENANT] = request.tenant.pk


def sign_in_redirect(request: HttpRequest) -> HttpResponse:
    """Send somebody to sign-in and afterwards back.

    A part that htmx asked for would be filled with the sign-in page, so the whole page goes there.
    """
    is_part = request.headers.get("HX-Request") == "true"
    back = request.get_full_path()
    if is_part:
        back = _path_of(request.headers.get("HX-Current-URL", ""))
    elif request.method not in ("GET", "HEAD"):
        back = "/"
    address = f"{resolve_url(settings.LOGIN_URL)}?{urlencode({'next': back})}"
    if is_part:
        return HttpResponse(status=204, headers={"HX-Redirect": address})
    return HttpResponseRedirect(address)


def _path_of(address: str) -> str:
    """Return path and query of an address; "/" for what is none."""
    try:
        shown = urlsplit(address)
    except ValueError:
        return "/"
    return shown._replace(scheme="", netloc="", fragment="").geturl() or "/"


def denied(request: HttpRequest, reason: str, **context: object) -> HttpResponse:
    """Return the 403 page for `reason`: "suspended", "staff" or "role".

    For "role", `needed` and `held` are the roles.
    """
    return render(request, "tenants/denied.html", {"reason": reason, **context}, status=403)
