"""Who belongs where: the questions that look across tenants, for one person at a time."""

from __future__ import annotations

from tenants.models import Membership, User
from tenants.scoping import across_tenants

_KNOWN = "_memberships"


def memberships_of(user: User) -> list[Membership]:
    """Return the person's memberships with their tenants, by the tenants' names.

    They are read once for a user object, which lives as long as its request.
    """
    known: list[Membership] | None = user.__dict__.get(_KNOWN)
    if known is None:
        with across_tenants():
            known = list(
                Membership.objects.filter(user=user, tenant__deletion_requested_at=None)
                .select_related("tenant")
                .order_by("tenant__name", "tenant_id")
            )
        remember_memberships(user, known)
    return known


def remember_memberships(user: User, memberships: list[Membership]) -> None:
    """Let `memberships_of` this user object answer so."""
    user.__dict__[_KNOWN] = memberships


def membership_in(user: User, slug: str) -> Membership | None:
    """Return the person's membership in the tenant of this slug, if there is one."""
    return next((one for one in memberships_of(user) if one.tenant.slug == slug), None)
