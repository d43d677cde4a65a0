"""A question about executions that the members of a tenant keep under a name."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from tenants.models import Tenant
from tenants.scoping import TenantManager


class SavedView(models.Model):
    """The filters and the time range of the list of executions, as its address writes them."""

    LONGEST_QUERY = 2_000
    MOST = 100
    """Views that a tenant may have."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    name = models.CharField(max_length=80)
    query = models.CharField(max_length=LONGEST_QUERY)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantManager["SavedView"]()

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="saved_view_once"),
        ]

    def __str__(self) -> str:
        return self.name
