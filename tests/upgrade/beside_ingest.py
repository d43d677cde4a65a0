"""`python -m tests.upgrade.beside_ingest [--executions N]`: migrations of a big database beside ingest.

The oldest dump is filled with executions and brought up to date while senders insert, and a watcher
notes how long any of them waited for a lock.
"""

from __future__ import annotations

import argparse
import itertools
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from config.backup.archive import Archive
from config.backup.place import Place
from tests.config.backups import as_app, restore, server
from tests.database import superuser
from tests.upgrade.make_dump import DUMPS

LONGEST_WAIT: Final = 1.0
"""Seconds for which a sender may be held up by a migration."""

SENDERS: Final = 3
_LOOK_EVERY: Final = 0.01
_PIECE: Final = 50_000

# In the columns that the oldest version had: it goes on while a newer one migrates.
_EXECUTION: Final = """
    INSERT INTO monitoring_execution (tenant_id, id, environment_id, workflow_id, duration_ms, started_at,
        completed_at, received_at, changed_at, status, node_count, node_done_count, external_id, order_keys,
        payload)
"""
_NODE: Final = """
    INSERT INTO monitoring_nodeexecution (tenant_id, execution_id, duration_ms, run_index, status, node_id,
        order_keys)
"""
_ROLLUP: Final = """
    INSERT INTO monitoring_rollup (tenant_id, subject_id, bucket, subject_kind, level, counts, duration_sums,
        duration_counts, error_classes, histogram)
"""
_KEY: Final = """
    INSERT INTO monitoring_executionkey (tenant_id, workflow_id, environment_id, execution_id, external_id)
"""
# One in each minute and more, over eight weeks.
_MANY_IDS: Final = """
    SELECT n, now() - (n %% 80000) * interval '1 minute' AS at, (lpad(to_hex(
        (extract(epoch FROM now()) * 1000)::bigint - (n %% 80000)::bigint * 60000), 12, '0') || '7000'
        || lpad(to_hex(n), 16, '0'))::uuid AS id
    FROM generate_series(%(first)s::int, %(last)s::int) AS n
"""
_FILL: Final = tuple(
    f"WITH made AS ({_MANY_IDS}) {into}"
    for into in (
        f"""{_EXECUTION} SELECT 1, id, 1, n %% 50, 900, at, at, at, at, 3, 2, 2, n::text, '',
            repeat('x', 400)::bytea FROM made""",
        f"""{_NODE} SELECT 1, id, 100, 0, 3, 'node-' || k, '' FROM made, generate_series(1, 2) AS k""",
        f"{_KEY} SELECT 1, n %% 50, 1, id, n::text FROM made",
        f"""{_ROLLUP} SELECT 1, n, date_trunc('hour', at), 0, 0, '{{1,2,3}}', '{{}}', '{{}}', '{{}}', ''
            FROM made WHERE n %% 20 = 0""",
    )
)
_SEND: Final = (
    f"{_EXECUTION} SELECT 1, %(id)s, 1, 7, 900, now(), now(), now(), now(), 3, 1, 1, %(id)s::text, '', ''",
    f"{_NODE} VALUES (1, %(id)s, 100, 0, 3, 'a', '')",
    f"{_KEY} VALUES (1, 7, 1, %(id)s, %(id)s::text)",
    f"{_ROLLUP} VALUES (2, %(number)s, now(), 0, 0, '{{1}}', '{{}}', '{{}}', '{{}}', '')",
    "UPDATE tenants_tenant SET name = name WHERE id = %(tenant)s",
)
_WAITS: Final = """
    SELECT max(extract(epoch FROM clock_timestamp() - waitstart))::float8
    FROM pg_locks JOIN pg_stat_activity USING (pid)
    WHERE NOT granted AND usename = %s AND datname = %s
"""


@dataclass
class Ledger:
    """What senders were told, how long one waited for a lock at most, and what went wrong."""

    acknowledged: list[uuid.UUID] = field(default_factory=list)
    longest_wait: float = 0.0
    errors: list[BaseException] = field(default_factory=list)


def fill(place: Place, executions: int) -> None:
    """Put the oldest dump there, and that many executions with nodes, keys and rollups beside its own."""
    restore(Archive(sorted(DUMPS.glob("*.backup"))[0]), place)
    with place.connect() as session:
        session.execute("SELECT flowwatch_ensure_partitions(now() + interval '60 days')")
        for first in range(1, executions + 1, _PIECE):
            piece = {"first": first, "last": min(first + _PIECE - 1, executions)}
            with session.transaction():  # one now() for all
                for statement in _FILL:
                    session.execute(statement.encode(), piece)
        session.execute("ANALYZE")


@contextmanager
def senders(place: Place) -> Iterator[Ledger]:
    """Insert all the time in the block, and watch who waits; errors are the block's."""
    ledger, stop = Ledger(), threading.Event()
    numbers = itertools.count(1)
    works: list[Callable[[], None]] = [
        lambda tenant=tenant: _insert(place, ledger, stop, numbers, tenant)  # type: ignore[misc]
        for tenant in range(SENDERS)
    ]
    threads = [
        threading.Thread(target=_noting, args=[ledger, work])
        for work in (*works, lambda: _watch(place, ledger, stop))
    ]
    for thread in threads:
        thread.start()
    try:
        _wait_for_more(ledger)
        yield ledger
        _wait_for_more(ledger)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not ledger.errors, ledger.errors


def lost(place: Place, ledger: Ledger) -> int:
    """How many acknowledged executions are not there."""
    with place.connect() as session:
        [(found,)] = session.execute(
            "SELECT count(*) FROM monitoring_execution WHERE tenant_id = 1 AND id = ANY(%s)",
            [ledger.acknowledged],
        ).fetchall()
    return len(ledger.acknowledged) - int(found)


def _insert(
    place: Place, ledger: Ledger, stop: threading.Event, numbers: Iterator[int], tenant: int
) -> None:
    with as_app(place) as session:
        while not stop.is_set():
            one, number = _new_id(), next(numbers)
            with session.transaction():
                for statement in _SEND:
                    session.execute(
                        statement.encode(), {"id": one, "number": number, "tenant": 71001 + tenant}
                    )
            ledger.acknowledged.append(one)


def _watch(place: Place, ledger: Ledger, stop: threading.Event) -> None:
    with superuser(server(), place.database) as session:
        while not stop.is_set():
            [(wait,)] = session.execute(
                _WAITS.encode(), [place.app_role, place.database]
            ).fetchall()
            ledger.longest_wait = max(ledger.longest_wait, wait or 0.0)
            time.sleep(_LOOK_EVERY)


def _noting(ledger: Ledger, work: Callable[[], None]) -> None:
    try:
        work()
    except BaseException as error:  # a thread's error would vanish: the block raises it
        ledger.errors.append(error)


def _wait_for_more(ledger: Ledger) -> None:
    wanted = len(ledger.acknowledged) + 20
    end = time.monotonic() + 60
    while len(ledger.acknowledged) < wanted and not ledger.errors:
        assert time.monotonic() < end, "senders stand still"
        time.sleep(0.01)


def _new_id() -> uuid.UUID:
    milliseconds = time.time_ns() // 1_000_000
    return uuid.UUID(int=milliseconds << 80 | 7 << 76 | int.from_bytes(os.urandom(9), "big"))


def main() -> None:
    """Fill, migrate, tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--executions", type=int, default=1_000_000)
    parser.add_argument("--record", action="store_true", help="renew docs/reliability.md")
    wanted = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.settings"
    import django

    django.setup()
    from tests.database import TestServer

    run = TestServer()
    try:
        _tell(_measure(wanted.executions), wanted.executions, record=wanted.record)
    finally:
        run.stop()


def _measure(executions: int) -> dict[str, Any]:
    from django.core.management import call_command

    from config.roles import on_database
    from config.soundness import missing_migrations
    from tests.config.backups import database

    with database("upgrade", migrated=False) as place:
        fill(place, executions)
        with on_database(place.database), senders(place) as ledger:
            steps = len(missing_migrations())
            begun = time.monotonic()
            call_command("migrate", interactive=False, verbosity=1)
            seconds = time.monotonic() - begun
        return {
            "steps": steps,
            "seconds": seconds,
            "wait": ledger.longest_wait,
            "acknowledged": len(ledger.acknowledged),
            "lost": lost(place, ledger),
        }


def _tell(found: dict[str, Any], executions: int, *, record: bool) -> None:
    from tests import figures

    reached = f"longest wait for a lock {1_000 * found['wait']:.0f} ms in {found['seconds']:.1f} s"
    figure = figures.Figure(
        section="upkeep",
        line="row 33: migrations of a big database beside ingest",
        target="no wait over 1 s, 0 acknowledged lost",
        reached=reached,
        met=found["wait"] <= LONGEST_WAIT and found["lost"] == 0 and found["steps"] > 0,
        tally={
            "migrations": found["steps"],
            "acknowledged": found["acknowledged"],
            "lost": found["lost"],
        },
        sizes=f"{executions:,} executions with 2 nodes each",
        command="python -m tests.upgrade.beside_ingest",
    )
    print(f"{figure.line}: {reached}; {figure.tally} [{figure.target}]")
    if record:
        figures.append("reliability", figure)


if __name__ == "__main__":
    main()
