"""How much of its quota a tenant has used."""

from __future__ import annotations

from django.db import models

from tenants.models import Tenant
from tenants.scoping import TenantManager


class QuotaUse(models.Model):
    """A bucket that leaks: messages that were taken at `at` and are not forgotten yet."""

    tenant = models.OneToOneField(
        Tenant, on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    level = models.FloatField()
    at = models.DateTimeField()

    objects = TenantManager["QuotaUse"]()

    class Meta:
        db_table = "monitoring_quotause"

    def __str__(self) -> str:
        return f"{self.level:.0f} messages"
