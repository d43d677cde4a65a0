"""The admin as a vendor's operator uses it.

Staff may look at everything; staff with `is_superuser` may change it. All that is changed is in the
audit log.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin, SimpleListFilter, TabularInline
from django.contrib.auth.models import Group
from django.db.models import Count, Max, Model, Q, QuerySet
from django.forms import ModelForm
from django.http import FileResponse, Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_variables

from tenants import audit, lifecycle, registry
from tenants.deletion import request_deletion
from tenants.export import export_tenants
from tenants.forms import TokenForm
from tenants.models import ApiToken, AuditEvent, Membership, Tenant, User
from tenants.passwords import invalidate_links, set_password_link
from tenants.sign_in import end_other_sessions
from tenants.tokens import issue_token, revoke_token

if TYPE_CHECKING:
    TenantModelAdmin = ModelAdmin[Tenant]
    UserModelAdmin = ModelAdmin[User]
    TokenModelAdmin = ModelAdmin[ApiToken]
    AuditModelAdmin = ModelAdmin[AuditEvent]
    AnyModelAdmin = ModelAdmin[Any]
    MembershipTabularInline = TabularInline[Membership, Any]
else:
    TenantModelAdmin = UserModelAdmin = TokenModelAdmin = AuditModelAdmin = AnyModelAdmin = (
        ModelAdmin
    )
    MembershipTabularInline = TabularInline

# Operators are staff or not; nobody needs groups of permissions.
admin.site.unregister(Group)


class OperatorPermissions(AnyModelAdmin):
    """Staff may look; who may change follows Django's permissions, which superusers have."""

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let all staff look."""
        return _is_staff(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show the app to all staff."""
        return _is_staff(request)


class AuditedAdmin(OperatorPermissions):
    """Writes what is added, changed and deleted to the audit log; base of every model here."""

    def log_addition(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """Record an added object."""
        self._record(request, "add", obj, message)
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Model, message: Any) -> Any:
        """Record a changed object, with the names of what changed."""
        self._record(request, "change", obj, message)
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        """Record each deleted object."""
        for obj in queryset:
            self._record(request, "delete", obj, [])
        return super().log_deletions(request, queryset)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        """Store the rows beside an object, and record each under its own tenant."""
        super().save_formset(request, form, formset, change)
        for verb, rows in (
            ("add", formset.new_objects),
            ("change", [row for row, _fields in formset.changed_objects]),
            ("delete", formset.deleted_objects),
        ):
            for row in rows:
                self._record(request, verb, row, [])

    def _record(self, request: HttpRequest, verb: str, obj: Model, message: Any) -> None:
        tenant = obj if isinstance(obj, Tenant) else getattr(obj, "tenant", None)
        audit.record(
            f"admin.{obj._meta.model_name}.{verb}",
            tenant=tenant,
            request=request,
            subject=str(obj),
            changes=message,
        )


class StateFilter(SimpleListFilter):
    """Active, suspended, being deleted."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Name the states."""
        return [("active", "Active"), ("suspended", "Suspended"), ("deleting", "Being deleted")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> QuerySet[Tenant]:
        """Limit the list to the chosen state."""
        chosen = {
            "active": Q(suspended_at=None, deletion_requested_at=None),
            "suspended": Q(suspended_at__isnull=False, deletion_requested_at=None),
            "deleting": Q(deletion_requested_at__isnull=False),
        }.get(self.value() or "", Q())
        return queryset.filter(chosen)


class TokenStateFilter(SimpleListFilter):
    """Active, expired, revoked."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Name the states."""
        return [("active", "Active"), ("expired", "Expired"), ("revoked", "Revoked")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> QuerySet[ApiToken]:
        """Limit the list to the chosen state."""
        now = timezone.now()
        chosen = {
            "active": Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=now)),
            "expired": Q(revoked_at=None, expires_at__lte=now),
            "revoked": Q(revoked_at__isnull=False),
        }.get(self.value() or "", Q())
        return queryset.filter(chosen)


class MembershipInline(MembershipTabularInline):
    """Members of a tenant, or tenants of a person."""

    model = Membership
    extra = 0
    autocomplete_fields = ("user", "tenant")
    readonly_fields = ("created_at",)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let all staff look."""
        return _is_staff(request)


@admin.register(Tenant)
class TenantAdmin(AuditedAdmin, TenantModelAdmin):
    """Tenants: find, make, suspend, resume, export, delete; members beside; tokens by a button."""

    list_display = ("name", "slug", "location_id", "state", "members", "tokens", "last_call")
    list_filter = (StateFilter, "created_at")
    search_fields = ("name", "slug", "location_id", "memberships__user__email")
    search_help_text = "Name, slug, location, or a member's mail address"
    fields = ("name", "slug", "location_id", "state", "created_at")
    readonly_fields = ("state", "created_at")
    inlines = (MembershipInline,)
    actions = ("suspend", "resume", "export", "delete_with_everything")
    change_form_template = "admin/tenants/tenant/change_form.html"
    view_on_site = False  # an operator is no member

    def get_queryset(self, request: HttpRequest) -> QuerySet[Tenant]:
        """Count members and tokens along."""
        tenants: QuerySet[Tenant] = super().get_queryset(request)
        return tenants.annotate(
            member_count=Count("memberships", distinct=True),
            token_count=Count("tokens", distinct=True, filter=Q(tokens__revoked_at=None)),
            last_call_at=Max("tokens__last_used_at"),
        )

    @admin.display(description="state")
    def state(self, tenant: Tenant) -> str:
        """Say active, suspended or being deleted."""
        if tenant.is_being_deleted:
            return "being deleted"
        return "suspended" if tenant.is_suspended else "active"

    @admin.display(description="members", ordering="member_count")
    def members(self, tenant: Any) -> int:
        """Count members."""
        count: int = tenant.member_count
        return count

    @admin.display(description="tokens", ordering="token_count")
    def tokens(self, tenant: Any) -> SafeString:
        """Count tokens that are not revoked; leads to them."""
        address = f"{reverse('admin:tenants_apitoken_changelist')}?tenant__id__exact={tenant.pk}"
        return format_html('<a href="{}">{}</a>', address, tenant.token_count)

    @admin.display(description="last call", ordering="last_call_at")
    def last_call(self, tenant: Any) -> Any:
        """Say when a token was used last."""
        return tenant.last_call_at

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Deleting takes time: the action marks, and a job deletes in steps."""
        return False

    @admin.action(description="Suspend: tokens answer 403", permissions=["change"])
    def suspend(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> None:
        """Shut the tenants out."""
        for tenant in queryset:
            lifecycle.suspend(tenant, request=request)
        self.message_user(request, "Suspended.", messages.SUCCESS)

    @admin.action(description="Resume", permissions=["change"])
    def resume(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> None:
        """Let the tenants in again."""
        for tenant in queryset:
            lifecycle.resume(tenant, request=request)
        self.message_user(request, "Resumed.", messages.SUCCESS)

    @admin.action(description="Export all data (zip of JSON lines)", permissions=["change"])
    def export(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> FileResponse:
        """Hand out all data of the tenants."""
        tenants = list(queryset)
        name = tenants[0].slug if len(tenants) == 1 else "tenants"
        file = export_tenants(tenants, request=request)
        stamp = timezone.now().strftime("%Y-%m-%d")
        return FileResponse(file, as_attachment=True, filename=f"{name}-{stamp}.zip")

    @admin.action(description="Delete with everything…", permissions=["change"])
    def delete_with_everything(
        self, request: HttpRequest, queryset: QuerySet[Tenant]
    ) -> HttpResponse | None:
        """Ask, then mark the tenants; a job deletes their data."""
        if request.POST.get("confirmed") == "yes":
            for tenant in queryset:
                request_deletion(tenant, request=request)
            self.message_user(request, "Marked; the data is being deleted.", messages.SUCCESS)
            return None
        context = {
            **self.admin_site.each_context(request),
            "title": "Delete with everything",
            "tenants": queryset,
            "opts": self.opts,
        }
        return TemplateResponse(request, "admin/tenants/tenant/confirm_delete.html", context)

    def get_urls(self) -> list[URLPattern]:
        """Add the page that makes a token."""
        make = self.admin_site.admin_view(self.make_token)
        return [
            path("<int:tenant_id>/make-token/", make, name="tenants_tenant_make_token"),
            *super().get_urls(),
        ]

    @sensitive_variables("secret")
    def make_token(self, request: HttpRequest, tenant_id: int) -> HttpResponse:
        """Make a token of one tenant and show it, this once."""
        tenant = self.get_object(request, str(tenant_id))
        if tenant is None or not self.has_change_permission(request, tenant):
            raise Http404
        form = TokenForm(request.POST or None, environments=registry.environments_of(tenant))
        secret = ""
        if request.method == "POST" and form.is_valid():
            _, secret = issue_token(
                tenant, created_by=_user(request), request=request, **form.cleaned_data
            )
        context = {
            **self.admin_site.each_context(request),
            "title": f"Make a token for {tenant}",
            "tenant": tenant,
            "form": form,
            "secret": secret,
            "opts": self.opts,
        }
        response = TemplateResponse(request, "admin/tenants/tenant/make_token.html", context)
        response["Cache-Control"] = "no-store"
        return response


@admin.register(User)
class UserAdmin(AuditedAdmin, UserModelAdmin):
    """People: no password is ever typed here; a link lets its person set one."""

    list_display = ("email", "name", "is_active", "is_staff", "is_superuser", "last_login")
    list_filter = ("is_active", "is_staff", "is_superuser", "memberships__role", "last_login")
    search_fields = ("email", "name", "memberships__tenant__slug")
    search_help_text = "Mail address, name, or a tenant's slug"
    fields = (
        ("email", "name"),
        ("time_zone", "theme", "density"),
        ("is_active", "is_staff", "is_superuser"),
        ("created_at", "last_login"),
    )
    readonly_fields = ("created_at", "last_login")
    inlines = (MembershipInline,)
    actions = ("make_link", "end_sessions")
    ordering = ("email",)

    def save_model(
        self, request: HttpRequest, obj: User, form: ModelForm[User], change: bool
    ) -> None:
        """Store the person; a new one has no password until they set one by link."""
        if not change:
            obj.set_unusable_password()
        super().save_model(request, obj, form, change)
        if not obj.is_active:
            end_other_sessions(obj, None)

    def response_add(
        self, request: HttpRequest, obj: User, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Show the link of the new person."""
        self._show_link(request, obj)
        return super().response_add(request, obj, post_url_continue)

    @admin.action(description="Make a link to set a password", permissions=["change"])
    def make_link(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Show a link for each person, which works once, for a day."""
        for user in queryset.filter(is_active=True):
            if not user.has_usable_password():
                invalidate_links(user)
            audit.record("password.link", tenant=None, request=request, subject=user.email)
            self._show_link(request, user)

    @admin.action(description="End all sessions", permissions=["change"])
    def end_sessions(self, request: HttpRequest, queryset: QuerySet[User]) -> None:
        """Sign the people out everywhere."""
        ended = 0
        for user in queryset:
            ended += end_other_sessions(user, None)
            audit.record("session.end", tenant=None, request=request, subject=user.email)
        self.message_user(request, f"{ended} sessions ended.", messages.SUCCESS)

    def _show_link(self, request: HttpRequest, user: User) -> None:
        text = format_html(
            "{} sets a password here, once, within a day: <code>{}</code>",
            user.email,
            set_password_link(user),
        )
        self.message_user(request, text, messages.INFO)


@admin.register(ApiToken)
class ApiTokenAdmin(OperatorPermissions, TokenModelAdmin):
    """Tokens: found by prefix, revoked, never changed. New ones are made at their tenant."""

    list_display = (
        "name",
        "tenant",
        "shown_prefix",
        "shown_scopes",
        "state",
        "expires_at",
        "last_used_at",
        "created_at",
    )
    list_filter = (TokenStateFilter, ("tenant", admin.RelatedOnlyFieldListFilter))
    search_fields = ("name", "prefix", "tenant__slug", "tenant__name")
    search_help_text = "Name, prefix (without fw_), or tenant"
    fields = (
        "tenant",
        "name",
        "shown_prefix",
        "shown_scopes",
        "environment_id",
        "state",
        "expires_at",
        "revoked_at",
        "last_used_at",
        "created_at",
        "created_by",
    )
    list_select_related = ("tenant",)
    actions = ("revoke",)

    @admin.display(description="begins with", ordering="prefix")
    def shown_prefix(self, token: ApiToken) -> str:
        """Show what people recognise the token by."""
        return f"fw_{token.prefix}"

    @admin.display(description="scopes")
    def shown_scopes(self, token: ApiToken) -> str:
        """List the scopes."""
        return ", ".join(token.scopes)

    @admin.display(description="state")
    def state(self, token: ApiToken) -> str:
        """Say active, expired or revoked."""
        return token.state()

    @admin.action(description="Revoke", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiToken]) -> None:
        """End the tokens at once."""
        for token in queryset.select_related("tenant"):
            revoke_token(token, request=request)
        self.message_user(request, "Revoked.", messages.SUCCESS)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        """Let those revoke who may change tenants."""
        return _user(request).has_perm("tenants.change_tenant")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Tokens are made at their tenant, where the secret is shown."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """What a token may do is fixed when it is made."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Revoked tokens stay, so that the audit log can be read."""
        return False


@admin.register(AuditEvent)
class AuditEventAdmin(OperatorPermissions, AuditModelAdmin):
    """The audit log over all tenants, to read only."""

    list_display = ("created_at", "actor_label", "action", "subject", "tenant_label", "ip")
    list_filter = ("action", "created_at")
    search_fields = ("actor_label", "subject", "tenant_label", "action")
    fields = ("created_at", "actor_label", "action", "subject", "tenant_label", "detail", "ip")
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Only deeds add rows."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """What was done stays."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """What was done stays."""
        return False


def _is_staff(request: HttpRequest) -> bool:
    user = request.user
    return isinstance(user, User) and user.is_active and user.is_staff


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user
