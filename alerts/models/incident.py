"""Open problems that somebody may need to know, and what happened to each."""

from __future__ import annotations

import datetime as dt
from typing import Final

from django.conf import settings
from django.db import models

from monitoring.models import Workflow
from monitoring.words import Severity
from tenants.models import Tenant
from tenants.scoping import TenantManager

FINDINGS: Final = "findings"
"""The rule of incidents that say what a scan found; all others say what goes wrong now."""


class IncidentQuerySet(models.QuerySet["Incident"]):
    def unresolved(self) -> IncidentQuerySet:
        """Incidents that are not resolved: open, acknowledged and snoozed ones."""
        return self.exclude(status=Incident.Status.RESOLVED)

    def open_first(self) -> IncidentQuerySet:
        """What goes wrong now, what scans found, what is over; open ones first, newest news first."""
        rank = models.Case(
            models.When(status=Incident.Status.RESOLVED, then=4),
            models.When(rule=FINDINGS, status=Incident.Status.OPEN, then=2),
            models.When(rule=FINDINGS, then=3),
            models.When(status=Incident.Status.OPEN, then=0),
            default=1,
        )
        return self.annotate(rank=rank).order_by("rank", "-last_at", "-id")


class Incident(models.Model):
    """One problem, opened by a rule about a subject ("workflow:7", "schedule:2").

    A constraint of the database keeps it the only unresolved one of its rule and subject. `count` is
    what the rule counts (failures since `counted_from`, the first of them at `first_at`; times that a
    scan found it). `suppressed`
    says why nobody is told; "" means somebody is. `told_at` and `told_count` are of the last message
    that it is a problem; with `told_over`, people have heard since then that it is over.
    """

    class Status(models.TextChoices):
        OPEN = "open", "Open"
        ACKNOWLEDGED = "acknowledged", "Acknowledged"
        SNOOZED = "snoozed", "Snoozed"
        RESOLVED = "resolved", "Resolved"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    rule = models.CharField(max_length=40)
    subject = models.CharField(max_length=80)
    workflow = models.ForeignKey(Workflow, on_delete=models.CASCADE, null=True, related_name="+")
    status = models.CharField(max_length=12, choices=Status, default=Status.OPEN)
    severity = models.PositiveSmallIntegerField(
        choices=[(each.value, each.slug) for each in Severity]
    )
    title = models.TextField()
    detail = models.TextField(default="")
    count = models.PositiveIntegerField(default=0)
    counted_from = models.DateTimeField(null=True)
    suppressed = models.TextField(default="")
    told_at = models.DateTimeField(null=True)
    told_count = models.PositiveIntegerField(default=0)
    told_over = models.BooleanField(default=False)
    first_at = models.DateTimeField(null=True)
    opened_at = models.DateTimeField()
    last_at = models.DateTimeField()
    acknowledged_at = models.DateTimeField(null=True)
    acknowledged_by = models.CharField(max_length=255, default="")
    resolved_at = models.DateTimeField(null=True)
    resolved_by = models.CharField(max_length=255, default="")

    objects = TenantManager.from_queryset(IncidentQuerySet)()

    class Meta:
        db_table = "alerts_incident"
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "rule", "subject"],
                condition=~models.Q(status="resolved"),
                name="one_unresolved_incident_of_subject",
            ),
        ]
        indexes = [
            models.Index(fields=["tenant", "status", "-last_at"], name="incident_by_status"),
            models.Index(fields=["tenant", "-id"], name="incident_of_tenant"),
            models.Index(fields=["workflow", "-id"], name="incident_of_workflow"),
            models.Index(
                fields=["resolved_at"],
                condition=models.Q(resolved_at__isnull=False),
                name="incident_by_age",
            ),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def is_resolved(self) -> bool:
        return self.status == self.Status.RESOLVED

    @property
    def since(self) -> dt.datetime:
        """When it began; people are told of it later, when it is a problem."""
        return self.first_at or min(self.opened_at, self.last_at)

    @property
    def level(self) -> Severity:
        return Severity(self.severity)


class IncidentEvent(models.Model):
    """One line of an incident's timeline; `by` is a person, "" the product itself."""

    class Kind(models.TextChoices):
        OPENED = "opened", "Opened"
        REOPENED = "reopened", "Opened again"
        WORSE = "worse", "Got worse"
        SUPPRESSED = "suppressed", "Nobody is told"
        TOLD = "told", "Told"
        ACKNOWLEDGED = "acknowledged", "Acknowledged"
        RESOLVED = "resolved", "Resolved"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    incident = models.ForeignKey(Incident, on_delete=models.CASCADE, related_name="events")
    at = models.DateTimeField()
    kind = models.CharField(max_length=12, choices=Kind)
    text = models.TextField(default="")
    by = models.CharField(max_length=255, default="")
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )

    objects = TenantManager["IncidentEvent"]()

    class Meta:
        db_table = "alerts_incidentevent"
        ordering = ["at", "id"]

    def __str__(self) -> str:
        return f"{self.kind} {self.text}"
