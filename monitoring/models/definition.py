"""Versions of workflows' definitions."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from monitoring.models.workflow import Workflow
from tenants.models import Tenant
from tenants.scoping import TenantManager


class WorkflowVersion(models.Model):
    """One state of a workflow's definition, as it was handed in, without its secrets.

    `number` counts from 1 in each workflow. `digest` is the hash of the scrubbed document, whatever
    the order of its keys; `body` is that document as zstd over JSON. `is_active` is what the newest
    delivery of this very definition said. Only `monitoring.definitions` writes this table.
    """

    class Source(models.TextChoices):
        API = "api", "API"
        UPLOAD = "upload", "Upload"
        SYNC = "sync", "Sync"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField()
    digest = models.BinaryField()
    body = models.BinaryField()
    node_count = models.PositiveIntegerField()
    source = models.CharField(max_length=8, choices=Source)
    is_active = models.BooleanField(null=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantManager["WorkflowVersion"]()

    class Meta:
        db_table = "monitoring_workflowversion"
        ordering = ["-number"]
        constraints = [
            models.UniqueConstraint(
                fields=["workflow", "number"], name="version_number_of_workflow"
            ),
        ]

    def __str__(self) -> str:
        return f"version {self.number}"
