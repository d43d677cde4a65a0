"""Groups of like errors: what searching error texts looks through."""

from __future__ import annotations

from django.db import models

from monitoring.words import ErrorClass
from tenants.models import Tenant
from tenants.scoping import TenantManager


class ErrorGroup(models.Model):
    """Failures with the same fingerprint (`recording.fingerprint`).

    `title` is the masked text that all of them share, `sample` the first message that was seen.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    fingerprint = models.BinaryField()
    title = models.TextField()
    sample = models.TextField()
    error_class = models.SmallIntegerField(choices=[(c.value, c.slug) for c in ErrorClass])
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantManager["ErrorGroup"]()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "fingerprint"],
                name="errorgroup_fingerprint_of_tenant",
            )
        ]

    def __str__(self) -> str:
        return self.title
