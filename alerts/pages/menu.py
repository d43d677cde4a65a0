"""Alerts in the menu, on the overview and on a workflow's page."""

from __future__ import annotations

from alerts.pages import workflow_tab
from monitoring.panels import Panel, Place, Tab, register_panel, register_tab
from tenants.navigation import Page, register_page


def register() -> None:
    """Add alerts' pages, panels and tabs."""
    register_page(Page("alerts:inbox", "Alerts", "bell", key="a", rank=45))
    register_panel(Place.OVERVIEW, Panel("incidents", workflow_tab.open_incidents, rank=10))
    register_tab(Place.WORKFLOW, Tab("alerts", "Alerts", workflow_tab.tab, rank=60))
