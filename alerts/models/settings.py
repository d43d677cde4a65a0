"""What a tenant wants to be told, and where."""

from __future__ import annotations

import datetime as dt
from typing import Final

from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models

from monitoring.models import Workflow
from monitoring.words import ErrorClass, Severity, severity_of
from tenants.models import Tenant
from tenants.scoping import TenantManager

MOST_ADDRESSES: Final = 20
LONGEST_WINDOW_HOURS: Final = 24 * 30
HIGHEST_THRESHOLD: Final = 1_000
OLD_SECRET_HOLDS: Final = dt.timedelta(hours=24)


def _between(low: int, high: int) -> list[MinValueValidator | MaxValueValidator]:
    return [MinValueValidator(low), MaxValueValidator(high)]


class AlertSettings(models.Model):
    """One row for a tenant; without one the defaults hold (requirements 000 and 001).

    `webhook_secret_before` signs beside the present one for a day after it was renewed.
    """

    tenant = models.OneToOneField(Tenant, on_delete=models.CASCADE, related_name="+")
    enabled = models.BooleanField(default=True)
    failure_threshold = models.PositiveSmallIntegerField(
        default=3, validators=_between(1, HIGHEST_THRESHOLD)
    )
    time_window_hours = models.PositiveSmallIntegerField(
        default=24, validators=_between(1, LONGEST_WINDOW_HOURS)
    )
    alert_on_critical = models.BooleanField(default=True)
    alert_on_warning = models.BooleanField(default=True)
    alert_on_info = models.BooleanField(default=False)
    alert_on_scan = models.BooleanField(default=True)
    repeat_minutes = models.PositiveSmallIntegerField(default=60, validators=_between(5, 24 * 60))
    emails = ArrayField(models.EmailField(max_length=254), default=list, size=MOST_ADDRESSES)
    webhook_url = models.TextField(default="")
    webhook_secret = models.TextField(default="")
    webhook_secret_before = models.TextField(default="")
    webhook_secret_renewed_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TenantManager["AlertSettings"]()

    class Meta:
        db_table = "alerts_settings"

    def __str__(self) -> str:
        return f"alert settings of {self.tenant_id}"

    def tells(self, severity: Severity) -> bool:
        """Whether problems of that severity are told at all."""
        return {
            Severity.CRITICAL: self.alert_on_critical,
            Severity.WARNING: self.alert_on_warning,
            Severity.INFO: self.alert_on_info,
        }[severity]

    @property
    def window(self) -> dt.timedelta:
        return dt.timedelta(hours=self.time_window_hours)

    @property
    def repeat_after(self) -> dt.timedelta:
        return dt.timedelta(minutes=self.repeat_minutes)

    def signing_secrets(self, now: dt.datetime) -> list[str]:
        """What a message to the webhook is signed with at that time, the newest first."""
        secrets = [self.webhook_secret]
        renewed = self.webhook_secret_renewed_at
        if self.webhook_secret_before and renewed and now < renewed + OLD_SECRET_HOLDS:
            secrets.append(self.webhook_secret_before)
        return secrets


class WorkflowPreference(models.Model):
    """What is different for one workflow; null and empty mean "as the tenant's"."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    workflow = models.OneToOneField(Workflow, on_delete=models.CASCADE, related_name="+")
    enabled = models.BooleanField(null=True)
    failure_threshold = models.PositiveSmallIntegerField(
        null=True, validators=_between(1, HIGHEST_THRESHOLD)
    )
    emails = ArrayField(models.EmailField(max_length=254), default=list, size=MOST_ADDRESSES)

    objects = TenantManager["WorkflowPreference"]()

    class Meta:
        db_table = "alerts_workflowpreference"

    def __str__(self) -> str:
        return f"alert preference of workflow {self.workflow_id}"

    @property
    def says_nothing(self) -> bool:
        """Whether everything is as the tenant's."""
        return self.enabled is None and self.failure_threshold is None and not self.emails


class SeverityOverride(models.Model):
    """How bad a tenant finds one class of errors."""

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    error_class = models.PositiveSmallIntegerField(
        choices=[(each.value, each.label) for each in ErrorClass]
    )
    severity = models.PositiveSmallIntegerField(
        choices=[(each.value, each.slug) for each in Severity]
    )

    objects = TenantManager["SeverityOverride"]()

    class Meta:
        db_table = "alerts_severityoverride"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "error_class"], name="severity_of_class_once_in_tenant"
            ),
        ]

    def __str__(self) -> str:
        return f"{ErrorClass(self.error_class).label}: {Severity(self.severity).slug}"


def severities() -> dict[ErrorClass, Severity]:
    """How bad each class of errors is for the tenant of the active scope."""
    own = dict(SeverityOverride.objects.values_list("error_class", "severity"))
    return {each: Severity(own.get(each, severity_of(each))) for each in ErrorClass}
