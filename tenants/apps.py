"""App configurations: `tenants` itself, and Django's admin with the operator's site."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class TenantsConfig(AppConfig):
    """Tenants, people, roles, tokens and the audit log."""

    name = "tenants"
    default = True
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect what must happen whenever a tenant or token changes."""
        from tenants import signals

        signals.connect()


class OperatorAdminConfig(admin_apps.AdminConfig):
    """Django's admin, on the site that works across tenants (use instead of django.contrib.admin)."""

    default = False
    default_site = "tenants.admin_site.OperatorAdminSite"
