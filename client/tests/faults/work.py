"""A workflow as a process of its own: `python work.py '{"path": …}'`; see `Work`.

It prints its result, how long its slowest call of the log took, and what was lost. `mutant` makes the
client faulty, to see that the tests would notice.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import Any


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
    """Between nodes, seconds."""
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
    """SIGTERM ends it in order; then it prints how many rows were written."""
    pace: float = 1.0
    """All pauses between tries are as many times as long."""
    mutant: str = ""


def main(work: Work) -> None:
    from flowwatch_client import background
    from flowwatch_client.delivery import sender
    from flowwatch_client.log.log import Log
    from flowwatch_client.log.writer import Writer
    from flowwatch_client.settings import Settings

    if work.as_nobody:  # who may not read where modules lie
        import encodings.idna  # noqa: F401

        os.seteuid(65534)
    for name in ("FIRST_PAUSE", "LONGEST_PAUSE", "RARE_PAUSE"):
        setattr(sender, name, getattr(sender, name) * work.pace)
    background.SEND_SECONDS = 0.05
    if work.mutant:
        import mutants

        mutants.MUTANTS[work.mutant]()
    settings = Settings(
        url=work.url or None,
        token=work.token,
        path=Path(work.path),
        buffered=work.buffered,
        exit_seconds=work.exit_seconds,
    )
    log = Log(settings.path)
    writer = Writer(log, buffered=settings.buffered)
    runner = Runner(work, writer, background.Background(log, writer, settings))
    runner.go()


class Runner:
    """Runs the workflow and logs it as the capture does."""

    def __init__(self, work: Work, writer: Any, beside: Any) -> None:
        self.work, self.writer, self.beside = work, writer, beside
        self.slowest = 0.0
        self.rows = 0
        self.ledger = os.open(work.ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)

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
                self.beside.end()
                os._exit(0)
            children.append(child)
        total = self.work_off("parent")
        for child in children:
            assert os.waitpid(child, 0)[1] == 0
        flushed = self.beside.flush(self.work.flush) if self.work.flush else None
        print(
            json.dumps(
                {
                    "total": total,
                    "slowest": self.slowest,
                    "lost": self.writer.lost,
                    "flushed": flushed,
                    "threads": threading.active_count(),
                }
            ),
            flush=True,
        )

    def exit_in_order(self, *_: object) -> None:
        print(self.rows, flush=True)
        sys.exit(0)

    def orphan(self) -> None:
        """The parent writes, too, so that its threads and locks are there when it forks."""
        self.beside.wake()
        if os.fork():
            print(json.dumps({"total": total_of(self.work), "slowest": 0.0}), flush=True)
            os._exit(0)
        os.close(1)
        self.work_off("child")
        self.beside.end()
        os._exit(0)

    def work_off(self, who: str) -> int:
        """The workflow: its result must be the same whatever happens to its log."""
        from flowwatch_client.rows import ExecutionRow, NodeRow

        total = 0
        self.limit(self.work.file_limit)
        for number in range(self.work.executions):
            if number == self.work.executions // 2:
                self.limit(0)
                set_clock(self.work.clock)
            run = ExecutionRow(
                str(uuid.uuid4()), self.work.workflow, "Faults", "running", now(), tags='["faults"]'
            )
            self.log(run)
            for node in range(self.work.nodes):
                step = NodeRow(
                    run.id, f"node-{node % 3}", "Node", "function", "running", now(),
                    input=json.dumps({"who": who, "value": self.work.value}),
                )  # fmt: skip
                self.log(step)
                total += number * node
                time.sleep(self.work.pause)
                set_clock(self.work.clock_in_node)
                step.status, step.completed_at, step.output = "success", now(), str(total)
                self.log(step)
            run.status, run.completed_at = "success", now()
            self.log(run)
        return total

    def log(self, row: Any) -> None:
        began = time.monotonic()
        self.rows += 1
        self.writer.write(row)
        self.beside.wake()
        self.slowest = max(self.slowest, time.monotonic() - began)
        row_id = getattr(row, "row_id", "")
        written = getattr(row, "execution_id", None) or row.id
        if row_id is not None and (self.work.promised or row_id):
            os.write(self.ledger, f"{written} {row_id} {row.status}\n".encode())

    def limit(self, size: int) -> None:
        if self.work.file_limit:
            most = size or resource.RLIM_INFINITY
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))


def total_of(work: Work) -> int:
    return sum(number * node for number in range(work.executions) for node in range(work.nodes))


def now() -> str:
    import datetime as dt

    moment = dt.datetime.fromtimestamp(time.time(), dt.timezone.utc)
    return moment.isoformat(timespec="microseconds")


def set_clock(seconds: float) -> None:
    """Set the wall clock, for this process; once."""
    if not seconds or time.time.__name__ == "<lambda>":
        return
    import datetime as dt

    from flowwatch_client.delivery import message

    class Datetime(dt.datetime):
        @classmethod
        def now(cls, tz: dt.tzinfo | None = None) -> Datetime:
            return cls.fromtimestamp(time.time(), tz)

    real = time.time
    time.time = lambda: real() + seconds
    message.datetime = Datetime  # type: ignore[attr-defined]


if __name__ == "__main__":
    main(Work(**json.loads(sys.argv[1])))
