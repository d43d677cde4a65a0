"""Making environments."""

from __future__ import annotations

import itertools

from django.db import IntegrityError, transaction
from django.utils.text import slugify

from monitoring.models import Environment
from monitoring.recording.environments import DEFAULT_SLUG, forget_environments
from tenants.models import Tenant

_LONGEST_SLUG = 64
_TRIES = 10


def create_environment(tenant: Tenant, *, name: str, provider: str, base_url: str) -> Environment:
    """Store an environment under a short name that is free in the tenant; run in its scope."""
    stem = slugify(name)[: _LONGEST_SLUG - 8] or "environment"
    for _ in range(_TRIES):
        slug = _free_slug(stem)
        try:
            with transaction.atomic():
                made = Environment.objects.create(
                    tenant=tenant, name=name, slug=slug, provider=provider, base_url=base_url
                )
        except IntegrityError:  # somebody took it in this moment
            continue
        transaction.on_commit(lambda: forget_environments(tenant.pk))
        return made
    raise RuntimeError(f"Others took a short name like {stem!r} {_TRIES} times in a row.")


def _free_slug(stem: str) -> str:
    """The stem, or the stem with the first number from 2 on that is free."""
    like = Environment.objects.filter(slug__startswith=stem).values_list("slug", flat=True)
    taken = {DEFAULT_SLUG, *like}
    candidates = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
    return next(slug for slug in candidates if slug not in taken)


def environment_choices(tenant: Tenant) -> list[tuple[int, str]]:
    """List a tenant's environments for forms, as (id, name); run in its scope."""
    return list(Environment.objects.values_list("pk", "name"))
