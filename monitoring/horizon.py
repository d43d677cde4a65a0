"""What is past: whole days (UTC), so that the horizon cuts no bucket."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Final

from tenants.models import Tenant

DAY: Final = dt.timedelta(days=1)
GRACE: Final = dt.timedelta(hours=1)
"""What was received before midnight is stored long before its day's removal begins."""

_SPREAD: Final = 22 * 3_600
"""Seconds of a day over which the tenants' removals are spread; the rest is `GRACE` and some room."""


def horizon_of(days: int, now: dt.datetime) -> dt.datetime:
    """Executions that started before this moment are too old, where so many days are kept."""
    return _midnight(now) - days * DAY


def past_of(tenant: Tenant, now: dt.datetime) -> dt.datetime:
    """The horizon of a removal that begins now: nothing older is being stored any more."""
    return horizon_of(tenant.retention_days, now - GRACE)


def next_turn(tenant_id: int, after: dt.datetime) -> dt.datetime:
    """When a tenant's daily removal is due next: each has its own time of the day, as good as random."""
    digest = hashlib.blake2b(tenant_id.to_bytes(8), digest_size=8).digest()
    place = dt.timedelta(seconds=int.from_bytes(digest) % _SPREAD)
    turn = _midnight(after) + GRACE + place
    return turn if turn > after else turn + DAY


def _midnight(moment: dt.datetime) -> dt.datetime:
    """The beginning of its day in UTC."""
    return moment.astimezone(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
