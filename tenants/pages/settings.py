"""A tenant's settings: the tenant itself, members, tokens, audit."""

from __future__ import annotations

from copy import copy

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from tenants import audit, mail, members, registry
from tenants.access import TenantRequest, tenant_member
from tenants.deletion import request_deletion
from tenants.forms import ConfirmForm, InviteForm, RoleForm, TenantForm, TokenForm, save_changed
from tenants.models import ApiToken, AuditEvent, Membership, Role
from tenants.settings_menu import setting_pages_for
from tenants.shown_once import lead_to_secret, take_secret
from tenants.tokens import issue_token, revoke_token

AUDIT_PAGE = 50
LAST_OWNER = "A tenant needs an owner: make somebody else owner first."


@tenant_member(Role.ADMIN)
@require_safe
def settings_home(request: TenantRequest, slug: str) -> HttpResponse:
    """Go to the first page of the settings that the person may see."""
    return redirect(setting_pages_for(request.membership, request.path)[0].url)


# --- the tenant ---------------------------------------------------------------------------------


@never_cache
@tenant_member(Role.OWNER)
@require_http_methods(["GET", "HEAD", "POST"])
def tenant_settings(request: TenantRequest, slug: str) -> HttpResponse:
    """Rename the tenant, or name the location that stands for it."""
    # A copy, so that a refused name does not show in the page's frame.
    form = TenantForm(request.POST or None, instance=copy(request.tenant))
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            save_changed(form)
            audit.record(
                "tenant.change",
                tenant=request.tenant,
                request=request,
                subject=slug,
                changed=form.changed_data,
            )
        messages.success(request, "Saved.")
        return redirect("tenant-settings", slug=slug)
    return render(request, "tenants/settings_tenant.html", {"form": form})


@never_cache
@tenant_member(Role.OWNER)
@require_http_methods(["GET", "HEAD", "POST"])
def tenant_delete(request: TenantRequest, slug: str) -> HttpResponse:
    """Delete the tenant with everything, after its slug was typed."""
    form = ConfirmForm(request.POST or None, word=slug)
    if request.method == "POST" and form.is_valid():
        request_deletion(request.tenant, request=request)
        messages.success(request, f"“{request.tenant.name}” is being deleted with all its data.")
        return redirect("home")
    return render(request, "tenants/settings_delete.html", {"form": form})


# --- tokens -------------------------------------------------------------------------------------


@never_cache
@tenant_member(Role.ADMIN)
@require_http_methods(["GET", "HEAD", "POST"])
def tokens(request: TenantRequest, slug: str) -> HttpResponse:
    """List tokens and make new ones; a secret is on the page after its making and nowhere else."""
    form = TokenForm(request.POST or None, environments=registry.environments_of(request.tenant))
    if request.method == "POST" and form.is_valid():
        made, secret = issue_token(
            request.tenant, created_by=request.user, request=request, **form.cleaned_data
        )
        return lead_to_secret(request, request.path, made.name, secret)
    context = {
        "form": form,
        "tokens": ApiToken.objects.select_related("created_by"),
        "made": take_secret(request),
    }
    return render(request, "tenants/settings_tokens.html", context)


@tenant_member(Role.ADMIN)
@require_POST
def token_revoke(request: TenantRequest, slug: str, token_id: int) -> HttpResponse:
    """End a token at once."""
    token = ApiToken.objects.select_related("tenant").filter(pk=token_id).first()
    if token is None:
        raise Http404
    revoke_token(token, request=request)
    messages.success(request, f"“{token.name}” is revoked.")
    return redirect("tokens", slug=slug)


# --- members ------------------------------------------------------------------------------------


@never_cache
@tenant_member(Role.OWNER)
@require_http_methods(["GET", "HEAD", "POST"])
def member_list(request: TenantRequest, slug: str) -> HttpResponse:
    """List members and invite more."""
    form = InviteForm(request.POST or None)
    invitation = None
    if request.method == "POST" and form.is_valid():
        role = Role(form.cleaned_data["role"])
        try:
            invitation = members.invite_member(
                request.tenant, form.cleaned_data["email"], role, request=request
            )
            form = InviteForm()
        except members.AlreadyMember:
            form.add_error("email", ValidationError("This person is a member already."))
    return _show_members(request, form, invitation)


@tenant_member(Role.OWNER)
@require_POST
def member_role(request: TenantRequest, slug: str, membership_id: int) -> HttpResponse:
    """Give a member another role."""
    membership = _member(membership_id)
    form = RoleForm(request.POST)
    if not form.is_valid():
        messages.error(request, "Choose one of the roles.")
        return redirect("members", slug=slug)
    try:
        members.change_role(membership, Role(form.cleaned_data["role"]), request=request)
        messages.success(request, f"{membership.user.email} is {form.cleaned_data['role']} now.")
    except members.LastOwner:
        messages.error(request, LAST_OWNER)
    except members.NotMember:
        messages.error(request, f"{membership.user.email} is no longer a member.")
    is_own = membership.user_id == request.user.pk
    return redirect("home") if is_own else redirect("members", slug=slug)


@tenant_member(Role.OWNER)
@require_POST
def member_remove(request: TenantRequest, slug: str, membership_id: int) -> HttpResponse:
    """End a membership."""
    membership = _member(membership_id)
    try:
        members.remove_member(membership, request=request)
        messages.success(request, f"{membership.user.email} is no longer a member.")
    except members.NotMember:
        messages.info(request, f"{membership.user.email} is no longer a member.")
    except members.LastOwner:
        messages.error(request, LAST_OWNER)
        return redirect("members", slug=slug)
    is_own = membership.user_id == request.user.pk
    return redirect("home") if is_own else redirect("members", slug=slug)


@never_cache
@tenant_member(Role.OWNER)
@require_POST
def member_invite_again(request: TenantRequest, slug: str, membership_id: int) -> HttpResponse:
    """Make a fresh link for a member who has not set a password yet."""
    membership = _member(membership_id)
    if membership.user.has_usable_password():
        messages.info(request, f"{membership.user.email} has set a password already.")
        return redirect("members", slug=slug)
    invitation = members.invite_again(membership, request=request)
    return _show_members(request, InviteForm(), invitation, is_again=True)


def _member(membership_id: int) -> Membership:
    membership = (
        Membership.objects.select_related("user", "tenant").filter(pk=membership_id).first()
    )
    if membership is None:
        raise Http404
    return membership


def _show_members(
    request: TenantRequest,
    form: InviteForm,
    invitation: members.Invitation | None,
    *,
    is_again: bool = False,
) -> HttpResponse:
    context = {
        "form": form,
        "invitation": invitation,
        "is_again": is_again,
        "members": Membership.objects.select_related("user").order_by("user__email"),
        "roles": Role,
        "mail_works": mail.is_configured(),
    }
    return render(request, "tenants/settings_members.html", context)


# --- audit --------------------------------------------------------------------------------------


@never_cache
@tenant_member(Role.ADMIN)
@require_safe
def audit_log(request: TenantRequest, slug: str) -> HttpResponse:
    """Show what was done in this tenant, the newest first, a page at a time by id."""
    events = AuditEvent.objects.all()
    before = request.GET.get("before", "")
    if before.isascii() and before.isdigit() and len(before) < 19:
        events = events.filter(pk__lt=int(before))
    page = list(events[: AUDIT_PAGE + 1])
    has_more = len(page) > AUDIT_PAGE
    context = {
        "events": page[:AUDIT_PAGE],
        "older": f"?before={page[AUDIT_PAGE - 1].pk}" if has_more else None,
        "is_first": not before,
    }
    return render(request, "tenants/settings_audit.html", context)
