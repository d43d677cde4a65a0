"""What the admin's pages share: who may look or change, and that changes are in the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib.admin import ModelAdmin, TabularInline
from django.db.models import Model, QuerySet
from django.http import HttpRequest

from tenants import audit
from tenants.forms import save_changed
from tenants.models import Membership, Tenant, User

if TYPE_CHECKING:
    AnyModelAdmin = ModelAdmin[Any]
    MembershipTabularInline = TabularInline[Membership, Any]
else:
    AnyModelAdmin = ModelAdmin
    MembershipTabularInline = TabularInline


def is_staff(request: HttpRequest) -> bool:
    """Say whether an active operator asks."""
    user = request.user
    return isinstance(user, User) and user.is_active and user.is_staff


def operator_of(request: HttpRequest) -> User:
    """Return who asks, behind the admin's sign-in."""
    assert isinstance(request.user, User)
    return request.user


class OperatorPermissions(AnyModelAdmin):
    """Staff may look; who may change follows Django's permissions, which superusers have."""

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let all staff look."""
        return is_staff(request)

    def has_module_permission(self, request: HttpRequest) -> bool:
        """Show the app to all staff."""
        return is_staff(request)


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

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Store a new object whole, of another what was changed only."""
        if change:
            save_changed(form)
        else:
            super().save_model(request, obj, form, change)

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


class MembershipInline(MembershipTabularInline):
    """Members of a tenant, or tenants of a person."""

    model = Membership
    extra = 0
    autocomplete_fields = ("user", "tenant")
    readonly_fields = ("created_at",)

    def has_view_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Let all staff look."""
        return is_staff(request)
