"""What the database says of itself, for operators: pages, `/health/detailed` and `/metrics`."""

from __future__ import annotations

import datetime as dt
import time
import uuid
from dataclasses import dataclass
from typing import Final

from django.db import connection

from monitoring.ids import time_of

_WAITING: Final = ["monitoring_event", "monitoring_rollupdelta"]
_SIZE: Final = "SELECT current_setting('server_version'), pg_database_size(current_database())"
_CONNECTIONS: Final = """
SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()),
    current_setting('max_connections')::int
"""
_LIVE_ROWS: Final = "SELECT relname, n_live_tup FROM pg_stat_user_tables WHERE relname = ANY(%s)"
_PARTITIONS: Final = r"""
SELECT count(*), max(substring(pg_get_expr(part.relpartbound, part.oid) from 'TO \(''([^'']+)'))
FROM pg_inherits JOIN pg_class part ON part.oid = inhrelid
WHERE inhparent = 'monitoring_execution'::regclass
"""


@dataclass(frozen=True, slots=True)
class DatabaseFigures:
    """`waiting`: table → about how many rows wait in it (the statistics' estimate).

    `partitions` are those of executions; the last of them takes what starts before `partitions_until`.
    """

    version: str
    latency_seconds: float
    size_bytes: int
    connections: int
    max_connections: int
    waiting: dict[str, int]
    partitions: int
    partitions_until: dt.datetime | None

    @property
    def deltas(self) -> int:
        """About how many changes of the numbers wait to be folded."""
        return self.waiting.get("monitoring_rollupdelta", 0)


def database_figures() -> DatabaseFigures:
    """Asks for nothing that takes longer in a larger database. Raises DatabaseError."""
    with connection.cursor() as cursor:
        started = time.perf_counter()
        cursor.execute(_SIZE)
        version, size = cursor.fetchone()
        latency = time.perf_counter() - started
        cursor.execute(_CONNECTIONS)
        connections, most = cursor.fetchone()
        cursor.execute(_LIVE_ROWS, [_WAITING])
        waiting = dict(cursor.fetchall())
        cursor.execute(_PARTITIONS)
        partitions, last = cursor.fetchone()
    until = time_of(uuid.UUID(last)) if last else None
    return DatabaseFigures(version, latency, size, connections, most, waiting, partitions, until)
