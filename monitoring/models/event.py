"""The outbox: what a state change tells others, committed with it."""

from __future__ import annotations

from django.db import models

from tenants.models import Tenant
from tenants.scoping import TenantManager


class Event(models.Model):
    """One thing that happened, for those who subscribe by `kind`.

    Kinds: `execution.changed` with {"execution", "workflow", "environment", "status", "before"
    (null: created), "error_class", "severity"}. Readers go by state, never by `id > last`: a
    transaction that commits late would be skipped.
    """

    tenant = models.ForeignKey(
        Tenant, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    kind = models.TextField()
    body = models.JSONField()
    created_at = models.DateTimeField()

    objects = TenantManager["Event"]()

    class Meta:
        db_table = "monitoring_event"

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"
