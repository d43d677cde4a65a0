from django.apps import AppConfig


class AlertsConfig(AppConfig):
    """Who must know: rules, incidents, channels, deliveries."""

    name = "alerts"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register kinds, subscriptions, pages and panels, and enter the API's operations."""
        from alerts import kinds, subscriptions  # noqa: F401 - importing subscribes
        from alerts.api import urls  # noqa: F401 - importing enters
        from alerts.pages import menu

        kinds.register()
        menu.register()
