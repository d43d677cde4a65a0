"""What is known of the processes that carry wake-ups, and events that could not be delivered."""

from __future__ import annotations

from django.db import models

from scheduling.models.due import DueRow, due_index
from tenants.scoping import TenantManager


class Leader(models.Model):
    """The one row about the process that ticks and relays now.

    `deaths`: how often in a row a process has ended in the midst of relaying.
    """

    host = models.TextField()
    pid = models.PositiveIntegerField()
    ticked_at = models.DateTimeField(null=True)
    relayed_at = models.DateTimeField(null=True)
    deaths = models.PositiveSmallIntegerField(default=0)

    class Meta:
        db_table = "scheduling_leader"

    def __str__(self) -> str:
        return f"{self.host} {self.pid}"


class Cluster(models.Model):
    """A cluster of workers; its name is that of its queue. `finished_at` is its last canary's.

    One that ended in order has no `pid`; it stays for a day, as the last that is known.
    """

    name = models.TextField(primary_key=True)
    host = models.TextField()
    pid = models.PositiveIntegerField(null=True)
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True)
    restarts = models.PositiveIntegerField(default=0)

    class Meta:
        db_table = "scheduling_cluster"

    def __str__(self) -> str:
        return self.name


class Wake(models.Model):
    """When a kind's last wake-up was sent, and when a worker last began one."""

    kind = models.TextField(primary_key=True)
    sent_at = models.DateTimeField(null=True)
    begun_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "scheduling_wake"

    def __str__(self) -> str:
        return self.kind


class Delivery(DueRow):
    """An event that one subscriber failed to take: tried again by itself, quarantined after five."""

    subscriber = models.TextField()
    kind = models.TextField()
    body = models.JSONField()
    event_id = models.BigIntegerField()
    happened_at = models.DateTimeField()

    objects = TenantManager["Delivery"]()

    class Meta:
        db_table = "scheduling_delivery"
        indexes = [due_index("delivery_due")]

    def __str__(self) -> str:
        return f"{self.kind} {self.event_id} for {self.subscriber}"
