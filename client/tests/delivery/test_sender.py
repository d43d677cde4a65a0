"""How the sender goes on: pauses, parts, and what one bad record may do to others."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowwatch_client.delivery import message, sender
from flowwatch_client.delivery.http import Server
from flowwatch_client.delivery.sender import Sender
from flowwatch_client.log import outbox
from flowwatch_client.log.connection import Connection
from flowwatch_client.log.log import Log
from flowwatch_client.rows import ExecutionRow, NodeRow
from receivers import Call, Handler, Receiver, receiving, results_for, take_all

PROBLEM = {"Content-Type": "application/problem+json"}
START = "2026-11-21T20:00:00.000000+00:00"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    log = Log(tmp_path / "log.db")
    yield log
    log.connection.close()


@pytest.fixture
def sending(log: Log, receiver: Receiver) -> Iterator[Sender]:
    own = Connection(log.path)
    yield Sender(Server(receiver.url, "fw_abc_secret"), own, log.connection)
    own.close()


def write(log: Log, executions: int = 1, nodes: int = 0, value: str = "1") -> None:
    for number in range(executions):
        log.write([ExecutionRow(f"e{number}", "orders", "Orders", "running", START)])
        log.write(
            NodeRow(f"e{number}", "read", "Read", "function", "success", input=value)
            for _ in range(nodes)
        )


def counts(log: Log) -> outbox.Counts:
    with log.connection.reading() as connection:
        return outbox.counts(connection)


def send(sending: Sender) -> bool:
    return sending.send_waiting(lambda: True)


def send_until_done(sending: Sender, most: int = 100) -> int:
    """How many tries it took."""
    for tries in range(1, most + 1):
        if send(sending):
            return tries
    raise AssertionError(f"not done after {most} tries")


def test_many_nodes_go_in_several_lines(log: Log, receiver: Receiver, sending: Sender) -> None:
    write(log, nodes=1_200)
    assert send(sending)
    assert [len(line["nodeExecutions"]) for line in receiver.lines()] == [500, 499, 201]
    indexes = [node["runIndex"] for line in receiver.lines() for node in line["nodeExecutions"]]
    assert indexes == [*range(1_200)]
    assert counts(log).sent == 1_201


def test_a_line_is_full_at_a_megabyte(log: Log, receiver: Receiver, sending: Sender) -> None:
    write(log, nodes=8, value=json.dumps("x" * 300_000))
    assert send(sending)
    lines = [line for call in receiver.batches() for line in call.body.split(b"\n")]
    assert all(len(line) <= message.MOST_LINE_BYTES for line in lines)
    assert len(lines) == 3


def test_a_batch_is_bounded_in_bytes(log: Log, receiver: Receiver, sending: Sender) -> None:
    write(log, executions=30, nodes=1, value=json.dumps("x" * 500_000))
    assert send(sending)
    assert max(len(call.body) for call in receiver.batches()) < 5_100_000
    assert counts(log).sent == 60


def test_retry_after_is_kept(log: Log, receiver: Receiver, sending: Sender) -> None:
    write(log)
    receiver.reply = lambda call, handler: handler.answer(429, b"", {"Retry-After": "30"})
    assert not send(sending)
    assert 30 < sending.pause_left() <= 31
    assert not sending.may_hurry()


def test_pauses_grow_with_full_jitter_up_to_a_minute(
    log: Log, receiver: Receiver, sending: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    most: list[float] = []

    def uniform(low: float, high: float) -> float:
        most.append(high)
        return low

    monkeypatch.setattr(sender.random, "uniform", uniform)  # type: ignore[attr-defined]
    write(log)
    receiver.reply = lambda call, handler: handler.answer(500)
    for _ in range(9):
        assert not send(sending)
        assert sending.may_hurry()
    assert most == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
    receiver.reply = take_all
    assert send(sending)
    assert sending.pause_left() == 0.0


@pytest.mark.parametrize("status", [401, 403, 404, 302])
def test_a_wrong_setting_is_said_once_and_tried_rarely(
    log: Log,
    receiver: Receiver,
    sending: Sender,
    caplog: pytest.LogCaptureFixture,
    status: int,
) -> None:
    write(log)
    receiver.reply = lambda call, handler: handler.answer(status)
    with caplog.at_level(logging.WARNING, "flowwatch_client"):
        assert not send(sending)
        assert not send(sending)
    assert len(caplog.records) == 1
    assert str(status) in caplog.text
    assert "fw_abc_secret" not in caplog.text
    assert sending.pause_left() > sender.RARE_PAUSE / 3
    assert counts(log).waiting == 1


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_refused_body_is_halved_down_to_the_record(
    log: Log, receiver: Receiver, sending: Sender, status: int
) -> None:
    def refuse_one(call: Call, handler: Handler) -> None:
        if any(node["runIndex"] == 37 for line in call.lines for node in _nodes(line)):
            handler.answer(status, {"detail": "not this one"}, PROBLEM)
        else:
            take_all(call, handler)

    receiver.reply = refuse_one
    write(log, nodes=100)
    assert send(sending)
    assert counts(log) == outbox.Counts(accepted=101, sent=100, waiting=0, dead=1, dropped=0)
    assert len(receiver.batches()) < 30
    with log.connection.reading() as connection:
        [(reason,)] = connection.execute("SELECT reason FROM dead_letters").fetchall()
    assert reason == f"{status} not this one"


def test_what_a_proxy_refuses_waits(log: Log, receiver: Receiver, sending: Sender) -> None:
    write(log, executions=50)
    receiver.reply = lambda call, handler: handler.answer(400, b"<html>Bad Request</html>")
    assert not send(sending)
    assert len(receiver.batches()) == 1
    assert sending.pause_left() > sender.RARE_PAUSE / 3
    assert counts(log).waiting == 50


def test_a_record_that_is_too_large_for_a_proxy_waits_alone(
    log: Log, receiver: Receiver, sending: Sender
) -> None:
    def take_small_ones(call: Call, handler: Handler) -> None:
        if len(call.body) > 50_000:
            handler.answer(413, b"<html>Request Entity Too Large</html>")
        else:
            take_all(call, handler)

    receiver.reply = take_small_ones
    write(log, executions=3)
    log.write([NodeRow("e0", "read", "Read", "function", "success", input=f'"{"x" * 60_000}"')])
    write(log, executions=3)
    assert not send(sending)
    assert sending.pause_left() > sender.RARE_PAUSE / 3
    assert not send(sending)
    assert counts(log) == outbox.Counts(accepted=7, sent=6, waiting=1, dead=0, dropped=0)
    receiver.reply = take_all
    assert send(sending)


def test_a_server_that_refuses_everything_empties_no_log_at_once(
    log: Log, receiver: Receiver, sending: Sender
) -> None:
    receiver.reply = lambda call, handler: handler.answer(422, {"detail": "no"}, PROBLEM)
    write(log, executions=50)
    assert not send(sending)
    assert (counts(log).dead, counts(log).waiting) == (20, 30)
    assert sending.pause_left() > 0
    assert sending.may_hurry()
    assert send_until_done(sending) == 2
    assert counts(log).dead == 50


def _nodes(line: dict[str, object]) -> list[dict[str, object]]:
    nodes = line.get("nodeExecutions", [])
    assert isinstance(nodes, list)
    return nodes


def test_of_a_refused_line_only_the_bad_node_is_refused(
    log: Log, receiver: Receiver, sending: Sender
) -> None:
    def reject_lines(call: Call, handler: Handler) -> None:
        answer = results_for(call.lines)
        for line, result in zip(call.lines, answer["results"], strict=True):
            if any(node["runIndex"] == 1 for node in _nodes(line)):
                result.update(result="rejected", reason="input: is bad")
        handler.answer(200, answer)

    receiver.reply = reject_lines
    write(log, executions=2, nodes=3)
    assert send(sending)
    assert counts(log) == outbox.Counts(accepted=8, sent=6, waiting=0, dead=2, dropped=0)


def test_what_is_too_old_for_the_server_is_refused_once_and_its_reason_kept(
    log: Log, receiver: Receiver, sending: Sender
) -> None:
    reason = "It began before 2026-08-24: executions are kept for 90 days."

    def reject_old(call: Call, handler: Handler) -> None:
        answer = results_for(call.lines)
        for line, result in zip(call.lines, answer["results"], strict=True):
            if line["id"] == "e0":
                result.update(result="rejected", id=None, reason=reason)
        handler.answer(200, answer)

    receiver.reply = reject_old
    write(log, executions=3)
    assert send(sending)
    assert counts(log) == outbox.Counts(accepted=3, sent=2, waiting=0, dead=1, dropped=0)
    with log.connection.reading() as connection:
        assert connection.execute("SELECT reason FROM dead_letters").fetchall() == [(reason,)]
    calls = len(receiver.batches())
    assert send(sending)
    assert len(receiver.batches()) == calls


def test_lines_that_failed_are_sent_again(log: Log, receiver: Receiver, sending: Sender) -> None:
    def fail_once(call: Call, handler: Handler) -> None:
        receiver.reply = take_all
        answer = results_for(call.lines)
        answer["results"][0].update(result="failed", reason="later")
        handler.answer(200, answer)

    receiver.reply = fail_once
    write(log, executions=3)
    assert not send(sending)
    assert counts(log).sent == 2
    assert send(sending)
    assert counts(log).sent == 3


def test_a_record_that_servers_can_not_bear_holds_up_no_other(
    log: Log, receiver: Receiver, sending: Sender
) -> None:
    def break_down(call: Call, handler: Handler) -> None:
        if any(line["id"] == "e0" for line in call.lines):
            handler.answer(500)
        else:
            take_all(call, handler)

    receiver.reply = break_down
    write(log, executions=50)
    for _ in range(60):
        send(sending)
    assert counts(log) == outbox.Counts(accepted=50, sent=49, waiting=1, dead=0, dropped=0)
    receiver.reply = take_all
    assert send(sending)
    assert counts(log).sent == 50


def test_records_whose_rows_are_gone_are_dropped(
    log: Log, receiver: Receiver, sending: Sender
) -> None:
    write(log, executions=2, nodes=2)
    with log.connection.transaction() as connection:
        connection.execute("DELETE FROM node_executions WHERE id = 1")
        connection.execute("DELETE FROM executions WHERE id = 'e1'")
    assert send(sending)
    assert counts(log) == outbox.Counts(accepted=6, sent=2, waiting=0, dead=0, dropped=4)


def test_while_another_sends_it_looks_again_soon(
    log: Log, receiver: Receiver, sending: Sender, tmp_path: Path
) -> None:
    write(log)
    other_own = Connection(log.path)
    other = Sender(Server(receiver.url, "fw_abc_secret"), other_own, log.connection)
    seen: list[bool] = []

    def look(call: Call, handler: Handler) -> None:
        seen.append(send(other))
        take_all(call, handler)

    receiver.reply = look
    assert send(sending)
    assert seen == [False]
    assert 0 < other.pause_left() <= sender.TURN_PAUSE
    assert send(other)
    assert len(receiver.batches()) == 1
    assert (tmp_path / "log.db-sender").stat().st_mode & 0o077 == 0
    other_own.close()


def test_extra_fields_never_say_again_what_columns_say(
    log: Log, receiver: Receiver, sending: Sender
) -> None:
    extra = json.dumps({"id": "another", "status": "error", "logs": ["a\nb"]})
    row = ExecutionRow("e1", "orders", "Orders", "success", START, extra=extra)
    node = NodeRow("e1", "read", "Read", "function", "success", extra='{"source":{"line":3}}')
    log.write([row, node])
    assert send(sending)
    [line] = receiver.lines()
    assert (line["id"], line["status"], line["logs"]) == ("e1", "success", ["a\nb"])
    assert line["nodeExecutions"][0]["source"] == {"line": 3}


def test_values_that_are_no_json_harm_their_own_line_only(
    log: Log, receiver: Receiver, sending: Sender
) -> None:
    """The server says what is wrong with it; line breaks make no further lines of it."""
    write(log, executions=2)
    log.write([NodeRow("e0", "read", "Read", "function", "success", input="{\n broken", extra="[")])
    bodies: list[bytes] = []

    def keep(call: Call, handler: Handler) -> None:
        bodies.extend(call.body.split(b"\n"))
        handler.answer(500)

    receiver.reply = keep
    assert not send(sending)
    assert len(bodies) == 2


class TestMessageClock:
    def test_it_never_goes_back(self) -> None:
        clock = message.MessageClock()
        first = clock.next(0)
        assert clock.next(message.microseconds(first) + 5_000_000) > first
        assert clock.next(0) > first

    def test_a_time_far_ahead_is_not_kept(self) -> None:
        """The clock was wrong then: the server would refuse such times."""
        clock = message.MessageClock()
        far = message.microseconds(clock.next(0)) + 24 * 3600 * 10**6
        assert message.microseconds(clock.next(far)) < far - 10**6 * 3600


def test_pauses_are_measured_by_a_clock_that_nobody_sets(
    log: Log, receiver: Receiver, sending: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(log)
    receiver.reply = lambda call, handler: handler.answer(503, b"", {"Retry-After": "1"})
    assert not send(sending)
    monkeypatch.setattr(time, "time", lambda: 0.0)
    assert 0 < sending.pause_left() <= 2.1


def test_an_answer_settles_nothing_in_another_file(
    log: Log, receiver: Receiver, sending: Sender
) -> None:
    """Its numbers begin anew: those that were sent stand for others there."""

    def replace(call: Call, handler: Handler) -> None:
        for name in (log.path.name, f"{log.path.name}-wal", f"{log.path.name}-shm"):
            log.path.with_name(name).unlink(missing_ok=True)
        log.connection.look()
        write(log, nodes=2)
        take_all(call, handler)

    write(log)
    receiver.reply = replace
    assert not send(sending)
    assert counts(log).waiting == 3
