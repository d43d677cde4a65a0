from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    """What ran: executions, their nodes, errors and numbers."""

    name = "monitoring"
    default_auto_field = "django.db.models.BigAutoField"
