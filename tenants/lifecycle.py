"""Making tenants, suspending and resuming them."""

from __future__ import annotations

from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone

from tenants import audit
from tenants.models import Tenant
from tenants.tokens import forget_cached_tokens


@transaction.atomic
def create_tenant(
    name: str, slug: str, location_id: str | None = None, *, request: HttpRequest | None = None
) -> Tenant:
    """Store a tenant; raise ValidationError when a name is taken or malformed."""
    tenant = Tenant(name=name.strip(), slug=slug, location_id=location_id)
    tenant.full_clean()
    tenant.save()
    audit.record("tenant.create", tenant=tenant, request=request, subject=tenant.slug)
    return tenant


@transaction.atomic
def suspend(tenant: Tenant, *, request: HttpRequest | None = None) -> None:
    """Shut a tenant out: tokens answer 403 and pages say so, until it is resumed. Data stays."""
    changed = Tenant.objects.filter(pk=tenant.pk, suspended_at=None).update(
        suspended_at=timezone.now()
    )
    if changed:
        audit.record("tenant.suspend", tenant=tenant, request=request, subject=tenant.slug)
        transaction.on_commit(forget_cached_tokens)


@transaction.atomic
def resume(tenant: Tenant, *, request: HttpRequest | None = None) -> None:
    """Let a suspended tenant in again."""
    changed = (
        Tenant.objects.filter(pk=tenant.pk).exclude(suspended_at=None).update(suspended_at=None)
    )
    if changed:
        audit.record("tenant.resume", tenant=tenant, request=request, subject=tenant.slug)
        transaction.on_commit(forget_cached_tokens)


def explain(error: ValidationError) -> str:
    """Return a validation error as one line for a terminal."""
    if not hasattr(error, "error_dict"):
        return " ".join(error.messages)
    return "; ".join(
        f"{field}: {' '.join(messages)}" for field, messages in error.message_dict.items()
    )
