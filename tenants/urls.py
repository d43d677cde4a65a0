"""The addresses of `tenants`."""

from django.urls import path

from tenants.pages import account, passwords, settings, sign_in

urlpatterns = [
    path("", sign_in.home, name="home"),
    path("sign-in/", sign_in.sign_in, name="sign-in"),
    path("sign-out/", sign_in.sign_out, name="sign-out"),
    path("password/reset/", passwords.password_reset, name="password-reset"),
    path("password/reset/sent/", passwords.password_reset_sent, name="password-reset-sent"),
    path("password/set/<str:uid>/<str:token>/", passwords.password_set, name="password-set"),
    path("account/", account.account, name="account"),
    path("account/password/", passwords.password_change, name="password-change"),
    path("account/theme/", account.account_theme, name="account-theme"),
    path("account/sessions/end/", account.session_end, name="session-end"),
    path("t/<slug:slug>/settings/", settings.settings_home, name="settings"),
    path("t/<slug:slug>/settings/tenant/", settings.tenant_settings, name="tenant-settings"),
    path("t/<slug:slug>/settings/tenant/delete/", settings.tenant_delete, name="tenant-delete"),
    path("t/<slug:slug>/settings/tokens/", settings.tokens, name="tokens"),
    path(
        "t/<slug:slug>/settings/tokens/<int:token_id>/revoke/",
        settings.token_revoke,
        name="token-revoke",
    ),
    path("t/<slug:slug>/settings/members/", settings.member_list, name="members"),
    path(
        "t/<slug:slug>/settings/members/<int:membership_id>/role/",
        settings.member_role,
        name="member-role",
    ),
    path(
        "t/<slug:slug>/settings/members/<int:membership_id>/remove/",
        settings.member_remove,
        name="member-remove",
    ),
    path(
        "t/<slug:slug>/settings/members/<int:membership_id>/invite-again/",
        settings.member_invite_again,
        name="member-invite-again",
    ),
    path("t/<slug:slug>/settings/audit/", settings.audit_log, name="audit"),
]
