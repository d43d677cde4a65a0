"""The log keeps what is written, counts every record, and outlives forks."""

from __future__ import annotations

import os
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from flowwatch_client.background import Background
from flowwatch_client.log import outbox, writer
from flowwatch_client.log.log import Log
from flowwatch_client.log.reading import summary
from flowwatch_client.log.writer import Writer
from flowwatch_client.rows import ExecutionRow, NodeRow, Row
from flowwatch_client.settings import BadSetting, Settings, from_environment


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "executions.db")


def _execution(name: str = "e1") -> ExecutionRow:
    return ExecutionRow(name, "orders", "Orders", "running", "2026-11-21T20:00:00.000000+00:00")


def _node(execution: str = "e1") -> NodeRow:
    return NodeRow(execution, "read", "read", "function", "success", input="[1]")


def _counts(log: Log) -> outbox.Counts:
    with log.connection.reading() as connection:
        return outbox.counts(connection)


def test_rows_come_back_as_they_were_written(log: Log) -> None:
    execution, first, second = _execution(), _node(), _node()
    log.write([execution, first, second])
    assert (first.run_index, second.run_index) == (None, None)
    found = log.get_execution("e1")
    assert found is not None
    assert found[0] == execution
    assert [node.run_index for node in found[1]] == [0, 1]
    assert [node.row_id for node in found[1]] == [first.row_id, second.row_id]


def test_each_written_row_is_a_record_to_send(log: Log) -> None:
    log.write([_execution(), _node()])
    log.write([_execution()])
    assert _counts(log) == outbox.Counts(accepted=3, sent=0, waiting=3, dead=0, dropped=0)
    assert log.delete_execution("e1")
    assert _counts(log) == outbox.Counts(accepted=3, sent=0, waiting=0, dead=0, dropped=3)
    assert log.get_execution("e1") is None


def test_a_child_writes_beside_its_parent(log: Log) -> None:
    log.write([_execution()])
    child = os.fork()
    if not child:
        log.write([_node()])
        os._exit(0)
    log.write([_node()])
    assert os.waitpid(child, 0)[1] == 0
    found = log.get_execution("e1")
    assert found is not None
    assert sorted(node.run_index or 0 for node in found[1]) == [0, 1]


def test_a_node_whose_commit_failed_is_written_when_it_comes_again(log: Log) -> None:
    log.write([_execution()])
    node = _node()
    with pytest.raises(sqlite3.IntegrityError):
        log.write([node, _node("unknown")])
    log.write([node])
    found = log.get_execution("e1")
    assert found is not None
    assert len(found[1]) == 1


def test_the_same_node_twice_in_one_commit_is_one_row(log: Log) -> None:
    node = _node()
    log.write([_execution(), node, node])
    found = log.get_execution("e1")
    assert found is not None
    assert [each.row_id for each in found[1]] == [node.row_id]


def test_a_node_that_two_threads_write_at_once_is_one_row(log: Log) -> None:
    committed = threading.Event()

    class Slow(NodeRow):
        def __setattr__(self, name: str, value: object) -> None:
            if name == "row_id" and value is not None:
                committed.set()
                time.sleep(0.1)
            super().__setattr__(name, value)

    node = Slow("e1", "read", "read", "function", "running")
    log.write([_execution()])
    shows = threading.Thread(target=log.write, args=([node],))
    shows.start()
    assert committed.wait(10)
    node.status = "success"
    log.write([node])
    shows.join()
    found = log.get_execution("e1")
    assert found is not None
    assert [each.status for each in found[1]] == ["success"]


def test_buffered_rows_that_come_too_fast_are_committed_not_lost(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MOST_KEPT", 10)
    writing = writer.Writer(log, buffered=True)
    writing.write(_execution())
    for _ in range(100):
        writing.write(_node())
    assert writing.flush()
    found = log.get_execution("e1")
    assert found is not None
    assert (len(found[1]), writing.lost) == (100, 0)


def test_a_row_of_a_deleted_execution_is_lost_alone(log: Log) -> None:
    writing = writer.Writer(log)
    writing.write(_execution())
    writing.write(_node("deleted"), _node())
    found = log.get_execution("e1")
    assert found is not None
    assert (len(found[1]), writing.lost) == (1, 1)


@pytest.mark.parametrize("buffered", [False, True])
@pytest.mark.parametrize("bad", [2**63, object(), "\ud800"], ids=["int", "object", "surrogate"])
def test_a_row_that_no_file_takes_holds_up_no_other(log: Log, buffered: bool, bad: object) -> None:
    writing = writer.Writer(log, buffered=buffered)
    writing.write(_execution())
    worst = _node()
    worst.attempt = bad  # type: ignore[assignment]
    writing.write(_node(), worst, _node())
    writing.write(_node())
    assert writing.flush()
    found = log.get_execution("e1")
    assert found is not None
    assert (len(found[1]), writing.lost, _counts(log).accepted) == (3, 1, 4)


@pytest.mark.parametrize("error", [RuntimeError("no"), sqlite3.DataError("too big")], ids=repr)
def test_whatever_one_row_raises_is_its_own(log: Log, error: Exception) -> None:
    def prepare(row: Row) -> None:
        if row is worst:
            raise error

    writing = writer.Writer(log, buffered=True, prepare=prepare)
    worst = _node()
    worst.input = 5  # type: ignore[assignment]
    writing.write(_execution(), worst, _node())
    assert writing.flush()
    assert (writing.lost, _counts(log).accepted) == (1, 2)


def test_what_a_handler_of_signals_raises_passes_and_loses_nothing(log: Log) -> None:
    class TimeLimit(Exception):
        pass

    def end(*_: object) -> None:
        raise TimeLimit

    def prepare(row: Row) -> None:
        if not raised:
            raised.append(True)
            signal.raise_signal(signal.SIGALRM)

    raised: list[bool] = []
    before = signal.signal(signal.SIGALRM, end)
    writing = writer.Writer(log, buffered=True, prepare=prepare)
    try:
        writing.write(_execution())
        with pytest.raises(TimeLimit):
            writing.flush()
    finally:
        signal.signal(signal.SIGALRM, before)
    assert writing.flush()
    assert (writing.lost, _counts(log).accepted) == (0, 1)


def test_while_others_lock_the_file_only_one_try_waits(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = writer.Writer(log, buffered=True)
    log.connection._busy_seconds = 0.2
    other = sqlite3.connect(log.path, isolation_level=None)
    log.write([_execution("before")])
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    for number in range(20):
        writing.write(_execution(f"e{number}"))
        writing.commit_soon()
    assert time.monotonic() - began < 1
    other.execute("ROLLBACK")
    other.close()
    assert writing.flush()
    assert _counts(log).accepted == 21


def test_what_is_lost_is_said_at_once_and_counted_at_the_end(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    writing = writer.Writer(log)
    background = Background(log, writing, Settings(path=log.path))
    writing.write(_execution())
    for _ in range(5):
        writing.write(_node("deleted"))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "is lost" in caplog.text
    background.wake()
    background.end()
    assert "5 rows lost in all" in caplog.text
    background.end()
    assert len(caplog.records) == 2


def test_what_a_process_keeps_at_its_end_is_lost_and_said(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    writing = writer.Writer(log)
    background = Background(log, writing, Settings(path=log.path, exit_seconds=0.1))
    log.write([_execution()])
    log.connection.close()
    log.connection._busy_seconds = 0.05
    other = sqlite3.connect(log.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for _ in range(3):
        writing.write(_node())
    background.wake()
    background.end()
    other.execute("ROLLBACK")
    other.close()
    assert "3 rows lost in all" in caplog.text


def test_a_log_is_for_its_user_alone(log: Log) -> None:
    log.write([_execution()])
    files = [log.path, log.path.with_name(f"{log.path.name}-wal")]
    assert [path.stat().st_mode & 0o777 for path in files] == [0o600, 0o600]


def test_a_log_that_was_left_open_is_closed(log: Log) -> None:
    own = Log(log.path)
    own.write([_execution()])
    opened = own.connection._opened
    assert opened is not None
    del own
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        opened.execute("SELECT 1")


def test_a_relative_path_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    log = Log("stock.db")
    settings = from_environment({"FLOWWATCH_LOG": "stock.db"})
    monkeypatch.chdir("elsewhere")
    log.write([_execution()])
    log.connection.close()
    log.write([_node()])
    assert log.path == settings.path == tmp_path / "stock.db"
    assert not any((tmp_path / "elsewhere").iterdir())


def test_a_path_that_leads_nowhere_is_a_bad_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(BadSetting, match="FLOWWATCH_LOG"):
        from_environment({"FLOWWATCH_LOG": "stock.db"})
    monkeypatch.chdir(tmp_path)


def test_what_was_lost_is_counted_in_the_file(log: Log) -> None:
    writer = Writer(log)
    writer.write(_node("deleted meanwhile"))
    writer.write(_execution())
    assert writer.lost == 1
    writer.flush()
    writer.flush()
    assert summary(log).lost == 1


def test_who_waits_for_the_file_beside_the_workflow_does_not_hold_it_up(log: Log) -> None:
    """The sender's writes wait for another process without keeping the workflow's connection."""
    log.write([_execution()])
    other = sqlite3.connect(log.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    def write_beside() -> None:
        for _ in range(3):
            with pytest.raises(sqlite3.OperationalError), log.connection.transaction():
                pytest.fail("it is locked")

    beside = threading.Thread(target=write_beside)
    beside.start()
    time.sleep(0.1)
    began = time.monotonic()
    with pytest.raises(sqlite3.OperationalError):
        log.write([_node()])
    waited = time.monotonic() - began
    beside.join()
    other.close()
    assert waited < 1.5, "its own wait, and nobody else's"
    log.write([_node()])


def test_who_waits_beside_the_workflow_goes_on_when_the_file_is_free(log: Log) -> None:
    log.write([_execution()])
    other = sqlite3.connect(log.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.3, other.execute, ["ROLLBACK"])
    release.start()
    with log.connection.transaction() as connection:
        connection.execute("DELETE FROM executions")
    release.join()
    other.close()
    assert log.get_execution("e1") is None
