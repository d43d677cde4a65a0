"""Each tenant's past executions are removed once a day, at a time of its own; a step at a time."""

from __future__ import annotations

import datetime as dt

from django.db.models import Exists, OuterRef

from monitoring.database import database_now
from monitoring.horizon import next_turn
from monitoring.retention.removal import give_up, remove_step
from monitoring.worker import periodic
from scheduling.due import Claim
from scheduling.models import Removal
from tenants.models import Tenant
from tenants.scoping import across_tenants

_AT_ONCE = 1_000
_GIVEN_UP = "Its steps failed again and again; the operators see why on the status page."


@periodic("plan removals", every=dt.timedelta(minutes=10))
def plan_step() -> bool:
    """Give tenants that have none yet their turn; say whether there may be more."""
    now = database_now()
    with across_tenants():
        known = Removal.objects.filter(tenant=OuterRef("pk"))
        new = list(Tenant.objects.living().filter(~Exists(known)).order_by("pk")[:_AT_ONCE])
        turns = [Removal(tenant=tenant, due_at=next_turn(tenant.pk, now)) for tenant in new]
        Removal.objects.bulk_create(turns, ignore_conflicts=True)
    return len(new) == _AT_ONCE


def make_due(tenant: Tenant) -> None:
    """Have a tenant's turn now, also where it was given up. Needs the tenant's scope."""
    at_once = {"due_at": database_now(), "quarantined_at": None, "attempts": 0, "last_error": ""}
    Removal.objects.update_or_create(tenant=tenant, defaults=at_once)


def do_step(claim: Claim[Removal]) -> None:
    """Remove a little; the row rests until the next day's turn when nothing is left, or it was stopped."""
    with claim.finishing() as turn:
        has_more = remove_step(turn.tenant)
        now = database_now()
        turn.due_at = now if has_more else next_turn(turn.tenant_id, now)


def on_quarantine(turn: Removal) -> None:
    """Say in the run that it does not go on."""
    give_up(_GIVEN_UP)
