"""Long actions on many executions that go on when the page is left."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from tenants.models import Tenant
from tenants.scoping import TenantManager


class BulkJob(models.Model):
    """One action on all executions that matched a filter when it was asked for.

    `query` is a `history.ExecutionQuery` as JSON, `said` the same for people; what was received after
    `previewed_at`, when its effect was shown, is left alone. The worker goes on
    from `position` (an execution's id) and keeps what it has done; `expected` is unknown where only
    a scan could count.
    """

    class Action(models.TextChoices):
        DELETE = "delete", "Delete"

    class State(models.TextChoices):
        WAITING = "waiting", "Waiting for the worker"
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        CANCELED = "canceled", "Canceled"
        FAILED = "failed", "Failed"

    OPEN = (State.WAITING, State.RUNNING)

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    action = models.CharField(max_length=16, choices=Action)
    query = models.JSONField()
    said = models.TextField()
    previewed_at = models.DateTimeField()
    expected = models.BigIntegerField(null=True)
    done_count = models.BigIntegerField(default=0)
    position = models.UUIDField(null=True)
    state = models.CharField(max_length=16, choices=State, default=State.WAITING)
    problem = models.TextField(default="")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)

    objects = TenantManager["BulkJob"]()

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(
                fields=["changed_at"],
                condition=models.Q(state__in=["waiting", "running"]),
                name="bulkjob_open",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_action_display()}: {self.said}"

    @property
    def is_open(self) -> bool:
        return self.state in self.OPEN
