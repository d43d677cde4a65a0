"""`stats`, `clear`, `delete`, `retry-dead`."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from cli_calls import Call, caller, fill
from flowwatch_client.log import outbox
from flowwatch_client.log.log import Log


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return fill(tmp_path / "executions.db")


@pytest.fixture
def call(log: Log, capsys: pytest.CaptureFixture[str]) -> Call:
    return caller(log.path, capsys)


def _end_some(log: Log) -> None:
    """Of six records two are sent and two refused."""
    with log.connection.transaction() as connection:
        outbox.sent(connection, [1, 2])
        outbox.refused(connection, [3, 4], "422: startedAt is in the future")


def test_stats_count_records_in_every_state(call: Call, log: Log) -> None:
    _end_some(log)
    log.delete_execution("bbbbbbbb-1")
    stats = call("stats", "--json").json()
    assert stats["records"] == {
        "accepted": 6, "sent": 2, "waiting": 1, "dead": 2, "dropped": 1, "lost": 0,
        "droppedForRoom": 0,
    }  # fmt: skip
    assert stats["holds"] is True
    assert stats["executions"] == {"error": 1, "success": 1}
    assert stats["nodes"] == 3
    assert stats["oldestWaiting"] == "2026-11-21T20:01:00.000000+00:00"
    (refused,) = stats["deadLetters"]
    assert (refused["reason"], refused["records"]) == ("422: startedAt is in the future", 2)
    assert stats["bytes"] > 0


def test_stats_tell_people_the_sum_and_what_was_refused(call: Call, log: Log) -> None:
    _end_some(log)
    answer = call("stats")
    assert answer.code == 0
    assert "6 = 2 + 2 + 2 + 0" in answer.out
    assert "Refused 2 records of 1 execution" in answer.out
    assert "startedAt is in the future" in answer.out


def test_stats_tell_when_something_else_wrote(call: Call, log: Log) -> None:
    with log.connection.transaction() as connection:
        connection.execute("DELETE FROM outbox WHERE seq = 1")
    answer = call("stats")
    assert answer.code == 1
    assert "does not hold" in answer.out


def test_what_was_lost_is_told_when_it_is_known(call: Call, log: Log) -> None:
    with log.connection.transaction() as connection:
        outbox.count(connection, "lost", 3)
    assert "never accepted" in call("stats").out


def test_a_workflow_is_cleared_and_counted(call: Call) -> None:
    answer = call("clear", "orders", "--yes")
    assert (answer.code, answer.out) == (0, "")
    assert "2 executions deleted" in answer.err
    assert [each["id"] for each in call("list", "--json").ndjson()] == ["bbbbbbbb-1"]
    records = call("stats", "--json").json()["records"]
    assert (records["dropped"], records["waiting"]) == (5, 1)


def test_old_executions_of_all_workflows_are_cleared(call: Call) -> None:
    call("clear", "--all", "--before", "2026-11-21T20:02:00Z", "--yes")
    assert [each["id"] for each in call("list", "--json").ndjson()] == ["bbbbbbbb-1"]


@pytest.mark.parametrize("arguments", [[], ["orders", "--all"]])
def test_what_is_cleared_must_be_said(call: Call, arguments: list[str]) -> None:
    assert call("clear", *arguments, "--yes").code == 2
    assert len(call("list", "--json").ndjson()) == 3


def test_nothing_is_cleared_unasked(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    answer = call("clear", "orders")
    assert answer.code == 1
    assert "--yes" in answer.err


@pytest.mark.parametrize(("said", "left"), [("y\n", 1), ("n\n", 3), ("\n", 3), ("", 3)])
def test_a_person_is_asked(
    call: Call, monkeypatch: pytest.MonkeyPatch, said: str, left: int
) -> None:
    person = io.StringIO(said)
    monkeypatch.setattr(person, "isatty", lambda: True)
    monkeypatch.setattr("sys.stdin", person)
    assert call("clear", "orders").code == (0 if left == 1 else 1)
    assert len(call("list", "--json").ndjson()) == left


def test_one_execution_is_deleted(call: Call) -> None:
    assert call("delete", "aaaaaaaa-1").code == 0
    assert call("delete", "aaaaaaaa-1").code == 1
    assert len(call("list", "--json").ndjson()) == 2


def test_refused_records_wait_again_on_request(call: Call, log: Log) -> None:
    _end_some(log)
    assert "0 records" in call("retry-dead", "none").err
    assert "2 records wait again" in call("retry-dead").err
    stats = call("stats", "--json").json()
    assert (stats["records"]["waiting"], stats["records"]["dead"]) == (4, 0)
    assert stats["holds"] is True
