"""A connected instance of a provider."""

from __future__ import annotations

from django.db import models

from tenants.models import Tenant
from tenants.scoping import TenantManager


class Environment(models.Model):
    """One n8n instance, GoHighLevel location or Python service of a tenant.

    Every tenant has one built-in `default` environment for what is pushed without naming another.
    """

    class Provider(models.TextChoices):
        N8N = "n8n", "n8n"
        GOHIGHLEVEL = "gohighlevel", "GoHighLevel"
        PYTHON = "python", "Python"
        FLOWWATCH = "flowwatch", "Flowwatch"
        OTHER = "other", "Other"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="environments")
    name = models.CharField(max_length=255)
    slug = models.SlugField(max_length=64)
    provider = models.CharField(max_length=16, choices=Provider, default=Provider.OTHER)
    base_url = models.URLField(max_length=500, blank=True)
    is_default = models.BooleanField(default=False, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantManager["Environment"]()

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "slug"], name="environment_slug_of_tenant"),
            models.UniqueConstraint(
                fields=["tenant"],
                condition=models.Q(is_default=True),
                name="environment_one_default_of_tenant",
            ),
        ]

    def __str__(self) -> str:
        return self.name
