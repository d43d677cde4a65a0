"""Monitoring for operators of the installation: look things up across tenants, change little."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from django.contrib import admin
from django.db import models
from django.http import HttpRequest

from monitoring.models import Environment, Workflow
from tenants.admin import AuditedAdmin, OperatorPermissions

if TYPE_CHECKING:
    _EnvironmentAdmin = admin.ModelAdmin[Environment]
    _WorkflowAdmin = admin.ModelAdmin[Workflow]
else:
    _EnvironmentAdmin = _WorkflowAdmin = admin.ModelAdmin


@admin.register(Environment)
class EnvironmentAdmin(AuditedAdmin, _EnvironmentAdmin):
    """Environments of all tenants; one that holds executions goes only with its tenant."""

    list_display = ("name", "tenant", "provider", "base_url", "is_default", "created_at")
    list_filter = ("provider", "is_default")
    search_fields = ("name", "slug", "base_url", "tenant__name", "tenant__slug")
    list_select_related = ("tenant",)
    autocomplete_fields = ("tenant",)
    readonly_fields = ("is_default", "created_at")
    prepopulated_fields = {"slug": ("name",)}
    formfield_overrides = {models.URLField: {"assume_scheme": "https"}}

    def get_readonly_fields(
        self, request: HttpRequest, obj: Environment | None = None
    ) -> tuple[str, ...]:
        """An environment never moves to another tenant, nor changes its short name."""
        fixed = () if obj is None else ("tenant", "slug")
        return (*self.readonly_fields, *fixed)

    def get_prepopulated_fields(
        self, request: HttpRequest, obj: Environment | None = None
    ) -> dict[str, Sequence[str]]:
        """Suggest a short name for a new environment only."""
        return {} if obj is not None else {"slug": ("name",)}

    def has_delete_permission(self, request: HttpRequest, obj: Environment | None = None) -> bool:
        """Executions have no foreign key that would protect them."""
        return False


@admin.register(Workflow)
class WorkflowAdmin(OperatorPermissions, _WorkflowAdmin):
    """Workflows of all tenants, to look up: senders name them, their tenants delete them."""

    list_display = (
        "name", "tenant", "environment", "external_id", "execution_count", "failure_count",
        "last_executed_at",
    )  # fmt: skip
    list_filter = ("environment__provider",)
    search_fields = ("name", "external_id", "tenant__name", "tenant__slug")
    list_select_related = ("tenant", "environment")
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Workflows come into being by their first execution."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Workflow | None = None) -> bool:
        """Nothing about a workflow is an operator's to say."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Workflow | None = None) -> bool:
        """Executions have no foreign key that would protect them."""
        return False
