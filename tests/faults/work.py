"""What workers and relay do in these tests, and the faults."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from django.db import connection, transaction
from django.db.models import Q

from monitoring.models import Event
from scheduling.due import Claim
from tenants.scoping import tenant_scope
from tests.faults.models import Chore

# Of each worker.
THREADS = 4


def do_chore(claim: Claim[Chore]) -> None:
    """Count the beginning at once, and the end with the claim."""
    _write(
        "UPDATE faults_chore SET begun = begun + 1, worker = %s WHERE id = %s", os.getpid(), claim
    )
    time.sleep(claim.row.seconds)
    with claim.finishing():
        _write("UPDATE faults_chore SET done = done + %s WHERE id = %s", 1, claim)


def _write(sql: str, value: int, claim: Claim[Chore]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, [value, claim.row.pk])


def tell(events: Sequence[Event]) -> None:
    """Write a row for each event, slowly enough to be killed in the midst."""
    for event in events:
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO faults_told VALUES (%s)", [event.body["n"]])
        time.sleep(0.002 if event.body["n"] >= 0 else 1e6)


def hear(events: Sequence[Event]) -> None:
    """Write a row for each execution that was created."""
    created = [event.body["execution"] for event in events if event.body["before"] is None]
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO faults_heard SELECT unnest(%s::uuid[])", [created])


# --- faults ---------------------------------------------------------------------------------------
def no_fence() -> None:
    """Whoever held a claim once may commit."""

    @contextmanager
    def locked(self: Claim[Chore], demanded: Q | None = None) -> Iterator[Chore]:
        with tenant_scope(self.row.tenant), transaction.atomic():
            yield self.row

    Claim._locked = locked  # type: ignore[method-assign, assignment]


def take_then_tell() -> None:
    """Events are removed in one transaction and delivered in the next."""
    from scheduling import relay

    def deliver_batch(self: relay.Relay) -> int:
        events = relay._take(relay.BATCH)
        with transaction.atomic():
            relay._deliver(events)
        return len(events)

    relay.Relay._deliver_batch = deliver_batch  # type: ignore[method-assign]


def wake_once() -> None:
    """A wake-up that was sent counts as heard, whatever became of the worker."""
    from scheduling import wake

    wake.PATIENCE_SECONDS = 1e6  # type: ignore[misc]


def wait_for_all() -> None:
    """A drain ends when its threads have ended."""
    from scheduling import due

    drain_by_threads = due._drain_by_threads

    def drain_and_wait(kind: due.Kind[Chore], crew: due._Crew, end: float) -> None:
        drain_by_threads(kind, crew, end)
        due.wait_for_threads(kind.lease.total_seconds())

    due._drain_by_threads = drain_and_wait


def no_canaries() -> None:
    """The watchdog believes a cluster that lives."""
    from config import watchdog

    watchdog.STUCK_SECONDS = 1e6  # type: ignore[misc]


def no_group() -> None:
    """The watchdog kills the cluster's main process alone."""
    from config import watchdog

    watchdog.os.killpg = lambda pid, number: os.kill(pid, number)  # type: ignore[attr-defined]


MUTANTS: dict[str, Callable[[], None]] = {
    "": lambda: None,
    "no-fence": no_fence,
    "take-then-tell": take_then_tell,
    "wake-once": wake_once,
    "wait-for-all": wait_for_all,
    "no-canaries": no_canaries,
    "no-group": no_group,
}
