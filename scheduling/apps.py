from django.apps import AppConfig


class SchedulingConfig(AppConfig):
    """When it must be looked at: due rows, schedules, scans, the linter."""

    name = "scheduling"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register kinds of due rows, operations of the API, the menu, what pages say of trouble."""
        from scheduling import kinds, retention, status, tenant_data  # noqa: F401 - they register
        from scheduling.api import analysis, scans, schedules  # noqa: F401 - importing enters them
        from scheduling.pages import workflow_tab
        from tenants.navigation import Page, register_page
        from tenants.notices import register_notice

        kinds.register()
        workflow_tab.register()
        tenant_data.register()
        register_page(Page("scheduling:scans", "Scans", "check", key="s", rank=50))
        register_notice(status.watch.notice)
