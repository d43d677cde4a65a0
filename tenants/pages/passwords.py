"""Reset a forgotten password by mail, set one by link, change one that is known."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

from tenants import mail, passwords
from tenants.access import PersonRequest, signed_in
from tenants.forms import ChangePasswordForm, NewPasswordForm, ResetForm
from tenants.sign_in import (
    TooManyTries,
    check_password,
    remember_place,
    set_device_cookie,
    start_session,
)

_LINK_IN_SESSION = "_set_password_token"
_NO_TOKEN = "form"  # noqa: S105
"""Stands for the token in the address of the form, so that no referrer or history holds it."""


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def password_reset(request: HttpRequest) -> HttpResponse:
    """Send a link to the given address; the answer is the same whether or not it is known."""
    form = ResetForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            passwords.send_reset_link(request, form.cleaned_data["email"])
        except TooManyTries:
            form.add_error(None, "Too many requests from here. Try again in an hour.")
        else:
            return redirect("password-reset-sent")
    context = {"form": form, "mail_works": mail.is_configured()}
    return render(request, "tenants/password_reset.html", context)


@require_safe
def password_reset_sent(request: HttpRequest) -> HttpResponse:
    """Say what happens next."""
    return render(request, "tenants/password_reset_sent.html", {"mail_works": mail.is_configured()})


@sensitive_post_parameters("new_password")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def password_set(request: HttpRequest, uid: str, token: str) -> HttpResponseBase:
    """Let the holder of a link set the password; then they are signed in.

    The link only opens the page (mail scanners open links, too); the button acts.
    """
    if token != _NO_TOKEN:
        if passwords.person_of_link(uid, token) is None:
            return render(request, "tenants/password_link_void.html", status=410)
        request.session[_LINK_IN_SESSION] = token
        return redirect("password-set", uid=uid, token=_NO_TOKEN)
    token = request.session.get(_LINK_IN_SESSION, "")
    user = passwords.person_of_link(uid, token)
    if user is None:
        return render(request, "tenants/password_link_void.html", status=410)
    form = NewPasswordForm(request.POST or None, user=user)
    if request.method == "POST" and form.is_valid():
        del request.session[_LINK_IN_SESSION]
        user = passwords.use_link(uid, token, form.cleaned_data["new_password"], request=request)
        if user is None:
            return render(request, "tenants/password_link_void.html", status=410)
        device = start_session(request, user)
        response = HttpResponseRedirect(reverse("home"))
        set_device_cookie(response, device)
        return response
    return render(request, "tenants/password_set.html", {"form": form, "person": user})


@sensitive_post_parameters("password", "new_password")
@never_cache
@signed_in
@require_http_methods(["GET", "HEAD", "POST"])
def password_change(request: PersonRequest) -> HttpResponse:
    """Change one's own password; every other session ends."""
    form = ChangePasswordForm(request.POST or None, user=request.user)
    if request.method == "POST" and form.is_valid() and _knows_password(request, form):
        passwords.set_password(
            request.user,
            form.cleaned_data["new_password"],
            request=request,
            keep=request.session.session_key,
        )
        update_session_auth_hash(request, request.user)
        messages.success(request, "Password changed. All other sessions have ended.")
        response = redirect("account")
        set_device_cookie(response, remember_place(request, request.user))
        return response
    return render(request, "tenants/password_change.html", {"form": form})


def _knows_password(request: PersonRequest, form: ChangePasswordForm) -> bool:
    """Check the present password, under the limits of signing in."""
    try:
        user = check_password(request, request.user.email, form.cleaned_data["password"])
    except TooManyTries:
        form.add_error("password", "Too many tries. Wait 15 minutes.")
        return False
    if user is None:
        form.add_error("password", "This is not your present password.")
    return user is not None
