"""Deleting a tenant: marked at once, later emptied in steps by a job that may stop at any moment."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest
from django.utils import timezone

from tenants import audit
from tenants.models import Tenant
from tenants.registry import Deleter, deleters
from tenants.scoping import tenant_scope
from tenants.tokens import forget_cached_tokens

STEP: Final = 1_000
"""Rows that one step of deleting takes."""

PAUSE: Final = timedelta(minutes=5)
"""How old a mark is before the first row is deleted.

What came in before the mark may still be stored: other processes believe a token for a second, a
record waits ten for the writer, workflows are remembered for a minute, a large batch takes longer.
The big tables have no foreign keys, so a row that is stored behind the deletion would stay for ever.
"""


@transaction.atomic
def request_deletion(tenant: Tenant, *, request: HttpRequest | None = None) -> None:
    """Mark `tenant`: from now on no page, no token and no list knows it. There is no way back."""
    changed = (
        Tenant.objects.living().filter(pk=tenant.pk).update(deletion_requested_at=timezone.now())
    )
    if changed:
        audit.record("tenant.delete", tenant=tenant, request=request, subject=tenant.slug)
        transaction.on_commit(forget_cached_tokens)


def rows_of(*models: type[Model]) -> Deleter:
    """Return a deleter of a tenant's rows of some models; what others point at comes last."""

    def delete_step(tenant: Tenant) -> bool:
        for model in models:
            rows = model._default_manager.filter(tenant=tenant)
            ids = list(rows.values_list("pk", flat=True)[:STEP])
            if ids:
                model._default_manager.filter(pk__in=ids).delete()
                return True
        return False

    return delete_step


def delete_marked_tenants_step() -> bool:
    """Delete one step of a tenant's data that was marked `PAUSE` ago; say whether there may be more.

    Data of the higher apps goes first, then members, tokens and the tenant itself. What people did
    stays in the audit log. Safe to repeat and to run twice at once.
    """
    marked = Tenant.objects.marked_for_deletion()
    tenant = marked.filter(deletion_requested_at__lte=timezone.now() - PAUSE).first()
    if tenant is None:
        return False
    with tenant_scope(tenant):
        # A step that found work ends the call, so that the job can renew its lease in between.
        if any(delete_step(tenant) for delete_step in deleters()):
            return True
    _delete_own_rows(tenant.pk)
    return True


@transaction.atomic
def _delete_own_rows(tenant_id: int) -> None:
    tenant = Tenant.objects.select_for_update().filter(pk=tenant_id).first()
    if tenant is None:  # another worker was faster
        return
    audit.record("tenant.deleted", tenant=tenant, actor="worker", subject=tenant.slug)
    tenant.delete()
