"""A million past executions go with their week, while senders send and somebody reads."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.bench import load
from tests.bench.bench import Bench
from tests.bench.posts import CONNECTIONS, send
from tests.bench.site import Site
from tests.figures import Figure

EXECUTIONS = 1_000_000
READER_SECONDS = 60.0
LONGEST_SECONDS = 1_800.0
_LOOK_SECONDS = 0.004


@dataclass
class _Locks:
    """Watches for how long somebody holds the history's tables for himself alone."""

    site: Site
    stop: threading.Event = field(default_factory=threading.Event)
    longest: float = 0.0

    def watch(self) -> None:
        """Look again and again until told to stop."""
        with self.site.database() as database:
            since: float | None = None
            while not self.stop.wait(_LOOK_SECONDS):
                held = database.execute(_IS_LOCKED).fetchone() == (True,)
                now = time.perf_counter()
                if not held:
                    since = None
                elif since is None:
                    since = now
                else:
                    self.longest = max(self.longest, now - since)


_IS_LOCKED = """
    SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
        WHERE l.granted AND l.mode = 'AccessExclusiveLock'
            AND c.relname IN ('monitoring_execution', 'monitoring_nodeexecution'))
"""


def measure(bench: Bench) -> Iterator[Figure]:
    """Fill the oldest week; then it becomes past: first beside a long reader, then it goes."""
    site = bench.site
    site.make_tenant("past")
    site.command("shell", "--no-imports", "-c", _FILL)
    usual = send(bench, bench.seconds * bench.repeats)
    locks = _Locks(site)
    watching = threading.Thread(target=locks.watch)
    watching.start()
    try:
        with _reader(site):
            site.command("shell", "--no-imports", "-c", _KEEP_LITTLE)
            going = _send_until(bench, _FORGOTTEN)
            beside_reader = send(bench, READER_SECONDS)
        going.add(_send_until(bench, _GONE))
    finally:
        locks.stop.set()
        watching.join()
    sizes = f"{EXECUTIONS:,} executions in one week, {CONNECTIONS} connections sending"
    most = 2 * usual.percentile(99)
    yield Figure(
        section="upkeep", line="retention of 1 million executions by partition drop",
        target="under a second of locks; ingest p99 at most twice its usual, 0 errors",
        reached=f"locks for {locks.longest:.2f} s; {_said(going, usual)}",
        met=locks.longest < 1 and going.percentile(99) <= most and not going.errors,
        sizes=f"{sizes}; {going.seconds:.0f} s in all",
    )  # fmt: skip
    yield Figure(
        section="upkeep", line="ingest while the drop waits for a reader of 60 s",
        target="p99 at most twice its usual, 0 errors",
        reached=_said(beside_reader, usual),
        met=beside_reader.percentile(99) <= most and not beside_reader.errors,
        sizes=sizes,
    )  # fmt: skip


def _said(report: load.Report, usual: load.Report) -> str:
    p99, usual_p99 = report.percentile(99), usual.percentile(99)
    return f"p99 {p99:.0f} ms, usually {usual_p99:.0f} ms; {report.errors} errors"


def _send_until(bench: Bench, condition: str) -> load.Report:
    """Send, a few seconds at a time, until the database says so."""
    total = load.Report.empty()
    with bench.site.database() as database:
        while database.execute(condition).fetchone() != (True,):
            total.add(send(bench, bench.seconds))
            if total.seconds > LONGEST_SECONDS:
                raise TimeoutError(f"not within {LONGEST_SECONDS:g} s: {condition}")
    return total


@contextlib.contextmanager
def _reader(site: Site) -> Iterator[None]:
    """Somebody whose transaction has read the history and goes on."""
    with site.database() as database, database.transaction():
        database.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
        database.execute("SELECT FROM monitoring_execution LIMIT 1")
        yield


_FORGOTTEN = "SELECT EXISTS (SELECT FROM monitoring_pastweek WHERE is_forgotten)"
_GONE = "SELECT EXISTS (SELECT FROM monitoring_retentionrun WHERE weeks > 0)"
# The tenant keeps all while it is filled; the plan ends with the oldest week's last millisecond.
_FILL = f"""
from django.db import connection
from monitoring.database import cursor
from monitoring.ids import milliseconds
from monitoring.retention.weeks import oldest_week
from tenants.models import Tenant
from tests.bench.history.fill import Plan, fill
Tenant.objects.update(retention_days=3650)
with cursor() as db:
    week = oldest_week(db)
fill(Plan("past", {EXECUTIONS}, 200, 7, milliseconds(week.end) - 1), 2)
"""
_KEEP_LITTLE = """
from tenants.models import Tenant
Tenant.objects.update(retention_days=30, retention_minimum=0)
"""
