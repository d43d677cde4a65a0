"""Who signs in, and who a session belongs to (AUTHENTICATION_BACKENDS)."""

from __future__ import annotations

from typing import Any, Final

from django.contrib.auth.backends import ModelBackend
from django.db import connection

from tenants.memberships import remember_memberships
from tenants.models import Membership, Tenant, User
from tenants.rows import columns_of, made, names_of


class PersonBackend(ModelBackend):
    """Django's, but one statement reads a session's person with all memberships and tenants."""

    def get_user(self, user_id: Any) -> User | None:
        """The person, unless switched off; `memberships_of` then asks nothing more."""
        with connection.cursor() as cursor:
            cursor.execute(_statement(), [user_id])
            rows = cursor.fetchall()
        if not rows:
            return None
        first, second = len(names_of(User)), len(names_of(User)) + len(names_of(Membership))
        user = made(User, rows[0][:first])
        if not self.user_can_authenticate(user):
            return None
        memberships = []
        for row in rows:
            if row[first] is None:  # a member of nothing
                continue
            membership = made(Membership, row[first:second])
            membership.user, membership.tenant = user, made(Tenant, row[second:])
            memberships.append(membership)
        remember_memberships(user, memberships)
        return user


def _statement() -> str:
    return _PERSON.format(
        user=columns_of(User, "u"),
        membership=columns_of(Membership, "m"),
        tenant=columns_of(Tenant, "t"),
    )


_PERSON: Final = """
SELECT {user}, {membership}, {tenant} FROM tenants_user u
LEFT JOIN (tenants_membership m JOIN tenants_tenant t ON t.id = m.tenant_id) ON m.user_id = u.id
    AND t.deletion_requested_at IS NULL
WHERE u.id = %s ORDER BY t.name, t.id"""
