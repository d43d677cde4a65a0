"""Running executions that promised to be heard of again and again."""

from __future__ import annotations

from django.db import models

from tenants.models import Tenant
from tenants.scoping import TenantManager


class SignOfLife(models.Model):
    """When a running execution that said `heartbeatSeconds` was heard of last.

    One row while it runs, apart from the execution's own wide row, so that a heartbeat rewrites a few
    bytes. `due_at` is when to look whether it has fallen silent, null once it was marked: no heartbeat
    moves it, so that heartbeats touch no index; whoever looks too early puts it off.
    """

    pk = models.CompositePrimaryKey("tenant_id", "execution_id")
    tenant = models.ForeignKey(
        Tenant, on_delete=models.DO_NOTHING, db_constraint=False, related_name="+"
    )
    execution_id = models.UUIDField()
    seconds = models.IntegerField()
    heard_at = models.DateTimeField()
    due_at = models.DateTimeField(null=True)

    objects = TenantManager["SignOfLife"]()

    class Meta:
        db_table = "monitoring_signoflife"

    def __str__(self) -> str:
        return f"{self.execution_id}, heard of at {self.heard_at}"
