"""Tenants in the admin: find, make, suspend, resume, export, delete; tokens by a button."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import Count, Max, Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_variables

from tenants import lifecycle, registry
from tenants.admin.base import AuditedAdmin, MembershipInline, operator_of
from tenants.deletion import request_deletion
from tenants.export import export_tenants
from tenants.forms import TokenForm
from tenants.models import Tenant
from tenants.streams import name_owner
from tenants.tokens import issue_token

if TYPE_CHECKING:
    TenantModelAdmin = ModelAdmin[Tenant]
else:
    TenantModelAdmin = ModelAdmin


_RETENTION: Final = ("retention_days", "retention_minimum")
_CHANGED_ELSEWHERE: Final = (
    "An admin of the tenant changes it under Settings → Retention, which tells first what would go."
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


@admin.register(Tenant)
class TenantAdmin(AuditedAdmin, TenantModelAdmin):
    """Tenants: find, make, suspend, resume, export, delete; members beside; tokens by a button."""

    list_display = ("name", "slug", "location_id", "state", "members", "tokens", "last_call")
    list_filter = (StateFilter, "created_at")
    search_fields = ("name", "slug", "location_id", "memberships__user__email")
    search_help_text = "Name, slug, location, or a member's mail address"
    fields = (
        "name",
        "slug",
        "location_id",
        "executions_per_minute",
        *_RETENTION,
        "state",
        "created_at",
    )
    readonly_fields = ("state", "created_at")
    inlines = (MembershipInline,)
    actions = ("suspend", "resume", "export", "delete_with_everything")
    change_form_template = "admin/tenants/tenant/change_form.html"
    view_on_site = False  # an operator is no member

    def get_readonly_fields(
        self, request: HttpRequest, obj: Tenant | None = None
    ) -> tuple[str, ...]:
        """What removes executions of a tenant is changed only where it is asked about first."""
        return (*self.readonly_fields, *(_RETENTION if obj else ()))

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        """Say where a tenant's retention is changed."""
        if obj:
            kwargs["help_texts"] = dict.fromkeys(_RETENTION, _CHANGED_ELSEWHERE)
        return super().get_form(request, obj, change=change, **kwargs)

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
    def export(self, request: HttpRequest, queryset: QuerySet[Tenant]) -> StreamingHttpResponse:
        """Hand out all data of the tenants, while they are read."""
        name_owner(request.META, f"person {request.user.pk}", None)
        tenants = list(queryset)
        name = tenants[0].slug if len(tenants) == 1 else "tenants"
        stamp = timezone.now().strftime("%Y-%m-%d")
        return StreamingHttpResponse(
            export_tenants(tenants, request=request),
            content_type="application/zip",
            headers={
                "Content-Disposition": f'attachment; filename="{name}-{stamp}.zip"',
                "X-Accel-Buffering": "no",
            },
        )

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
                tenant, created_by=operator_of(request), request=request, **form.cleaned_data
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
