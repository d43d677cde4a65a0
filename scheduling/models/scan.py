"""Scans, what they looked at and what they found."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from monitoring.models import Workflow
from monitoring.words import Severity
from scheduling.models.due import DueRow, due_index
from scheduling.models.schedule import Schedule, Scope
from tenants.models import Tenant
from tenants.scoping import TenantManager


class Scan(DueRow):
    """One run of the linter over a scope, or a due time that was missed.

    It is worked in steps from `position` (the id of the last workflow done) and keeps what it has
    done. From the step on that a process did not survive until `careful_until` it takes workflows one
    by one, with `looking_at` kept beforehand: who is found there again is passed over. `summary`:
    {"by_severity": {severity: n}, "by_rule": {rule: n}} and, where there is a scan to compare with,
    {"new": n, "first_seen": n, "fixed": n} (`scheduling.comparison.Difference`).
    """

    class Status(models.TextChoices):
        PENDING = "pending", "Pending"
        RUNNING = "running", "Running"
        COMPLETED = "completed", "Completed"
        FAILED = "failed", "Failed"
        CANCELED = "canceled", "Canceled"
        MISSED = "missed", "Missed"

    OPEN = (Status.PENDING, Status.RUNNING)

    schedule = models.ForeignKey(
        Schedule, on_delete=models.SET_NULL, null=True, related_name="scans"
    )
    # The due time of the schedule that this scan is the run of; null: somebody asked for it.
    due_for = models.DateTimeField(null=True)
    scope = models.CharField(max_length=8, choices=Scope, default=Scope.ALL)
    selected_ids = models.JSONField(default=list)
    status = models.CharField(max_length=9, choices=Status, default=Status.PENDING)
    problem = models.TextField(default="")
    workflow_count = models.PositiveIntegerField(null=True)
    workflows_scanned = models.PositiveIntegerField(default=0)
    issues_found = models.PositiveIntegerField(default=0)
    critical_issues = models.PositiveIntegerField(default=0)
    position = models.BigIntegerField(default=0)
    careful_until = models.BigIntegerField(default=0)
    looking_at = models.BigIntegerField(null=True)
    summary = models.JSONField(default=dict)
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True)
    completed_at = models.DateTimeField(null=True)

    objects = TenantManager["Scan"]()

    class Meta:
        db_table = "scheduling_scan"
        ordering = ["-id"]
        indexes = [
            due_index("scan_due"),
            models.Index(fields=["tenant", "-id"], name="scan_history"),
            models.Index(fields=["created_at"], name="scan_by_age"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["schedule", "due_for"], name="scan_of_due_time"),
            models.UniqueConstraint(
                fields=["schedule"],
                condition=models.Q(status__in=["pending", "running"]),
                name="one_open_scan_of_schedule",
            ),
            models.UniqueConstraint(
                fields=["tenant"],
                condition=models.Q(schedule__isnull=True, status__in=["pending", "running"]),
                name="one_open_scan_without_schedule",
            ),
        ]

    def __str__(self) -> str:
        return f"scan {self.pk}"

    @property
    def is_open(self) -> bool:
        return self.status in self.OPEN


class ScannedWorkflow(models.Model):
    """How one workflow stood in one scan. Scores are 0–100, null without a definition; penalty 0–20."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    scan = models.ForeignKey(Scan, on_delete=models.CASCADE, related_name="workflows")
    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="+")
    version = models.PositiveIntegerField(null=True)
    structure_score = models.FloatField(null=True)
    execution_penalty = models.FloatField()
    health_score = models.FloatField(null=True)
    findings = models.PositiveIntegerField(default=0)
    critical = models.PositiveIntegerField(default=0)
    # What the linter could not do with this definition; null: nothing.
    problem = models.TextField(null=True)

    objects = TenantManager["ScannedWorkflow"]()

    class Meta:
        db_table = "scheduling_scannedworkflow"
        ordering = ["health_score", "id"]
        constraints = [
            models.UniqueConstraint(fields=["scan", "workflow"], name="workflow_once_in_scan"),
        ]
        indexes = [models.Index(fields=["workflow", "-scan"], name="newest_look_at_workflow")]

    def __str__(self) -> str:
        return f"workflow {self.workflow_id} in scan {self.scan_id}"


class Finding(models.Model):
    """One violation of a lint rule that a scan found.

    `fingerprint` is the same for the same violation in another scan, whatever moved around it. `more`
    counts those of the same rule, severity and workflow that have no row of their own.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    scan = models.ForeignKey(Scan, on_delete=models.CASCADE, related_name="findings")
    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, related_name="+")
    rule = models.CharField(max_length=64)
    severity = models.PositiveSmallIntegerField(
        choices=[(each.value, each.slug) for each in Severity]
    )
    node_id = models.CharField(max_length=255, default="")
    node_name = models.CharField(max_length=255, default="")
    message = models.TextField()
    fix = models.TextField(default="")
    evidence = models.TextField(default="")
    fingerprint = models.CharField(max_length=64)
    more = models.PositiveIntegerField(default=0)

    objects = TenantManager["Finding"]()

    class Meta:
        db_table = "scheduling_finding"
        ordering = ["id"]
        indexes = [
            models.Index(fields=["scan", "workflow"], name="finding_of_workflow"),
            models.Index(fields=["scan", "rule"], name="finding_of_rule"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["scan", "workflow", "fingerprint"], name="finding_once_in_scan"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.rule}: {self.message}"

    @property
    def severity_slug(self) -> str:
        return Severity(self.severity).slug
