"""What has to be looked at because something happened."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from monitoring.models import Workflow
from scheduling.models.due import DueRow, due_index
from tenants.scoping import TenantManager


class Check(DueRow):
    """Whether a workflow's failures are a problem; one row, however many executions changed.

    While an incident is open nothing is urgent: then it is not looked at before `calm_until`.
    `asked` counts how often it was made due while it was not: who looks sees whether it was meanwhile.
    """

    workflow = models.OneToOneField(Workflow, on_delete=models.CASCADE, related_name="+")
    calm_until = models.DateTimeField(null=True)
    asked = models.BigIntegerField(default=0)

    objects = TenantManager["Check"]()

    class Meta:
        db_table = "alerts_check"
        indexes = [due_index("alert_check_due")]

    def __str__(self) -> str:
        return f"check of workflow {self.workflow_id}"


class ScanNews(DueRow):
    """A scan that ended (completed or failed) and that people may want to hear of.

    It is settled in steps: `position` is the last `ScannedWorkflow` that was looked at. What its one
    message will say is gathered in ids of incidents: `opened`, `known` (open before), `resolved`.
    """

    scan_id = models.BigIntegerField(unique=True)
    status = models.CharField(max_length=12)
    position = models.BigIntegerField(default=0)
    opened = ArrayField(models.BigIntegerField(), default=list)
    known = ArrayField(models.BigIntegerField(), default=list)
    resolved = ArrayField(models.BigIntegerField(), default=list)
    settled_at = models.DateTimeField(null=True)

    objects = TenantManager["ScanNews"]()

    class Meta:
        db_table = "alerts_scannews"
        indexes = [
            due_index("alert_scan_due"),
            models.Index(fields=["settled_at"], name="alert_scan_settled"),
        ]

    def __str__(self) -> str:
        return f"news of scan {self.scan_id}"
