"""The pages of the menu: each app registers its own, so that menus show only what exists."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import reverse

from tenants.models import Membership
from tenants.roles import Role

__all__ = ["MenuEntry", "Page", "menu_for", "register_page"]


@dataclass(frozen=True, slots=True)
class Page:
    """A page of a tenant that the menu leads to; its address takes the tenant's slug.

    `key` is pressed after `g` to go there; `icon` is a symbol of `static/icons/sprite.svg`; pages
    stand in ascending `rank`.
    """

    view_name: str
    label: str
    icon: str
    key: str
    rank: int
    role: Role = Role.VIEWER


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """A page of the menu as one request sees it."""

    label: str
    icon: str
    key: str
    url: str
    is_current: bool


_pages: dict[str, Page] = {}


def register_page(page: Page) -> None:
    """Add a page to every tenant's menu; call it in `AppConfig.ready`."""
    _pages[page.view_name] = page


def menu_for(request: HttpRequest) -> list[MenuEntry]:
    """Return the pages that the person may see in the request's tenant; none outside a tenant."""
    membership: Membership | None = getattr(request, "membership", None)
    if membership is None:
        return []
    seen = sorted((p for p in _pages.values() if membership.may(p.role)), key=lambda p: p.rank)
    urls = {p.view_name: reverse(p.view_name, args=[membership.tenant.slug]) for p in seen}
    current = max((u for u in urls.values() if request.path.startswith(u)), key=len, default=None)
    return [
        MenuEntry(p.label, p.icon, p.key, urls[p.view_name], urls[p.view_name] == current)
        for p in seen
    ]
