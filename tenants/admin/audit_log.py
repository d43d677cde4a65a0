"""The audit log in the admin, over all tenants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin
from django.contrib.admin import ModelAdmin
from django.db.models import Model
from django.http import HttpRequest

from tenants.admin.base import OperatorPermissions
from tenants.models import AuditEvent

if TYPE_CHECKING:
    AuditModelAdmin = ModelAdmin[AuditEvent]
else:
    AuditModelAdmin = ModelAdmin


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
