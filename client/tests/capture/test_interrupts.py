"""What a signal's handler raises passes, wherever it comes up, and leaves the log as usable as before."""

from __future__ import annotations

import gc
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from flowwatch_client import client as clients
from flowwatch_client import configure, flush, workflow
from flowwatch_client.log.connection import Connection
from flowwatch_client.log.log import Log
from flowwatch_client.log.writer import Writer
from flowwatch_client.rows import ExecutionRow, NodeRow

# Python 3.13 complains of a connection that was interrupted between being opened and being kept.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed database:ResourceWarning")


class Overtime(TimeoutError):
    """What a time limit raises: an OSError, as troubles of files are."""


@pytest.fixture(autouse=True)
def _time_limit() -> Iterator[None]:
    def over(*_: object) -> None:
        raise Overtime

    before = signal.signal(signal.SIGALRM, over)
    yield
    signal.signal(signal.SIGALRM, before)
    gc.collect()


def interrupted(work: Callable[[], object], at: int) -> Overtime | None:
    """Do it; the time is over at this event (calls, and returns of C functions: there the interpreter
    looks for signals). None when it has fewer events. The exception is held, as a workflow may."""
    events = 0

    def count(_frame: Any, event: str, _function: object) -> None:
        nonlocal events
        if event in ("call", "c_return"):
            if events == at:
                signal.raise_signal(signal.SIGALRM)
            events += 1

    try:
        sys.setprofile(count)
        work()
    except Overtime as error:
        return error
    finally:
        sys.setprofile(None)
    return None


def is_free(path: Path) -> bool:
    """Whether another process could write into the log now."""
    other = sqlite3.connect(path, timeout=0, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        other.execute("ROLLBACK")
    except sqlite3.OperationalError:
        return False
    finally:
        other.close()
    return True


def node() -> NodeRow:
    return NodeRow("e1", "read", "read", "function", "success", input="[1]")


@pytest.mark.parametrize("buffered", [False, True])
@pytest.mark.parametrize("is_open", [True, False])
def test_a_time_limit_in_the_middle_of_a_write_leaves_nothing_open(
    tmp_path: Path, buffered: bool, is_open: bool
) -> None:
    log = Log(tmp_path / "log.db")
    log.write([ExecutionRow("e1", "w", "W", "running", "2026-11-21T20:00:00.000000+00:00")])
    writer = Writer(log, buffered=buffered)
    nodes = 0
    for at in range(1_000):
        if not is_open:
            log.connection.close()
        rows = [node()]

        def work(rows: list[NodeRow] = rows) -> None:
            writer.write(*rows)
            writer.flush()

        over = interrupted(work, at)
        # While the workflow still handles it: for other processes, other threads, and this one.
        assert is_free(log.path), at
        thread = threading.Thread(target=lambda: log.write([node()]))
        thread.start()
        thread.join(10)
        assert not thread.is_alive(), at
        assert writer.flush(), at
        nodes += 1 + (rows[0].row_id is not None)
        found = log.get_execution("e1")
        assert found is not None
        assert len(found[1]) == nodes, at
        if over is None:
            break
    assert 20 < at < 999
    assert writer.lost == 0


def test_a_time_limit_while_the_log_is_read_leaves_it_usable(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.db")
    for at in range(1_000):
        over = interrupted(log.get_executions, at)
        log.connection.checkpoint(truncate=True)
        log.write([ExecutionRow("e1", "w", "W", "running", "2026-11-21T20:00:00.000000+00:00")])
        if over is None:
            break
    assert 5 < at < 999


def test_a_time_limit_while_the_client_is_made_passes_and_the_next_use_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLOWWATCH_LOG", str(tmp_path / "log.db"))
    monkeypatch.setattr(clients, "_client", None)
    monkeypatch.setattr(clients, "_is_made", False)

    @workflow
    def orders() -> int:
        return 1

    with monkeypatch.context() as patched:
        raises = lambda *_: signal.raise_signal(signal.SIGALRM)  # noqa: E731
        patched.setattr(Connection, "_open", raises)
        with pytest.raises(Overtime):
            orders()
    assert orders() == 1
    assert flush(10)
    assert len(Log(tmp_path / "log.db").get_executions()) == 1
    configure(enabled=False)
