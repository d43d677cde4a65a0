"""People in the admin: links that let them set a password, sessions that end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.contrib import admin, messages
from django.contrib.admin import ModelAdmin
from django.db.models import QuerySet
from django.forms import ModelForm
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html

from tenants import audit
from tenants.admin.base import AuditedAdmin, MembershipInline
from tenants.models import User
from tenants.passwords import invalidate_links, set_password_link
from tenants.sign_in import end_other_sessions

if TYPE_CHECKING:
    UserModelAdmin = ModelAdmin[User]
else:
    UserModelAdmin = ModelAdmin


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
