"""The log stays within its bound, and says what it dropped for that."""

from __future__ import annotations

import dataclasses
import logging
import sqlite3
import threading
from pathlib import Path

import pytest

from cli_calls import execution, node
from flowwatch_client.log import disk, outbox
from flowwatch_client.log.log import Log
from flowwatch_client.log.reading import Filter, find, summary
from flowwatch_client.rows import ExecutionRow, NodeRow

MB = 1024**2
BOUND = 4 * MB


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "executions.db")


def _rows(at: int, *, kilobytes: int = 10, **fields: object) -> list[ExecutionRow | NodeRow]:
    """One execution of five nodes; a later one begins later."""
    started_at = f"2026-11-21T{at // 3600:02}:{at // 60 % 60:02}:{at % 60:02}.000000+00:00"
    name = f"e{at:05}"
    value = f'"{"x" * (kilobytes * 200)}"'
    return [
        execution(name, **{"started_at": started_at, **fields}),
        *(node(name, f"n{each}", input=value) for each in range(5)),
    ]


def _write(log: Log, numbers: range, **fields: object) -> None:
    for at in numbers:
        log.write(_rows(at, **fields))  # type: ignore[arg-type]


def _send(log: Log, names: set[str]) -> None:
    with log.connection.transaction() as connection:
        held = outbox.held(connection, sorted(names))
        outbox.sent(connection, [seq for each in held.values() for seq in each.waiting])


def _ids(log: Log) -> list[str]:
    return [row.id for row in reversed(find(log, Filter(), limit=100_000))]


def test_a_log_within_its_bound_is_left_alone(log: Log) -> None:
    _write(log, range(10))
    disk.keep_bounded(log, BOUND)
    assert len(_ids(log)) == 10


def test_the_files_never_outgrow_the_bound_by_more_than_was_just_written(log: Log) -> None:
    largest = 0
    for at in range(800):  # 16 MB
        log.write(_rows(at))
        if at % 5 == 0:
            disk.keep_bounded(log, BOUND)
        largest = max(largest, disk.log_bytes(log))
    assert largest < BOUND + MB
    kept = _ids(log)
    assert kept == [f"e{at:05}" for at in range(800 - len(kept), 800)]
    assert len(kept) > 100
    found = summary(log)
    assert found.holds
    assert found.counts.accepted == 4_800
    assert found.counts.dropped == found.dropped_for_room == 4_800 - found.counts.waiting


def test_what_was_sent_goes_before_what_waits(log: Log) -> None:
    _write(log, range(400))
    newest = {f"e{at:05}" for at in range(300, 400)}
    _send(log, newest)
    disk.keep_bounded(log, BOUND)
    left = _ids(log)
    assert not newest & set(left)
    assert summary(log).counts.sent == 600
    assert summary(log).counts.dropped == 6 * (300 - len(left))

    _send(log, set(left))
    _write(log, range(400, 500))
    disk.keep_bounded(log, BOUND)
    after = summary(log)
    assert after.counts.waiting == 600
    assert after.counts.dropped == 6 * (300 - len(left))
    assert after.holds


def test_nothing_is_said_while_only_what_was_sent_goes(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    _write(log, range(400))
    for start in range(0, 400, 100):
        _send(log, {f"e{at:05}" for at in range(start, start + 100)})
    with caplog.at_level(logging.WARNING):
        disk.keep_bounded(log, BOUND)
    assert caplog.messages == []
    assert summary(log).dropped_for_room == 0


def test_what_was_refused_goes_before_what_waits(log: Log) -> None:
    _write(log, range(400))
    with log.connection.transaction() as connection:
        held = outbox.held(connection, [f"e{at:05}" for at in range(140, 400)])
        outbox.refused(connection, [seq for each in held.values() for seq in each.waiting], "422")
    disk.keep_bounded(log, BOUND)
    counts = summary(log).counts
    assert counts.waiting == 840
    assert counts.dead < 1_560
    assert counts.dropped == 1_560 - counts.dead


def test_dropping_is_said_and_told_by_the_counts(
    log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    _write(log, range(400))
    with caplog.at_level(logging.WARNING):
        disk.keep_bounded(log, BOUND)
    (message,) = caplog.messages
    assert f"{summary(log).dropped_for_room} records" in message
    assert "4 MB" in message


def test_what_runs_is_never_deleted(
    log: Log, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = "2099-01-01T00:00:00.000000+00:00"
    _write(log, range(400), status="running", started_at=now)
    with caplog.at_level(logging.WARNING):
        disk.keep_bounded(log, BOUND)
        disk.keep_bounded(log, BOUND)
        monkeypatch.setattr(disk, "_AGAIN_SECONDS", 0.0)
        disk._in_vain[log.path] = 0.0
        disk.keep_bounded(log, BOUND)
    assert len(_ids(log)) == 400
    (message,) = caplog.messages  # once, not with every look
    assert "still runs" in message
    log.write(
        [dataclasses.replace(row, status="success") for row in find(log, Filter(), limit=400)]
    )
    disk.keep_bounded(log, BOUND)
    assert disk.log_bytes(log) <= BOUND


def test_what_was_killed_a_week_ago_does_not_stay_for_ever(log: Log) -> None:
    _write(log, range(400), status="running", started_at="2025-01-01T00:00:00.000000+00:00")
    _write(log, range(400, 500))
    disk.keep_bounded(log, BOUND)
    left = summary(log)
    assert disk.log_bytes(log) <= BOUND
    assert "success" not in left.executions  # what ended goes first
    assert 0 < left.executions["running"] < 400
    assert left.holds


def test_a_lower_bound_gives_the_room_back(log: Log) -> None:
    _write(log, range(800))
    log.connection.checkpoint(truncate=True)
    assert log.path.stat().st_size > 9 * MB
    disk.keep_bounded(log, 2 * MB)
    assert disk.log_bytes(log) <= 2 * MB


def test_large_values_are_counted_too(log: Log) -> None:
    for at in range(30):
        log.write(_rows(at, kilobytes=1_024))
        disk.keep_bounded(log, 8 * MB)
    assert disk.log_bytes(log) <= 8 * MB
    assert _ids(log)[-1] == "e00029"


def test_a_file_of_an_older_version_keeps_its_size_but_no_more(log: Log) -> None:
    plain = sqlite3.connect(log.path)
    plain.execute("PRAGMA auto_vacuum = NONE")
    plain.execute("CREATE TABLE before (a)")
    plain.close()
    _write(log, range(400))
    disk.keep_bounded(log, BOUND)
    size = log.path.stat().st_size
    _write(log, range(400, 480))
    disk.keep_bounded(log, BOUND)
    assert log.path.stat().st_size == size


def test_writers_and_the_bound_go_on_at_once(log: Log) -> None:
    ended = threading.Event()

    def keep() -> None:
        keeper = Log(log.path)
        while not ended.is_set():
            disk.keep_bounded(keeper, BOUND)
        keeper.connection.close()

    thread = threading.Thread(target=keep)
    thread.start()
    try:
        _write(log, range(600))
    finally:
        ended.set()
        thread.join()
    found = summary(log)
    assert found.holds
    assert found.counts.accepted == 3_600
    assert found.counts.waiting == 6 * len(_ids(log))


def test_an_execution_that_goes_on_meanwhile_is_kept(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(log, range(400))
    _send(log, {f"e{at:05}" for at in range(400)})
    chosen = disk._Policy.candidates

    def then_more_is_written(policy: disk._Policy, connection: sqlite3.Connection) -> list[str]:
        ids = chosen(policy, connection)
        if policy == disk._POLICIES[0] and "e00000" in ids:
            log.write([node("e00000", "late")])
            log.write(_rows(1, kilobytes=0, status="running"))
        return ids

    monkeypatch.setattr(disk._Policy, "candidates", then_more_is_written)
    disk.keep_bounded(log, BOUND)
    assert _ids(log)[:2] == ["e00000", "e00001"]
    assert summary(log).counts.dropped == 0
