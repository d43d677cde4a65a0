from django.apps import AppConfig


class SchedulingConfig(AppConfig):
    """When it must be looked at: due rows, schedules, scans, the linter."""

    name = "scheduling"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the kinds of due rows."""
        from scheduling import kinds

        kinds.register()
