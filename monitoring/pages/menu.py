"""Monitoring's pages in the menu and under a tenant's settings."""

from __future__ import annotations


from tenants.navigation import Page, register_page


def register() -> None:
    """Add monitoring's pages to every tenant's menu."""
    register_page(Page("monitoring:overview", "Overview", "overview", key="o", rank=10))
    register_page(Page("monitoring:executions", "Executions", "executions", key="e", rank=20))
    register_page(Page("monitoring:workflows", "Workflows", "workflows", key="w", rank=30))
