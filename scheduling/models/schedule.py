"""When a tenant's workflows are scanned."""

from __future__ import annotations

import datetime as dt
from typing import Final
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import models

from monitoring.models import Workflow
from scheduling.clock import Frequency, Timetable
from scheduling.models.due import DueRow, due_index
from tenants.scoping import TenantManager

DEFAULT_ZONE: Final = "America/Chicago"
FREQUENCY_LABELS: Final = {
    Frequency.DAILY.value: "Every day",
    Frequency.TWELVE_HOURS.value: "Every 12 hours",
    Frequency.SIX_HOURS.value: "Every 6 hours",
    Frequency.WEEKLY.value: "Every week",
}


class Scope(models.TextChoices):
    """Which workflows a scan looks at."""

    ALL = "all", "All workflows"
    ACTIVE = "active", "Active workflows"
    SELECTED = "selected", "Selected workflows"


class Schedule(DueRow):
    """Scans at set times. `next_scan_at` is the due time to be run next; null while it is off.

    (`due_at` is when the row is looked at, which a failure may put off.) The default schedule is the
    one that the API's single schedule means.
    """

    name = models.CharField(max_length=255)
    is_default = models.BooleanField(default=False)
    enabled = models.BooleanField(default=True)
    frequency = models.CharField(
        max_length=8, choices=list(FREQUENCY_LABELS.items()), default=Frequency.DAILY.value
    )
    preferred_time = models.TimeField(default=dt.time(2, 0))
    time_zone = models.CharField(max_length=64, default=DEFAULT_ZONE)
    weekday = models.PositiveSmallIntegerField(default=0)
    scope = models.CharField(max_length=8, choices=Scope, default=Scope.ALL)
    selected = models.ManyToManyField(Workflow, blank=True, related_name="+")
    next_scan_at = models.DateTimeField(null=True, editable=False)
    last_scan_at = models.DateTimeField(null=True, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = TenantManager["Schedule"]()

    class Meta:
        db_table = "scheduling_schedule"
        ordering = ["-is_default", "name", "id"]
        indexes = [due_index("schedule_due")]
        constraints = [
            models.UniqueConstraint(
                fields=["tenant"],
                condition=models.Q(is_default=True),
                name="one_default_schedule_of_tenant",
            ),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def timetable(self) -> Timetable:
        """The schedule's due times."""
        return Timetable(
            Frequency(self.frequency), self.preferred_time, ZoneInfo(self.time_zone), self.weekday
        )
