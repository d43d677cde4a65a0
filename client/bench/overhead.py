"""What a node costs the workflow's thread: `python bench/overhead.py` (in `client/`).

Each line is the median of one call, in microseconds, beside what it would cost without recording: the
undecorated function, and a bare sqlite3 connection that inserts the same text and commits. All are measured
in turns, as a shared machine is faster at one moment than at the next. Last, many nodes in a row: how many
a minute, and how much memory they took at most.
"""

from __future__ import annotations

import collections
import contextlib
import json
import os
import resource
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from flowwatch_client import configure, flush, node, workflow
from flowwatch_client.log import outbox
from flowwatch_client.log.log import Log

ROUNDS = 10
CALLS = 500
MANY = 100_000
ORDER: dict[str, Any] = {
    "order": 4711,
    "customer": {"name": "Ada Lovelace", "city": "London", "since": "2019-04-01"},
    "lines": [
        {
            "sku": f"A-{number}",
            "amount": number,
            "price": 1.5 * number,
            "note": "delivered to a door",
        }
        for number in range(12)
    ],
}
"""Just over 1 KB of JSON."""


def handle(order: dict[str, Any]) -> int:
    return len(order["lines"])


recorded = node(handle)
RECORDED: dict[str, dict[str, Any]] = {
    "node, committed": {},
    "node, buffered": {"buffered": True},
    "node, buffered, values=False": {"buffered": True, "values": False},
}


class Calls:
    """What each call took, in seconds, and the time of the processor that all took."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.processor = 0.0

    def measure(self, call: Callable[[], object]) -> None:
        processor = time.thread_time()
        for _ in range(CALLS):
            start = time.perf_counter()
            call()
            self.times.append(time.perf_counter() - start)
        self.processor += time.thread_time() - processor

    def show(self, name: str) -> None:
        middle = statistics.median(self.times) * 1e6
        print(f"{name:44} {middle:8.1f} {self.processor / len(self.times) * 1e6:8.1f}")


@contextlib.contextmanager
def bare_sqlite(path: Path) -> Iterator[Callable[[], object]]:
    """An insert of the same text into a table of its own, with the same settings."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, input TEXT)")
    text = json.dumps(ORDER)
    yield lambda: connection.execute("INSERT INTO rows (input) VALUES (?)", (text,))
    connection.close()


def many_nodes(path: Path) -> None:
    """Nodes as fast as they go, in one execution; all must be in the log afterwards."""
    configure(log=path, buffered=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    with workflow("many"):
        for _ in range(MANY):
            recorded(ORDER)
    took = time.perf_counter() - start
    assert flush(60)
    log = Log(path)
    with log.connection.reading() as connection:
        accepted = outbox.counts(connection).accepted
    assert accepted == MANY + 2, accepted
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"\n{MANY:,} nodes buffered: {took:.1f} s = {60 * MANY / took:,.0f} a minute, "
          f"{grown:.0f} MB more memory at most")  # fmt: skip


def main() -> None:
    print(f"input of {len(json.dumps(ORDER)):,} characters, load {os.getloadavg()[0]:.1f}")
    print(f"{'':44} {'median':>8} {'of CPU':>8}  µs")
    calls: dict[str, Calls] = collections.defaultdict(Calls)
    with tempfile.TemporaryDirectory() as folder:
        with bare_sqlite(Path(folder, "bare.db")) as insert:
            for _ in range(ROUNDS):
                calls["the function itself"].measure(lambda: handle(ORDER))
                calls["sqlite3's insert alone"].measure(insert)
                for name, settings in RECORDED.items():
                    configure(log=Path(folder, f"{name}.db"), **settings)
                    with workflow("measured"):
                        recorded(ORDER)
                        calls[name].measure(lambda: recorded(ORDER))
                    flush(60)
                calls["node outside of a workflow"].measure(lambda: recorded(ORDER))
        for name, measured in calls.items():
            measured.show(name)
        many_nodes(Path(folder, "many.db"))
        configure(enabled=False)


if __name__ == "__main__":
    main()
