"""The worker: one loop that does periodic work, in one process at a time.

Whoever holds an advisory lock of the database leads; others wait to take over. Jobs are registered
by name, here and by higher apps when they start:

    @periodic("resume delays", every=timedelta(seconds=1))
    def resume_delays() -> bool: ...

A job does one bounded step in its own transactions, is safe to repeat, and returns whether there is
more to do at once.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Final

from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from monitoring import bulk, disk
from monitoring.metrics.rollups import fold_step
from monitoring.recording.contact import mark_lost_step
from monitoring.recording.tables import ensure_partitions
from monitoring.retention import weeks
from tenants.deletion import delete_marked_tenants_step

logger = logging.getLogger(__name__)

LEADER_LOCK: Final = 0x6C65_6164  # "lead"
ELECTION_PAUSE: Final = 1.0
_RECONNECT_PAUSES: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
_SLOW_SECONDS: Final = 1.0
_LONGEST_PAUSE: Final = 30.0
# What took long may have waited for a database that hung, and not have used the processors.
_LONGEST_REST: Final = 10.0

Job = Callable[[], bool]


@dataclass(frozen=True, slots=True)
class PeriodicJob:
    """Work that is due again `every` so often after it was done.

    With `rests` at least so many times as long as it took, at most ten seconds: what can wait leaves
    the processors to posts.
    """

    name: str
    every: dt.timedelta
    run: Job
    rests: float = 0.0


_jobs: dict[str, PeriodicJob] = {}


def periodic(name: str, *, every: dt.timedelta, rests: float = 0.0) -> Callable[[Job], Job]:
    """Register a job of the worker under a name of its own."""

    def register(function: Job) -> Job:
        if name in _jobs:
            raise ValueError(f"There is a periodic job named {name!r} already.")
        _jobs[name] = PeriodicJob(name, every, function, rests)
        return function

    return register


def periodic_jobs() -> list[PeriodicJob]:
    """All registered jobs."""
    return list(_jobs.values())


class ConnectionLostError(Exception):
    """The database's session ended, and the lead with it."""


@dataclass(slots=True)
class _Due:
    job: PeriodicJob
    at: float = 0.0
    failures: int = 0


@dataclass(slots=True)
class Worker:
    """Runs jobs until `stop` is set; survives the loss of the database.

    `clock` counts seconds; those with the same `lock` elect one leader. `pulse` is called again and
    again, but while a job is being done.
    """

    stop: threading.Event
    jobs: Iterable[PeriodicJob] = field(default_factory=periodic_jobs)
    clock: Callable[[], float] = time.monotonic
    lock: int = LEADER_LOCK
    pulse: Callable[[], None] = lambda: None

    def run(self) -> None:
        """Lead or wait to lead; end when `stop` is set, after the step that is being done."""
        losses = 0
        while not self.stop.is_set():
            self.pulse()
            try:
                if take_lead(self.lock):
                    losses = 0
                    self._lead()
                else:
                    losses = 0
                    self.stop.wait(ELECTION_PAUSE)
            except (ConnectionLostError, OperationalError, InterfaceError) as error:
                connection.close()
                pause = _RECONNECT_PAUSES[min(losses, len(_RECONNECT_PAUSES) - 1)]
                losses += 1
                logger.warning("worker lost the database", extra={"error": str(error).strip()})
                self.stop.wait(pause)
        connection.close()

    def _lead(self) -> None:
        logger.info("worker leads")
        due = [_Due(job) for job in self.jobs]
        while not self.stop.is_set():
            for item in due:
                self.pulse()
                if item.at <= self.clock() and not self.stop.is_set():
                    item.at = self._do(item)
            self.stop.wait(max(0.0, min(item.at for item in due) - self.clock()))

    def _do(self, item: _Due) -> float:
        """Do one step; return when the next is due. One that fails rests longer and longer."""
        started = self.clock()
        every = item.job.every.total_seconds()
        try:
            more = item.job.run()
        except Exception as error:  # whatever one job does, the others go on
            if not connection.is_usable():
                raise ConnectionLostError(str(error)) from error
            logger.exception("worker job failed", extra={"job": item.job.name})
            item.failures += 1
            return self.clock() + max(every, min(0.5 * 2.0**item.failures, _LONGEST_PAUSE))
        item.failures = 0
        took = self.clock() - started
        level = logging.INFO if took > _SLOW_SECONDS else logging.DEBUG
        logger.log(
            level,
            "worker job done",
            extra={"job": item.job.name, "ms": round(took * 1000), "more": more},
        )
        return self.clock() + (0 if more else max(every, min(item.job.rests * took, _LONGEST_REST)))


def take_lead(lock: int = LEADER_LOCK) -> bool:
    """Try to become the leader for as long as this database session lasts."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [lock])
        return bool(cursor.fetchone() == (True,))


def is_led(lock: int = LEADER_LOCK) -> bool:
    """Whether some worker leads now."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted"
            " AND classid = 0 AND objid = %s AND objsubid = 1 AND database ="
            " (SELECT oid FROM pg_database WHERE datname = current_database()))",
            [lock],
        )
        return bool(cursor.fetchone() == (True,))


# --- the jobs of this app -----------------------------------------------------------------------


# A fold costs by the workflows that had executions, not by their number: seldom costs less.
@periodic("fold deltas", every=dt.timedelta(seconds=1), rests=4.0)
def fold() -> bool:
    """Fold what was recorded since; at once again while deltas come faster than they are folded."""
    return fold_step()


@periodic("lost contact", every=dt.timedelta(seconds=1))
def mark_lost() -> bool:
    """Mark running executions that promised heartbeats and fell silent."""
    return mark_lost_step()


_disk = disk.Watch()


@periodic("watch the disk", every=dt.timedelta(seconds=5))
def watch_disk() -> bool:
    """Tell the log when the database's disk fills up."""
    _disk.look()
    return False


@periodic("make partitions", every=dt.timedelta(hours=1))
def make_partitions() -> bool:
    """Keep partitions ready for the next 60 days."""
    ensure_partitions()
    return False


@periodic("drop past weeks", every=dt.timedelta(seconds=10), rests=4.0)
def drop_past_weeks() -> bool:
    """One step of dropping the oldest week, where all but a few of its executions are past."""
    return weeks.drop_step()


@periodic("delete tenants", every=dt.timedelta(minutes=1))
def delete_tenants() -> bool:
    """One step of deleting the tenants that are marked."""
    return delete_marked_tenants_step()


@periodic("bulk jobs", every=dt.timedelta(seconds=1))
def do_bulk_jobs() -> bool:
    """One step of what people asked to be done to many executions."""
    return bulk.work_step()


@periodic("clear sessions", every=dt.timedelta(days=1))
def clear_sessions() -> bool:
    """Delete sessions that have expired."""
    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()
    return False
