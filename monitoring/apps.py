from django.apps import AppConfig


class MonitoringConfig(AppConfig):
    """What ran: executions, their nodes, errors and numbers."""

    name = "monitoring"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Add monitoring's part to what the lower app composes: a tenant's export, end and menu."""
        from monitoring import deletion, environments, tenant_data
        from monitoring.pages import menu
        from tenants import registry

        registry.register_exporter("environments", tenant_data.environment_records)
        registry.register_exporter("workflows", tenant_data.workflow_records)
        registry.register_exporter("workflow_versions", tenant_data.version_records)
        registry.register_exporter("executions", tenant_data.execution_records)
        registry.register_exporter("days", tenant_data.day_records)
        registry.register_exporter("error_groups", tenant_data.error_group_records)
        registry.register_exporter("saved_views", tenant_data.view_records)
        registry.register_deleter(deletion.delete_tenant_step)
        registry.register_environments(environments.environment_choices)
        menu.register()
