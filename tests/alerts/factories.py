"""Makers for tests of alerts: failures that go the one way in, and everything due being done."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from django.db import connection, models
from django.utils import timezone

from alerts import checks
from alerts.models import (
    AlertSettings,
    Attempt,
    Check,
    Incident,
    IncidentEvent,
    Notification,
    ScanNews,
    Target,
)
from monitoring.models import Workflow
from monitoring.words import Status
from scheduling import due
from scheduling.relay import Relay
from tenants.models import Tenant
from tenants.scoping import across_tenants, tenant_scope
from tests.monitoring.counted import message, record

_TABLES: tuple[type[models.Model], ...] = (
    Attempt,
    Check,
    Incident,
    IncidentEvent,
    Notification,
    ScanNews,
    Target,
)


def make_settings(tenant: Tenant, *emails: str, **fields: Any) -> AlertSettings:
    """The tenant's alert settings."""
    with tenant_scope(tenant):
        return AlertSettings.objects.create(tenant=tenant, **{"emails": list(emails), **fields})


def run(workflow: Workflow, *statuses: Status, **fields: Any) -> None:
    """Executions of a workflow, one after the other, the last one just now."""
    now = fields.pop("at", timezone.now())
    for number, status in enumerate(statuses, start=1 - len(statuses)):
        record(message(workflow, now + dt.timedelta(milliseconds=number), status, **fields))


def fail(workflow: Workflow, times: int = 1, error: str = "HTTP 500", **fields: Any) -> None:
    """Failures of a workflow, the last one just now."""
    run(workflow, *[Status.FAILED] * times, error_message=error, **fields)


def succeed(workflow: Workflow, times: int = 1) -> None:
    run(workflow, *[Status.SUCCESS] * times)


def relay() -> bool:
    """Bring the outbox' events to the subscribers; say whether there were any."""
    relaying, were_any = Relay(), False
    while relaying.step():
        were_any = True
    return were_any


def alert_kinds(prefix: str = "") -> Iterable[due.Kind[Any]]:
    return [
        kind
        for kind in due.kinds()
        if kind.model.__module__.startswith("alerts.") and kind.name.startswith(prefix)
    ]


def claim_looks() -> list[due.Claim[Any]]:
    """Claim the workflows that are to be looked at, as a worker does."""
    [looks] = alert_kinds(checks.KIND)
    return due.claim(looks)


def work(prefix: str = "") -> None:
    """Do all that is due now, on this connection; what breaks a work breaks the test."""
    for _ in range(500):
        with (
            across_tenants()
        ):  # as the tick does: a claim in vain takes ten times as long as a look
            waiting = [kind for kind in alert_kinds(prefix) if kind.due().exists()]
        claimed = [(kind, due.claim(kind)) for kind in waiting]
        # What was told makes targets due.
        if not any(claims for _, claims in claimed) and not relay():
            return
        for kind, claims in claimed:
            if kind.together and claims:
                kind.together(claims)
            for held in (each for each in claims if not each.ended):
                with tenant_scope(held.row.tenant):
                    kind.work(held)
    raise AssertionError("something is due again and again")


def settle() -> None:
    """Everything that follows from what was recorded, without waiting for calm checks."""
    with across_tenants():
        Check.objects.update(calm_until=None)
    relay()
    work()


def pass_time(**length: float) -> None:
    """Let time pass for alerts: all that they remember lies further back."""
    moved = dt.timedelta(**length)
    with connection.cursor() as cursor:
        for model in _TABLES:
            columns = [
                field.column
                for field in model._meta.fields
                if isinstance(field, models.DateTimeField)
            ]
            sets = ", ".join(f"{column} = {column} - %s::interval" for column in columns)
            cursor.execute(f"UPDATE {model._meta.db_table} SET {sets}", [str(moved)] * len(columns))
