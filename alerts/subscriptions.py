"""What happened below that alerts look at: rows are made due, the looking comes later."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Final

from django.db import connection, transaction

from alerts import health, telling
from alerts.checks import KIND
from alerts.models import Incident, ScanNews
from monitoring.models import Event
from monitoring.words import PROBLEMS
from scheduling.relay import subscriber
from scheduling.wake import wake
from tenants.scoping import current_tenant

EXECUTION_CHANGED: Final = "execution.changed"
SCAN_FINISHED: Final = "scan.finished"
_PROBLEMS: Final = {status.slug for status in PROBLEMS}


@subscriber(EXECUTION_CHANGED)
def on_executions_changed(events: Sequence[Event]) -> None:
    """Make the checks due of workflows that failed, or ended otherwise while an incident is open.

    One statement, whatever the number of events; one row for a workflow.
    """
    failed: set[int] = set()
    ended: set[int] = set()
    for event in events:
        said = {event.body["status"], event.body["before"]}
        (failed if said & _PROBLEMS else ended).add(event.body["workflow"])
    watched = Incident.objects.unresolved().filter(workflow_id__in=ended - failed)
    make_checks_due(failed | set(watched.values_list("workflow_id", flat=True)))


def make_checks_due(workflow_ids: Iterable[int | None]) -> None:
    """Have workflows of the scope's tenant looked at, now or when they may be again."""
    ids = sorted({pk for pk in workflow_ids if pk is not None})
    if ids:
        with connection.cursor() as cursor:
            cursor.execute(_MAKE_DUE, [current_tenant().pk, ids])
        transaction.on_commit(partial(wake, KIND), robust=True)


# A row that rests until it may be looked at again is not touched. One that somebody may be looking
# at is asked for: what is looked at may be older than what has happened.
_MAKE_DUE: Final = """
INSERT INTO alerts_check AS c (tenant_id, workflow_id, due_at, asked, attempts, fence, last_error)
SELECT w.tenant_id, w.id, clock_timestamp(), 0, 0, 0, ''
FROM monitoring_workflow w
WHERE w.tenant_id = %s AND w.id = ANY(%s::bigint[]) AND NOT EXISTS (
    SELECT FROM alerts_check resting
    WHERE resting.workflow_id = w.id AND resting.due_at > clock_timestamp()
        AND resting.due_at <= resting.calm_until AND resting.quarantined_at IS NULL
)
ORDER BY w.id
ON CONFLICT (workflow_id) DO UPDATE SET
    due_at = least(c.due_at, greatest(clock_timestamp(), c.calm_until)),
    asked = c.asked + 1,
    quarantined_at = NULL,
    attempts = CASE WHEN c.quarantined_at IS NULL THEN c.attempts ELSE 0 END
WHERE c.due_at IS NULL OR c.due_at > clock_timestamp() OR c.quarantined_at IS NOT NULL
    OR c.leased_until IS NOT NULL
"""


@subscriber(telling.TOLD)
def on_told(events: Sequence[Event]) -> None:
    """Make the targets due to which looks have written messages."""
    telling.wake_all({pk for event in events for pk in event.body["targets"]})


@subscriber(health.TARGET_OFF)
def on_targets_off(events: Sequence[Event]) -> None:
    """Have owners told of addresses that were switched off."""
    for event in events:
        health.tell_owners(
            current_tenant(), event.body["target"], event.body["said"], event.created_at
        )


@subscriber(SCAN_FINISHED)
def on_scans_finished(events: Sequence[Event]) -> None:
    """Have scans looked at that ended; again, when one that had failed was tried again."""
    for event in events:
        before = ScanNews.objects.filter(scan_id=event.body["scan"])
        before.exclude(status=event.body["status"]).delete()
    ScanNews.objects.bulk_create(
        [
            ScanNews(
                tenant_id=event.tenant_id,
                scan_id=event.body["scan"],
                status=event.body["status"],
                due_at=event.created_at,
            )
            for event in events
        ],
        ignore_conflicts=True,
    )
