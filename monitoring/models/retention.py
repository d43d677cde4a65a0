"""What retention remembers: how far back raw rows are gone, and what it removed."""

from __future__ import annotations

import datetime as dt
from typing import Final

from django.db import models
from django.utils import timezone

from tenants.models import Tenant
from tenants.scoping import TenantManager

_STEP_AT_MOST: Final = dt.timedelta(minutes=1)


class Seal(models.Model):
    """Raw rows of a tenant that started before `until` (midnight UTC) may be gone, their numbers stay.

    Read and written by `metrics.sealing`.
    """

    tenant = models.OneToOneField(
        Tenant, on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    until = models.DateTimeField()

    objects = TenantManager["Seal"]()

    class Meta:
        db_table = "monitoring_seal"

    def __str__(self) -> str:
        return f"sealed until {self.until}"


class RetentionRun(models.Model):
    """One removal of a tenant's past executions: step by step, or with a week's partitions.

    `horizon`: what started before was past. `spans` are the ranges of ids to walk ([[from, to], …]),
    `position` the last id that was looked at. `expected` and `bytes` are estimates; `kept` counts past
    executions that stayed: the newest of a quiet tenant, and those that have not ended.
    """

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        DONE = "done", "Done"
        CANCELED = "canceled", "Canceled"
        FAILED = "failed", "Failed"

    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, related_name="+")
    state = models.CharField(max_length=16, choices=State, default=State.RUNNING)
    horizon = models.DateTimeField()
    spans = models.JSONField(default=list)
    position = models.UUIDField(null=True)
    expected = models.BigIntegerField(null=True)
    removed = models.BigIntegerField(default=0)
    bytes = models.BigIntegerField(default=0)
    kept = models.BigIntegerField(default=0)
    weeks = models.PositiveSmallIntegerField(default=0)
    problem = models.TextField(default="")
    started_at = models.DateTimeField(auto_now_add=True)
    changed_at = models.DateTimeField(auto_now=True)
    ended_at = models.DateTimeField(null=True)

    objects = TenantManager["RetentionRun"]()

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant"],
                condition=models.Q(state="running"),
                name="retention_one_running",
            )
        ]
        indexes = [models.Index(fields=["tenant", "-id"], name="retention_newest")]

    def __str__(self) -> str:
        return f"{self.removed} removed before {self.horizon}"

    @property
    def is_open(self) -> bool:
        return self.state == self.State.RUNNING

    @property
    def waits(self) -> bool:
        """Whether nobody works on it: who did was ended, and it goes on with the tenant's next turn."""
        return self.is_open and timezone.now() - self.changed_at > _STEP_AT_MOST


class PastWeek(models.Model):
    """The oldest week's partitions while they are being dropped; all tenants' (`retention.weeks`).

    What is kept is decided when it begins and stands here, so that senders' ids can be forgotten first:
    `keep_from` is [[tenant, first id that stays], …], `kept` [[tenant, id], …] the older ones that
    stay, `removed` {tenant: how many go}. (`tenant_id`, `position`) is where forgetting has come to.
    """

    start = models.DateTimeField(primary_key=True)
    keep_from = models.JSONField()
    kept = models.JSONField()
    removed = models.JSONField(default=dict)
    position_tenant = models.BigIntegerField(default=0)
    position = models.UUIDField(null=True)
    is_forgotten = models.BooleanField(default=False)
    tries = models.PositiveIntegerField(default=0)
    next_try_at = models.DateTimeField(null=True)
    began_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "monitoring_pastweek"

    def __str__(self) -> str:
        return f"week of {self.start:%Y-%m-%d}"
