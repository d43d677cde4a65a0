"""A workflow as a process of its own: `python work.py '{"path": …}'`; see `Work`.

It prints its result, how long its slowest call of the log took, and what was lost. `mutant` makes the
client faulty, to see that the tests would notice.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import encodings.idna  # noqa: F401 (nobody may not read where modules lie)
import json
import os
import resource
import signal
import sys
import threading
import time

from flowwatch_client import background, client, configure, node, workflow
from flowwatch_client.delivery import message, sender
from flowwatch_client.rows import NodeRow, Row


@dataclasses.dataclass
class Work:
    """What the process does."""

    path: str
    url: str
    token: str
    workflow: str
    ledger: str
    executions: int = 5
    promised: bool = True
    """What is written counts as accepted. Not so while the file is in trouble: then only nodes that have
    a row."""
    nodes: int = 4
    pause: float = 0.02
    """In each node, seconds."""
    value: str = "x" * 200
    buffered: bool = False
    exit_seconds: float = 2.0
    flush: float = 0.0
    """Seconds to wait for all at the end."""
    forks: int = 0
    """Children that work beside it."""
    file_limit: int = 0
    """Bytes that a file of this process may have, until half of the work is done."""
    as_nobody: bool = False
    clock: float = 0.0
    """Seconds that the wall clock is set forward (or back) at half of the work."""
    clock_in_node: float = 0.0
    """The same, while a node runs."""
    orphan: bool = False
    """A child does the work, and its parent ends at once."""
    exit_on_term: bool = False
    """SIGTERM ends it in order."""
    pace: float = 1.0
    """All pauses between tries are as many times as long."""
    mutant: str = ""


def main(work: Work) -> None:
    for name in ("FIRST_PAUSE", "LONGEST_PAUSE", "RARE_PAUSE"):
        setattr(sender, name, getattr(sender, name) * work.pace)
    background.SEND_SECONDS = 0.05
    client.LONG_SECONDS = 0.2
    if work.mutant:
        import mutants

        mutants.MUTANTS[work.mutant]()
    if work.as_nobody:
        os.seteuid(65534)
    configure(
        url=work.url or None,
        token=work.token,
        log=work.path,
        buffered=work.buffered,
        exit_seconds=work.exit_seconds,
    )
    Runner(work).go()


class Runner:
    """Runs the workflow, and keeps a ledger of what the log took."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.slowest = self.waited = 0.0
        self.rows = 0
        self.ledger = os.open(work.ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        made = client.active()
        assert made is not None
        self.client = made
        self._write = made.write
        made.write = self.write  # type: ignore[method-assign]
        self.run = workflow(work.workflow, name="Faults", tags=["faults"])(self.steps)
        self.nodes = [node(f"node-{number}")(self.step) for number in range(3)]

    def go(self) -> None:
        if self.work.exit_on_term:
            signal.signal(signal.SIGTERM, self.exit_in_order)
        if self.work.orphan:
            self.orphan()
        children = []
        for number in range(self.work.forks):
            child = os.fork()
            if not child:
                self.work_off(f"child {number}")
                self.client.background.end()
                os._exit(0)
            children.append(child)
        try:
            total = self.work_off("parent")
        except SystemExit:
            self.report(0, None)
            raise
        for child in children:
            assert os.waitpid(child, 0)[1] == 0
        self.report(total, self.client.flush(self.work.flush) if self.work.flush else None)

    def report(self, total: int, flushed: bool | None) -> None:
        print(
            json.dumps(
                {
                    "total": total,
                    "slowest": self.slowest,
                    "waited": self.waited,
                    "rows": self.rows,
                    "lost": self.client.writer.lost,
                    "flushed": flushed,
                    "threads": threading.active_count(),
                }
            ),
            flush=True,
        )

    def exit_in_order(self, *_: object) -> None:
        sys.exit(0)

    def orphan(self) -> None:
        """The parent writes, too, so that its threads and locks are there when it forks."""
        self.client.background.wake()
        if os.fork():
            self.report(total_of(self.work), None)
            os._exit(0)
        os.close(1)
        self.work_off("child")
        self.client.background.end()
        os._exit(0)

    # --- the workflow: its result must be the same whatever happens to its log -----------------------

    def work_off(self, who: str) -> int:
        total = 0
        self.limit(self.work.file_limit)
        for number in range(self.work.executions):
            if number == self.work.executions // 2:
                self.limit(0)
                set_clock(self.work.clock)
            total += self.run(number, who)
        return total

    def steps(self, number: int, who: str) -> int:
        return sum(
            self.nodes[step % 3](number * step, {"who": who, "value": self.work.value})
            for step in range(self.work.nodes)
        )

    def step(self, result: int, value: dict[str, str]) -> int:
        time.sleep(self.work.pause)
        set_clock(self.work.clock_in_node)
        return result

    # --- what is seen of the log -------------------------------------------------------------------

    def write(self, *rows: Row) -> None:
        began = time.monotonic()
        self._write(*rows)
        seconds = time.monotonic() - began
        self.slowest = max(self.slowest, seconds)
        self.waited += seconds
        self.rows += len(rows)
        for row in rows:
            if not isinstance(row, NodeRow):
                self.note(row.id, "", row.status)
            elif row.row_id is not None:
                self.note(row.execution_id, row.row_id, row.status)

    def note(self, execution_id: str, row_id: object, status: str) -> None:
        if self.work.promised or row_id:
            os.write(self.ledger, f"{execution_id} {row_id} {status}\n".encode())

    def limit(self, size: int) -> None:
        if self.work.file_limit:
            most = size or resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


def total_of(work: Work) -> int:
    return sum(number * step for number in range(work.executions) for step in range(work.nodes))


def set_clock(seconds: float) -> None:
    """Set the wall clock, for this process; once."""
    if not seconds or time.time.__name__ == "<lambda>":
        return

    class Datetime(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Datetime:
            return cls.fromtimestamp(time.time(), tz)

    real, real_ns = time.time, time.time_ns
    time.time = lambda: real() + seconds
    time.time_ns = lambda: real_ns() + int(seconds * 1e9)
    message.datetime = Datetime  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(Work(**json.loads(sys.argv[1])))
