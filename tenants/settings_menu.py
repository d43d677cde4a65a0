"""The pages under Settings: each app registers its own (as with `tenants.navigation`)."""

from __future__ import annotations

from django.urls import reverse

from tenants.models import Membership
from tenants.navigation import MenuEntry, Page

_pages: dict[str, Page] = {}


def register_setting_page(page: Page) -> None:
    """Add a page under every tenant's Settings; call it in `AppConfig.ready`."""
    _pages[page.view_name] = page


def setting_pages_for(membership: Membership, path: str) -> list[MenuEntry]:
    """Return the settings that the member may see; the one at `path` is current."""
    seen = sorted((p for p in _pages.values() if membership.may(p.role)), key=lambda p: p.rank)
    urls = {p.view_name: reverse(p.view_name, args=[membership.tenant.slug]) for p in seen}
    return [
        MenuEntry(p.label, p.icon, p.key, urls[p.view_name], path.startswith(urls[p.view_name]))
        for p in seen
    ]
