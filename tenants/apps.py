"""App configurations: `tenants` itself, and Django's admin with the operator's site."""

from django.apps import AppConfig
from django.contrib.admin import apps as admin_apps


class TenantsConfig(AppConfig):
    """Tenants, people, roles, tokens and the audit log."""

    name = "tenants"
    default = True
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Connect what follows changes of tenants and tokens; name the pages for the menus."""
        from tenants import menus, signals

        signals.connect()
        menus.register()


class OperatorAdminConfig(admin_apps.AdminConfig):
    """Django's admin, on the site that works across tenants (instead of django.contrib.admin)."""

    default = False
    default_site = "tenants.admin_site.OperatorAdminSite"
