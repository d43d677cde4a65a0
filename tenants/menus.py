"""This app's entries in the menus."""

from tenants.navigation import Page, register_page
from tenants.roles import Role
from tenants.settings_menu import register_setting_page


def register() -> None:
    """Add Settings to the menu, and the pages under it."""
    register_page(Page("settings", "Settings", "settings", "t", 90, Role.ADMIN))
    register_setting_page(Page("tokens", "Tokens", "key", "", 10, Role.ADMIN))
    register_setting_page(Page("members", "Members", "user", "", 20, Role.OWNER))
    register_setting_page(Page("tenant-settings", "Tenant", "building", "", 80, Role.OWNER))
    register_setting_page(Page("audit", "Audit", "book", "", 90, Role.ADMIN))
