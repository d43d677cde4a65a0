"""Waking a worker for a kind of due rows: no more than a hint, which may be lost or come twice.

At most one wake-up of a kind is under way: another is sent when a worker has begun the last one (of
a kind that does not spread: when it has ended its turn), or when that does not happen for two seconds.
"""

from __future__ import annotations

import logging
from typing import Final

from django.conf import settings
from django.db import connection
from django_q.tasks import async_task

from scheduling.broker import UrgentWakes, Wakes
from scheduling.due import drain, is_urgent, spreads
from scheduling.models import Wake

logger = logging.getLogger(__name__)

PATIENCE_SECONDS: Final = 2.0
# So long a worker works on one kind before what else waits for it has its turn: while hundreds of
# workflows are to be looked at, a message waits no longer than that.
TURN_SECONDS: Final = 1.0
# A cluster whose canaries come back counts as living so long after the last one.
LIVING_SECONDS: Final = 20.0
# More than this waiting at every cluster: more wake-ups would only wait longer.
QUEUE_LIMIT: Final = 8

# Whoever finds the row locked leaves it: somebody else is sending just now.
_MARK_SENT: Final = """
UPDATE scheduling_wake SET sent_at = clock_timestamp() WHERE kind = (
    SELECT kind FROM scheduling_wake
    WHERE kind = %s AND (sent_at IS NULL OR begun_at >= sent_at
                         OR sent_at < clock_timestamp() - make_interval(secs => %s))
    FOR UPDATE SKIP LOCKED
)
"""
_MARK_BEGUN: Final = """
INSERT INTO scheduling_wake (kind, begun_at) VALUES (%s, clock_timestamp())
ON CONFLICT (kind) DO UPDATE SET begun_at = excluded.begun_at
"""
_IDLEST_CLUSTER: Final = """
SELECT name FROM (
    SELECT name, (SELECT count(*) FROM django_q_ormq
                  WHERE key = name AND lock <= statement_timestamp()) AS waiting
    FROM scheduling_cluster
    WHERE pid IS NOT NULL AND finished_at > statement_timestamp() - make_interval(secs => %s)
) AS living
WHERE waiting < %s ORDER BY waiting, random() LIMIT 1
"""


def wake(kind_name: str) -> None:
    """Let a worker drain a kind soon; does nothing when one is about to.

    Call it after the commit that made a row due: it is quicker than the tick, which comes anyway.
    """
    with connection.cursor() as cursor:
        cursor.execute(_MARK_SENT, [kind_name, settings.PACE.seconds(PATIENCE_SECONDS)])
        if cursor.rowcount == 0:
            return
        cursor.execute(_IDLEST_CLUSTER, [settings.PACE.seconds(LIVING_SECONDS), QUEUE_LIMIT])
        found = cursor.fetchone()
    if found:
        queue = UrgentWakes if is_urgent(kind_name) else Wakes
        async_task("scheduling.wake.work_on", kind_name, broker=queue(found[0]))


def know_kinds(names: list[str]) -> None:
    """Make the rows by which wake-ups of these kinds are told apart."""
    Wake.objects.bulk_create([Wake(kind=name) for name in names], ignore_conflicts=True)


def work_on(kind_name: str) -> None:
    """What a worker does when it is woken: drain the kind, and wake the next when more is left."""
    try:
        if spreads(kind_name):
            _let_others_be_woken(kind_name)
        is_more_left = drain(kind_name, seconds=settings.PACE.seconds(TURN_SECONDS))
        if not spreads(kind_name):
            _let_others_be_woken(kind_name)
        if is_more_left:
            wake(kind_name)
    except Exception:  # django-q2 would keep a row of each failure for ever
        logger.exception("wake-up failed", extra={"kind": kind_name})


def _let_others_be_woken(kind_name: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_MARK_BEGUN, [kind_name])
