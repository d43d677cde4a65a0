"""Sign in, sign out, and where to go afterwards."""

from __future__ import annotations

from django.contrib.auth import logout
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render, resolve_url
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from tenants import audit, mail
from tenants.access import PersonRequest, signed_in
from tenants.forms import SignInForm
from tenants.memberships import memberships_of
from tenants.models import Tenant, User
from tenants.navigation import LAST_TENANT
from tenants.sign_in import TooManyTries, check_password, set_device_cookie, start_session

WRONG = "This mail address and password don't belong together."
TOO_MANY = (
    "Too many tries. Wait 15 minutes, use a browser that you have signed in with before, "
    "or reset the password."
)


@sensitive_post_parameters("password")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponseBase:
    """Ask for mail address and password; signed-in people go on at once."""
    if isinstance(request.user, User) and request.method != "POST":
        return HttpResponseRedirect(_next_address(request))
    form = SignInForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        user = _person_of(request, form)
        if user is not None:
            device = start_session(request, user)
            response = HttpResponseRedirect(_next_address(request))
            set_device_cookie(response, device)
            return response
    context = {"form": form, "next": request.POST.get("next", request.GET.get("next", ""))}
    status = 429 if form.has_error("__all__", "too-many") else 200
    return render(request, "tenants/sign_in.html", context, status=status)


@never_cache
@require_POST
def sign_out(request: HttpRequest) -> HttpResponseBase:
    """End this browser's session."""
    if isinstance(request.user, User):
        audit.record("sign-out", tenant=None, request=request, subject=request.user.email)
    logout(request)
    return redirect("sign-in")


@never_cache
@signed_in
@require_http_methods(["GET", "HEAD"])
def home(request: PersonRequest) -> HttpResponse:
    """Go to the tenant seen last, else the first; people without one are told whom to ask."""
    memberships = memberships_of(request.user)
    if not memberships:
        context = {
            "mail_works": mail.is_configured(),
            "has_others": request.user.is_staff and Tenant.objects.living().exists(),
        }
        return render(request, "tenants/no_tenant.html", context)
    last = request.session.get(LAST_TENANT)
    chosen = next((item for item in memberships if item.tenant_id == last), memberships[0])
    return redirect(chosen.tenant)


def _person_of(request: HttpRequest, form: SignInForm) -> User | None:
    """Return who signs in, or None with the reason in the form."""
    try:
        user = check_password(request, form.cleaned_data["email"], form.cleaned_data["password"])
    except TooManyTries:
        form.add_error(None, ValidationError(TOO_MANY, code="too-many"))
        return None
    if user is None:
        form.add_error(None, ValidationError(WRONG, code="wrong"))
    return user


def _next_address(request: HttpRequest) -> str:
    """Return where to go after signing in; never to another site."""
    wanted = request.POST.get("next", request.GET.get("next", ""))
    is_ours = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    is_path = wanted.startswith("/") and wanted.isprintable()
    return wanted if is_ours and is_path else resolve_url("home")
