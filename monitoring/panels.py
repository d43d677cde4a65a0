"""Points where higher apps add to monitoring's pages, which know nothing of them.

A panel is a card on a page, a tab a view of its own on it (`?tab=<key>`). An app registers both in
`AppConfig.ready`: a function gets the request and the page's subject (the tenant on the overview, a
workflow, an execution) and returns a template's name with its context, or None where it has nothing
to say. The template finds that context as `panel`, beside `request`; it runs in the tenant's scope.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tenants.requests import TenantRequest
from tenants.roles import Role


class Place(enum.Enum):
    """A page that takes panels and tabs; its subject is a Tenant, a Workflow, an Execution.

    UPLOAD is what stands below the definitions that a tenant has just uploaded."""

    OVERVIEW = "overview"
    WORKFLOW = "workflow"
    EXECUTION = "execution"
    UPLOAD = "upload"


@dataclass(frozen=True, slots=True)
class Part:
    """What a panel or tab shows."""

    template: str
    context: Mapping[str, Any]


MakePart = Callable[[TenantRequest, Any], Part | None]


@dataclass(frozen=True, slots=True)
class Panel:
    """A card on a page; panels stand in ascending `rank`, seen by members with `role`."""

    key: str
    make: MakePart
    rank: int
    role: Role = Role.VIEWER


@dataclass(frozen=True, slots=True)
class Tab:
    """A view of a page's subject; `make` runs only when it is open, None there is a 404."""

    key: str
    label: str
    make: MakePart
    rank: int
    role: Role = Role.VIEWER


_panels: dict[Place, dict[str, Panel]] = {place: {} for place in Place}
_tabs: dict[Place, dict[str, Tab]] = {place: {} for place in Place}


def register_panel(place: Place, panel: Panel) -> None:
    """Add `panel` to a page; raise ValueError when its key is taken."""
    _add(_panels[place], panel.key, panel)


def register_tab(place: Place, tab: Tab) -> None:
    """Add `tab` to a page; raise ValueError when its key is taken."""
    _add(_tabs[place], tab.key, tab)


def _add(registered: dict[str, Any], key: str, item: Panel | Tab) -> None:
    if registered.get(key, item) != item:
        raise ValueError(f"There is a {type(item).__name__.lower()} {key!r} already.")
    registered[key] = item


def panels_at(place: Place, request: TenantRequest, subject: Any) -> list[Part]:
    """Return what the registered panels show for `subject` to this member, in order."""
    seen = sorted(
        (panel for panel in _panels[place].values() if request.membership.may(panel.role)),
        key=lambda panel: panel.rank,
    )
    parts = (panel.make(request, subject) for panel in seen)
    return [part for part in parts if part is not None]


def tabs_at(place: Place, request: TenantRequest) -> list[Tab]:
    """Return the tabs that this member may open, in order."""
    return sorted(
        (tab for tab in _tabs[place].values() if request.membership.may(tab.role)),
        key=lambda tab: tab.rank,
    )
