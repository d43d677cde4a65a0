"""Who belongs where: the questions that look across tenants, for one person at a time."""

from __future__ import annotations

from tenants.models import Membership, User
from tenants.scoping import across_tenants


def memberships_of(user: User) -> list[Membership]:
    """Return the person's memberships with their tenants, by the tenants' names."""
    with across_tenants():
        return list(
            Membership.objects.filter(user=user, tenant__deletion_requested_at=None)
            .select_related("tenant")
            .order_by("tenant__name", "tenant_id")
        )


def membership_in(user: User, slug: str) -> Membership | None:
    """Return the person's membership in the tenant of this slug, if there is one."""
    with across_tenants():
        return (
            Membership.objects.filter(
                user=user, tenant__slug=slug, tenant__deletion_requested_at=None
            )
            .select_related("tenant")
            .first()
        )
