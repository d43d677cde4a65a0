"""The pages of the menu: each app registers its own, so that menus show only what exists."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest
from django.urls import reverse

from tenants.memberships import memberships_of
from tenants.models import Membership, User
from tenants.roles import Role

__all__ = ["LAST_TENANT", "MenuEntry", "Page", "menu_for", "place_of", "register_page"]

LAST_TENANT = "last_tenant"
"""Key of the session under which the id of the tenant seen last is kept."""


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


def place_of(request: HttpRequest) -> Membership | None:
    """Return whose menu the page shows: the request's tenant, else the one the person was last in.

    Pages that belong to no tenant (account, API) would otherwise be a dead end. None for somebody
    who belongs to none, to several without having seen one, or to one that is suspended.
    """
    membership: Membership | None = getattr(request, "membership", None)
    user = getattr(request, "user", None)
    if membership is not None or not isinstance(user, User):
        return membership
    mine = memberships_of(user)
    last = request.session.get(LAST_TENANT)
    found = mine[0] if len(mine) == 1 else next((m for m in mine if m.tenant_id == last), None)
    return found if found is not None and not found.tenant.is_suspended else None


def menu_for(request: HttpRequest, membership: Membership | None) -> list[MenuEntry]:
    """Return the pages of the membership's tenant that the person may see."""
    if membership is None:
        return []
    seen = sorted((p for p in _pages.values() if membership.may(p.role)), key=lambda p: p.rank)
    urls = {p.view_name: reverse(p.view_name, args=[membership.tenant.slug]) for p in seen}
    current = max((u for u in urls.values() if request.path.startswith(u)), key=len, default=None)
    return [
        MenuEntry(p.label, p.icon, p.key, urls[p.view_name], urls[p.view_name] == current)
        for p in seen
    ]
