"""Making environments."""

from __future__ import annotations

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from monitoring.models import Environment
from monitoring.recording.environments import DEFAULT_SLUG, forget_environments
from tenants.models import Tenant

_LONGEST_SLUG = 64
_TRIES = 100


def create_environment(tenant: Tenant, *, name: str, provider: str, base_url: str) -> Environment:
    """Store an environment under a short name that is free in the tenant; run in its scope."""
    stem = slugify(name)[: _LONGEST_SLUG - 4] or "environment"
    for number in range(1, _TRIES):
        slug = stem if number == 1 else f"{stem}-{number}"
        if slug == DEFAULT_SLUG or Environment.objects.filter(slug=slug).exists():
            continue
        try:
            with transaction.atomic():
                made = Environment.objects.create(
                    tenant=tenant, name=name, slug=slug, provider=provider, base_url=base_url
                )
        except IntegrityError:  # somebody took it in this moment
            continue
        transaction.on_commit(lambda: forget_environments(tenant.pk))
        return made
    raise ValueError(f"There are {_TRIES} environments named like {stem!r}.")


def environment_choices(tenant: Tenant) -> list[tuple[int, str]]:
    """List a tenant's environments for forms, as (id, name); run in its scope."""
    return list(Environment.objects.values_list("pk", "name"))
