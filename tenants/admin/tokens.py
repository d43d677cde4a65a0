"""Tokens in the admin: found by prefix, revoked, never changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin, SimpleListFilter
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone

from tenants.admin.base import OperatorPermissions, operator_of
from tenants.models import ApiToken
from tenants.tokens import revoke_token

if TYPE_CHECKING:
    TokenModelAdmin = ModelAdmin[ApiToken]
else:
    TokenModelAdmin = ModelAdmin


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
        return operator_of(request).has_perm("tenants.change_tenant")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Tokens are made at their tenant, where the secret is shown."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """What a token may do is fixed when it is made."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        """Revoked tokens stay, so that the audit log can be read."""
        return False
