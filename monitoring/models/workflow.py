"""One automation, known by its external id inside an environment."""

from __future__ import annotations

from django.db import models

from monitoring.models.environment import Environment
from tenants.models import Tenant
from tenants.scoping import TenantManager


class WorkflowQuerySet(models.QuerySet["Workflow"]):
    def named_like(self, text: str) -> WorkflowQuerySet:
        """Workflows whose name or external id contains `text`, whatever the case."""
        return self.filter(models.Q(name__icontains=text) | models.Q(external_id__icontains=text))


class Workflow(models.Model):
    """An automation with its all-time statistics.

    The statistics hold what has been folded; `metrics.statistics` adds the deltas that are not
    folded yet, so read them through it. Durations are of finished executions, in milliseconds.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="workflows")
    environment = models.ForeignKey(Environment, on_delete=models.CASCADE, related_name="workflows")
    external_id = models.CharField(max_length=255)
    name = models.CharField(max_length=255)
    # Order key of the message that gave the name (recording.order): the greatest one wins.
    name_key = models.BinaryField(default=b"", editable=False)
    execution_count = models.BigIntegerField(default=0, editable=False)
    success_count = models.BigIntegerField(default=0, editable=False)
    failure_count = models.BigIntegerField(default=0, editable=False)
    partial_count = models.BigIntegerField(default=0, editable=False)
    duration_sum_ms = models.DecimalField(
        max_digits=30, decimal_places=0, default=0, editable=False
    )
    duration_count = models.BigIntegerField(default=0, editable=False)
    last_executed_at = models.DateTimeField(null=True, editable=False)
    # What its definition says (monitoring.definitions); null: no definition, or one that doesn't say.
    is_active = models.BooleanField(null=True, editable=False)
    # Health as the newest scan saw it (0–100, the penalty 0–20); only monitoring.health writes it.
    structure_score = models.FloatField(null=True, editable=False)
    execution_penalty = models.FloatField(null=True, editable=False)
    health_score = models.FloatField(null=True, editable=False)
    health_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects = TenantManager.from_queryset(WorkflowQuerySet)()

    class Meta:
        ordering = ["name", "id"]
        constraints = [
            models.UniqueConstraint(
                fields=["environment", "external_id"],
                name="workflow_external_id_of_environment",
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "name", "id"], name="workflow_by_name"),
            models.Index(fields=["tenant", "external_id"], name="workflow_by_external_id"),
        ]

    def __str__(self) -> str:
        return self.name
