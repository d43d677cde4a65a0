"""Small makers of tenants, people and tokens; everything not given has a plain default."""

from __future__ import annotations

import re
from itertools import count
from typing import Any

from django.test import Client
from django.utils import timezone

from tenants.deletion import PAUSE, request_deletion
from tenants.models import ApiToken, Membership, Role, Scope, Tenant, User
from tenants.tokens import issue_token

PASSWORD = "a long enough password"

_numbers = count(1)


def make_tenant(**fields: Any) -> Tenant:
    """Store a tenant with names of its own."""
    number = next(_numbers)
    return Tenant.objects.create(
        **{"name": f"Tenant {number}", "slug": f"tenant-{number}", **fields}
    )


def make_person(**fields: Any) -> User:
    """Store a person who signs in with PASSWORD."""
    fields = {"email": f"person-{next(_numbers)}@example.com", "password": PASSWORD, **fields}
    return User.objects.create_user(**fields)


def make_member(tenant: Tenant, role: Role = Role.VIEWER, **fields: Any) -> User:
    """Store a person with `role` in `tenant`."""
    user = make_person(**fields)
    Membership.objects.create(tenant=tenant, user=user, role=role)
    return user


def make_token(tenant: Tenant, *scopes: Scope, **fields: Any) -> tuple[ApiToken, str]:
    """Store a token with `scopes` (default: all) and return it with its secret."""
    return issue_token(tenant, name="test", scopes=[*(scopes or Scope)], **fields)


def signed_in_as(user: User, **options: Any) -> Client:
    """Return a browser in which `user` is signed in."""
    client = Client(**options)
    client.force_login(user)
    return client


def make_operator(**fields: Any) -> User:
    """Store an operator of the installation, who may change everything in the admin."""
    return make_person(is_staff=True, is_superuser=True, **fields)


def without_csrf(page: str) -> str:
    """Return a page's text without the tokens that differ each time, to compare two pages."""
    return re.sub(r"\b[A-Za-z0-9]{64}\b", "", page)


def mark_long_ago(tenant: Tenant) -> None:
    """Ask for a tenant's deletion so long ago that it begins now."""
    request_deletion(tenant)
    Tenant.objects.filter(pk=tenant.pk).update(deletion_requested_at=timezone.now() - PAUSE)
