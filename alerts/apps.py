from django.apps import AppConfig


class AlertsConfig(AppConfig):
    """Who must know: rules, incidents, channels, deliveries."""

    name = "alerts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register kinds, subscriptions, pages and panels, and enter the API's operations."""
        from alerts import kinds, retention, subscriptions, tenant_data  # noqa: F401 - they register
        from alerts.api import urls  # noqa: F401 - importing enters
        from alerts.pages import menu

        kinds.register()
        tenant_data.register()
        menu.register()
