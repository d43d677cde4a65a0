"""Messages on their way: what is told to whom, and every try."""

from __future__ import annotations

import uuid
from typing import Final

from django.db import models

from alerts.models.incident import Incident
from scheduling.models.due import DueRow, due_index
from tenants.models import Tenant
from tenants.scoping import TenantManager

SAID_LENGTH: Final = 500
"""Characters that are kept of what a receiver said."""


class Target(DueRow):
    """One address of one channel. It is the due row, so that a receiver that hangs holds nobody
    else's messages, and the place where messages are limited and grouped.

    `failing_since`: every try since then failed. `switched_off_at`: that went on for too long; it gets
    nothing until somebody switches it on again (`alerts.health`).
    """

    channel = models.CharField(max_length=20)
    address = models.TextField()
    failing_since = models.DateTimeField(null=True)
    switched_off_at = models.DateTimeField(null=True)

    objects = TenantManager["Target"]()

    class Meta:
        db_table = "alerts_target"
        ordering = ["channel", "address"]
        indexes = [due_index("alert_target_due")]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "channel", "address"], name="target_once_in_tenant"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.address}"


class Notification(models.Model):
    """One message to one target. `key` is its id for receivers and stays the same on every try.

    `content` is `alerts.message.Message`. `reason` says why it is suppressed or given up. A message
    that went out as part of a summary has that as `summary`, and its fate. Without a target nobody
    could be told: it is suppressed.
    """

    class Kind(models.TextChoices):
        OPENED = "opened", "New"
        REPEATED = "repeated", "Still going on"
        WORSE = "worse", "Got worse"
        REOPENED = "reopened", "Again"
        RESOLVED = "resolved", "Resolved"
        SCAN = "scan", "Scan"
        SUMMARY = "summary", "Summary"
        OFF = "off", "Switched off"
        TEST = "test", "Test"

    class State(models.TextChoices):
        PENDING = "pending", "Pending"
        SENT = "sent", "Sent"
        FAILED = "failed", "Failed"
        SUPPRESSED = "suppressed", "Suppressed"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    key = models.UUIDField(default=uuid.uuid4, unique=True, editable=False)
    incident = models.ForeignKey(
        Incident, on_delete=models.CASCADE, null=True, related_name="notifications"
    )
    target = models.ForeignKey(
        Target, on_delete=models.CASCADE, null=True, related_name="notifications"
    )
    summary = models.ForeignKey(
        "self", on_delete=models.SET_NULL, null=True, related_name="summed_up"
    )
    kind = models.CharField(max_length=10, choices=Kind)
    state = models.CharField(max_length=10, choices=State, default=State.PENDING)
    reason = models.TextField(default="")
    content = models.JSONField()
    tries = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField()
    next_try_at = models.DateTimeField(null=True)
    sent_at = models.DateTimeField(null=True)

    objects = TenantManager["Notification"]()

    class Meta:
        db_table = "alerts_notification"
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["target", "next_try_at"],
                condition=models.Q(state="pending", summary__isnull=True),
                name="notification_waiting",
            ),
            models.Index(fields=["tenant", "-id"], name="notification_of_tenant"),
            models.Index(fields=["incident", "id"], name="notification_of_incident"),
            models.Index(fields=["summary"], name="notification_of_summary"),
            models.Index(fields=["created_at"], name="notification_by_age"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.key}"


class Attempt(models.Model):
    """One try to deliver a message. `reached`: the receiver may have got it, so it counts against
    the limits of its target. `status` is the receiver's code (HTTP, SMTP), null: none came.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    notification = models.ForeignKey(
        Notification, on_delete=models.CASCADE, related_name="attempts"
    )
    target = models.ForeignKey(Target, on_delete=models.CASCADE, related_name="+")
    at = models.DateTimeField()
    latency_ms = models.PositiveIntegerField()
    is_delivered = models.BooleanField()
    reached = models.BooleanField()
    status = models.PositiveSmallIntegerField(null=True)
    said = models.TextField(default="")

    objects = TenantManager["Attempt"]()

    class Meta:
        db_table = "alerts_attempt"
        ordering = ["at", "id"]
        indexes = [
            models.Index(fields=["target", "-at"], name="attempt_of_target"),
            models.Index(fields=["notification", "id"], name="attempt_of_notification"),
        ]

    def __str__(self) -> str:
        return f"{self.at:%H:%M:%S} {self.status}"
