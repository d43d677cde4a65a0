"""Monitoring's pages in the menu and under a tenant's settings."""

from __future__ import annotations

from monitoring.pages import definitions, workflow
from tenants.models import Role
from tenants.navigation import Page, register_page
from tenants.settings_menu import register_setting_page


def register() -> None:
    """Add monitoring's pages to every tenant's menu and settings, and its tabs to its own pages."""
    register_page(Page("monitoring:overview", "Overview", "overview", key="o", rank=10))
    register_page(Page("monitoring:executions", "Executions", "executions", key="e", rank=20))
    register_page(Page("monitoring:workflows", "Workflows", "workflows", key="w", rank=30))
    register_setting_page(
        Page(
            "monitoring:environments", "Environments", "workflows", key="", rank=30, role=Role.ADMIN
        )
    )
    register_setting_page(
        Page("monitoring:retention", "Retention", "clock", key="", rank=35, role=Role.ADMIN)
    )
    register_setting_page(
        Page("monitoring:quota", "Quota", "chart", key="", rank=37, role=Role.ADMIN)
    )
    register_setting_page(
        Page("monitoring:connect-python", "Connect Python", "key", key="", rank=15)
    )
    workflow.register_tabs()
    definitions.register_tabs()
