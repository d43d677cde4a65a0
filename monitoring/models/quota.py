"""How much of its quota a tenant has used, and what it was refused."""

from __future__ import annotations

import datetime as dt
from typing import Final

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Value

from tenants.models import Tenant
from tenants.scoping import TenantManager

HOURS: Final = 24
_HOUR_SECONDS: Final = 3_600


class QuotaUse(models.Model):
    """A bucket that leaks: messages that were taken at `at` and are not forgotten yet.

    `refused_hours` counts refused calls of the hour of `refused_at` first, then of those before it.
    """

    tenant = models.OneToOneField(
        Tenant, on_delete=models.CASCADE, primary_key=True, related_name="+"
    )
    level = models.FloatField()
    at = models.DateTimeField()
    refused_at = models.DateTimeField(null=True)
    refused_hours = ArrayField(
        models.BigIntegerField(), size=HOURS, default=list, db_default=Value("{}")
    )

    objects = TenantManager["QuotaUse"]()

    class Meta:
        db_table = "monitoring_quotause"

    def __str__(self) -> str:
        return f"{self.level:.0f} messages"

    def level_at(self, now: dt.datetime, per_minute: int) -> float:
        """Messages that are not forgotten at `now`."""
        seconds = max(0.0, (now - self.at).total_seconds())
        return max(0.0, self.level - per_minute / 60 * seconds)

    def refused_since(self, now: dt.datetime, hours: int) -> int:
        """Calls that were refused in this whole hour of the clock and the `hours` - 1 before it."""
        return sum(shifted(self.refused_hours, self.refused_at, now)[:hours])


def shifted(counts: list[int], last: dt.datetime | None, now: dt.datetime) -> list[int]:
    """Counts of the hours until `last` as those of the hours until `now`, a day of them."""
    if last is None:
        return [0] * HOURS
    gone = int(now.timestamp()) // _HOUR_SECONDS - int(last.timestamp()) // _HOUR_SECONDS
    return ([0] * min(max(gone, 0), HOURS) + counts + [0] * HOURS)[:HOURS]
