from django.apps import AppConfig


class SchedulingConfig(AppConfig):
    """When it must be looked at: due rows, schedules, scans, the linter."""

    name = "scheduling"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the kinds of due rows, and what all pages say when nobody works on them."""
        from scheduling import kinds, status
        from tenants.notices import register_notice

        kinds.register()
        register_notice(status.watch.notice)
