"""What every template knows about the person who looks."""

from __future__ import annotations

from dataclasses import dataclass

from django.http import HttpRequest

from tenants.models import Membership, Role


@dataclass(frozen=True, slots=True)
class May:
    """What the person may do in the request's tenant, for templates: `{% if may.admin %}`."""

    operator: bool
    admin: bool
    owner: bool


def person(request: HttpRequest) -> dict[str, May]:
    """Give templates `may`; all False outside a tenant."""
    membership: Membership | None = getattr(request, "membership", None)
    roles = (Role.OPERATOR, Role.ADMIN, Role.OWNER)
    return {"may": May(*(membership is not None and membership.may(role) for role in roles))}
