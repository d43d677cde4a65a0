"""Lets calls into the API: by token or session, with scope or role enough, in one tenant's scope.

    @api_endpoint(GET=Access(scope="read"), DELETE=Access(scope="write", role=Role.ADMIN))
    def execution(request: ApiRequest, execution_id: str) -> HttpResponse: ...

The view sees only methods of its table (HEAD arrives as GET) and raises `Problem` for every error.
Whatever it raises, the answer is problem+json and never HTML.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, cast

from django.core.exceptions import (
    PermissionDenied,
    RequestDataTooBig,
    SuspiciousOperation,
)
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.multipartparser import MultiPartParserError
from django.http.request import UnreadablePostError
from django.http.response import HttpResponseBase
from django.middleware.csrf import CsrfViewMiddleware
from django.views.decorators.csrf import csrf_exempt

from tenants import problems, tokens
from tenants.memberships import memberships_of
from tenants.models import ApiToken, Membership, Role, Scope, Tenant, User
from tenants.problems import Problem, problem_response
from tenants.requests import ApiRequest
from tenants.roles import scopes_allow
from tenants.scoping import scoped_response, tenant_scope
from tenants.streams import name_owner

__all__ = ["Access", "ApiRequest", "api_endpoint", "unknown_api_path"]

logger = logging.getLogger(__name__)

_ROLE_FOR_SCOPE = {
    None: Role.VIEWER,
    "read": Role.VIEWER,
    "write": Role.ADMIN,
    "ingest": Role.ADMIN,
}


_View = Callable[..., HttpResponseBase]


@dataclass(frozen=True, slots=True)
class Access:
    """Who may use one method of an endpoint.

    `scope` is what a token needs (None: any valid token); `role` is what a person needs, by default
    the role that equals the scope (read: viewer; write and ingest: admin).
    """

    scope: str | None
    role: Role | None = None

    def __post_init__(self) -> None:
        if self.scope is not None:
            Scope(self.scope)

    @property
    def needed_role(self) -> Role:
        """The role that a person needs."""
        return self.role or _ROLE_FOR_SCOPE[self.scope]


@dataclass(frozen=True, slots=True)
class _Caller:
    """Who calls, for which tenant."""

    tenant: Tenant
    actor: str
    token: ApiToken | None = None
    membership: Membership | None = None


def api_endpoint(**methods: Access) -> Callable[[_View], _View]:
    """Let a view answer the given methods to callers with access; see the module's docstring."""
    allowed = _allowed_methods(methods)

    def decorate(view: _View) -> _View:
        @csrf_exempt
        @wraps(view)
        def endpoint(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            try:
                response = _answer(request, methods, allowed, view, args, kwargs)
            except Exception as error:  # whatever it is, callers of the API get no HTML
                response = problem_response(_as_problem(error, request))
            response.setdefault("Cache-Control", "no-store")
            return _without_body(response) if request.method == "HEAD" else response

        endpoint.api_methods = methods  # type: ignore[attr-defined]
        return endpoint

    return decorate


@csrf_exempt
def unknown_api_path(request: HttpRequest, *_args: object, **_kwargs: object) -> HttpResponse:
    """Answer 404 as a problem for what no endpoint of the API matches (route it last)."""
    return problem_response(problems.not_found())


def _allowed_methods(methods: Mapping[str, Access]) -> tuple[str, ...]:
    head = ("HEAD",) if "GET" in methods else ()
    return (*methods, *head, "OPTIONS")


def _answer(
    request: HttpRequest,
    methods: Mapping[str, Access],
    allowed: tuple[str, ...],
    view: _View,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> HttpResponseBase:
    if request.method == "OPTIONS":
        return HttpResponse(status=204, headers={"Allow": ", ".join(allowed)})
    access = methods.get("GET" if request.method == "HEAD" else request.method or "")
    if access is None:
        raise problems.method_not_allowed(allowed)
    caller = _identify(request)
    _demand(caller, access)
    inside = cast(ApiRequest, request)
    inside.tenant, inside.token = caller.tenant, caller.token
    inside.membership, inside.actor = caller.membership, caller.actor
    name_owner(request.META, caller.actor, caller.tenant.pk)
    with tenant_scope(caller.tenant):
        return scoped_response(caller.tenant, view(inside, *args, **kwargs))


# --- who calls ----------------------------------------------------------------------------------


def _identify(request: HttpRequest) -> _Caller:
    secret = _secret_of(request)
    if secret is not None:
        return _token_caller(request, secret)
    if isinstance(request.user, User):
        _demand_csrf(request)
        return _person_caller(request, request.user)
    raise problems.unauthorized("Send a token as “Authorization: Bearer fw_…”, or sign in.")


def _secret_of(request: HttpRequest) -> str | None:
    """Return the token that the call carries, or None when it carries none."""
    authorization = request.META.get("HTTP_AUTHORIZATION", "")
    if authorization:
        kind, _, secret = authorization.partition(" ")
        if kind.lower() != "bearer":
            raise problems.unauthorized("Only “Authorization: Bearer <token>” is understood.")
        return cast(str, secret.strip())
    return request.META.get("HTTP_X_API_KEY", "").strip() or None


def _token_caller(request: HttpRequest, secret: str) -> _Caller:
    token = tokens.find_token(secret)
    if token is None:
        raise problems.unauthorized(
            "This token is unknown, expired or revoked.", invalid_token=True
        )
    wanted = request.GET.get("tenant")
    if wanted is not None and not _is_named(token.tenant, wanted):
        raise problems.not_found()
    tokens.note_use(token)
    return _Caller(token.tenant, f"token {token.prefix}", token=token)


def _person_caller(request: HttpRequest, user: User) -> _Caller:
    memberships = memberships_of(user)
    wanted = request.GET.get("tenant")
    if wanted is not None:
        memberships = [item for item in memberships if _is_named(item.tenant, wanted)]
        # A slug that equals another tenant's location id means the slug.
        memberships.sort(key=lambda item: item.tenant.slug != wanted)
    elif len(memberships) > 1:
        raise problems.bad_request(
            "You belong to several tenants: say which by ?tenant=<slug or location id>.",
            kind="tenant-needed",
        )
    if not memberships:
        raise problems.not_found()
    return _Caller(memberships[0].tenant, user.email, membership=memberships[0])


def _is_named(tenant: Tenant, name: str) -> bool:
    return name in (tenant.slug, tenant.location_id)


class _CsrfCheck(CsrfViewMiddleware):
    """Django's check of forged requests, answering the reason instead of a page."""

    def _reject(self, request: HttpRequest, reason: str) -> str:
        return reason


def _demand_csrf(request: HttpRequest) -> None:
    """Refuse an unsafe call by session that another site could have caused."""
    check = _CsrfCheck(lambda _request: HttpResponse())
    check.process_request(request)
    reason = check.process_view(request, lambda _request: HttpResponse(), (), {})
    if reason is not None:
        raise problems.forbidden(f"{reason} Calls by session need X-CSRFToken.", kind="csrf")


# --- what they may ------------------------------------------------------------------------------


def _demand(caller: _Caller, access: Access) -> None:
    if caller.tenant.is_suspended:
        raise problems.forbidden("This tenant is suspended.", kind="tenant-suspended")
    if caller.token is not None:
        if not scopes_allow(frozenset(caller.token.scopes), access.scope):
            raise problems.forbidden(
                f"This token lacks the scope “{access.scope}”.",
                kind="scope-missing",
                headers={
                    "WWW-Authenticate": (
                        f'Bearer realm="Flowwatch", error="insufficient_scope", '
                        f'scope="{access.scope}"'
                    )
                },
            )
    elif caller.membership is None or not caller.membership.may(access.needed_role):
        raise problems.forbidden(
            f"This needs the role {access.needed_role.label} or higher.", kind="role-missing"
        )


# --- errors and HEAD ----------------------------------------------------------------------------


def _as_problem(error: Exception, request: HttpRequest) -> Problem:
    """Return the answer for what a view raised; what nobody foresaw is logged."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, Http404):
        return problems.not_found()
    if isinstance(error, PermissionDenied):
        return problems.forbidden("You may not do this.")
    if isinstance(error, RequestDataTooBig):
        return problems.too_large("The body is larger than this address takes.")
    if isinstance(error, UnreadablePostError):
        return problems.bad_request("The body ended too early.")
    if isinstance(error, SuspiciousOperation | MultiPartParserError):
        return problems.bad_request("The request could not be understood.")
    if isinstance(error, OperationalError | InterfaceError):
        logger.warning("%s %s: %s", request.method, request.path, error)
        return problems.database_away()
    logger.error("%s %s failed", request.method, request.path, exc_info=error)
    return problems.internal_error()


def _without_body(response: HttpResponseBase) -> HttpResponseBase:
    """Return the head of an answer to GET."""
    if isinstance(response, HttpResponse):
        length = len(response.content)
        response.content = b""
        response["Content-Length"] = str(length)
        return response
    if isinstance(response, StreamingHttpResponse):
        response.close()
    return HttpResponse(status=response.status_code, headers=dict(response.items()))
